"""Processes that are killed between any two lines of what makes, takes over, attaches to, ends and removes a stream."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from chronostream.errors import ProducerActiveError, StreamNotFoundError
from chronostream.ring import CORE, Consumer, Producer, inspect, list_names, producer, segment, shm
from tests.ring.harness import Handles, in_fork, path_of

TRACED = {module.__file__ for module in (producer, segment, shm)}


@pytest.fixture
def core() -> str:
    """One is enough: the cores have no part in the life of a segment."""
    return CORE


def die_at(line: int, action: Callable[[], object]) -> Callable[[], None]:
    """Return a program that is killed before that line, counted from 1, of those that make, map, lock and delete."""

    def program() -> None:
        left = line

        def trace(frame: FrameType, event: str, _argument: object) -> Any:
            nonlocal left
            if frame.f_code.co_filename not in TRACED:
                return None
            if event == "line":
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        action()
        os._exit(0)

    return program


def crashes(action: Callable[[], object]) -> Iterator[int]:
    """Kill a process at each line of an action in turn; yield after each, until one gets through to the end."""
    line = 0
    exit_code = -signal.SIGKILL
    while exit_code == -signal.SIGKILL:
        line += 1
        exit_code = in_fork(die_at(line, action))
        if exit_code == -signal.SIGKILL:
            yield line
    assert exit_code == 0
    assert line > 10, "nothing of the action was traced"


def test_a_producer_killed_at_any_line_of_creation_leaves_nothing_or_a_sound_stream(own: Handles) -> None:
    def create() -> None:
        Producer.create(own.name, "<i8", 8, core=own.producer_core)

    for _ in crashes(create):
        try:
            with Consumer.attach(own.name, core=own.consumer_core) as consumer:
                assert (consumer.lag, consumer.producer_alive) == (0, False)
        except StreamNotFoundError:
            pass
        with Producer.create(own.name, "<i8", 8, core=own.producer_core) as successor:
            consumer = Consumer.attach(own.name, core=own.consumer_core)
            successor.publish(1)
            assert consumer.read().tolist() == [1]
            consumer.close()
        assert not path_of(own.name).exists()


def test_a_producer_killed_at_any_line_of_a_takeover_leaves_the_stream_as_it_was(own: Handles) -> None:
    with own.create() as first:
        first.publish_many(range(5))
        first.close(remove=False)

    def take_over() -> None:
        Producer.create(own.name, "<i8", 8, core=own.producer_core)

    generation = 1
    for _ in crashes(take_over):
        found = inspect(own.name)
        assert (found.head, found.state in {"closed", "dead"}) == (5, True)
        assert generation <= found.generation <= generation + 1
        generation = found.generation
        assert own.attach().read().tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("unlink", [True, False])
def test_a_producer_killed_at_any_line_of_its_end_leaves_a_whole_stream_or_none(own: Handles, unlink: bool) -> None:
    def close() -> None:
        tracing = sys.gettrace()
        sys.settrace(None)
        ending = Producer.create(own.name, "<i8", 8, core=own.producer_core)
        ending.publish(ending.head)
        sys.settrace(tracing)
        ending.close(remove=unlink)

    for _ in crashes(close):
        if own.name in list_names():
            found = inspect(own.name)
            last = own.attach().read()[-1]
            assert (found.state in {"closed", "dead"}, last) == (True, found.head - 1)


def test_a_consumer_killed_at_any_line_of_attaching_leaves_its_place_to_the_next(own: Handles) -> None:
    publisher = own.create(max_consumers=1)

    def attach() -> None:
        Consumer.attach(own.name, core=own.consumer_core)

    for _ in crashes(attach):
        with own.attach() as successor:
            assert successor.registered
            publisher.publish(publisher.head)
        assert publisher.depth == 0


def test_a_remover_killed_at_any_line_leaves_the_stream_or_removes_it(own: Handles) -> None:
    def remove() -> None:
        segment.Segment.remove(own.name)

    own.create().close(remove=False)
    for _ in crashes(remove):
        if own.name not in list_names():
            own.create().close(remove=False)
        try:
            own.create().close(remove=False)
        except ProducerActiveError:
            pytest.fail("a dead process still holds the stream")

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from chronostream.errors import (
    ChronoStreamError,
    ClosedError,
    CoreUnavailableError,
    InvalidTypeError,
    InvalidValueError,
    StreamRemovedError,
)
from chronostream.ring import Consumer, Producer, inspect
from chronostream.ring import consumer as consumers
from chronostream.ring.core import IdleStrategy
from chronostream.ring.layout import HEAD, WAITING
from tests.ring.harness import Handles, in_thread, overwrite, path_of, wait_for_sleeper

IDLE: list[IdleStrategy] = ["busy-spin", "yielding", "sleeping", "blocking"]


def test_a_consumer_says_what_it_is_attached_to(ring: Handles) -> None:
    ring.create([("a", "<i8")], 4)
    consumer = ring.attach()
    assert (consumer.name, consumer.capacity, consumer.dtype) == (ring.name, 4, np.dtype([("a", "<i8")]))
    assert (consumer.start, consumer.position, consumer.lag, consumer.lost) == (0, 0, 0, 0)
    assert (consumer.registered, consumer.closed, consumer.producer_alive) == (True, False, True)
    assert consumer.header["generation"] == 1


@pytest.mark.parametrize(("count", "oldest"), [(0, 0), (3, 0), (4, 0), (5, 1), (100, 96)])
@pytest.mark.parametrize("register", [True, False])
def test_a_consumer_starts_at_the_oldest_record_or_the_next(
    ring: Handles, count: int, oldest: int, register: bool
) -> None:
    producer = ring.create(capacity=4)
    producer.publish_many(range(count))
    first = ring.attach("oldest", register=register)
    second = ring.attach("next", register=register)
    assert (first.start, second.start) == (oldest, count)
    producer.publish(count)
    assert second.read().tolist() == [count]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"start": "newest"}, InvalidValueError),
        ({"start": None}, InvalidValueError),
        ({"start": np.array(["oldest", "next"])}, InvalidValueError),
        ({"on_gone": "ignore"}, InvalidValueError),
        ({"idle": "spin"}, InvalidValueError),
        ({"label": b"x"}, InvalidTypeError),
        ({"core": "fast"}, CoreUnavailableError),
        ({"core": ""}, CoreUnavailableError),
    ],
    ids=str,
)
def test_an_argument_that_is_none_of_its_choices_is_refused(
    own: Handles, options: dict[str, Any], error: type[Exception]
) -> None:
    own.create(max_consumers=1)
    with pytest.raises(error):
        Consumer.attach(own.name, **options)
    assert own.attach().registered


def test_a_consumer_that_cannot_be_made_gives_its_place_back(own: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    own.create(max_consumers=1)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(consumers, "_enter", interrupted)
        with pytest.raises(KeyboardInterrupt):
            own.attach()
    assert own.attach().registered


def test_a_full_table_leaves_the_next_one_unregistered_but_reading(ring: Handles) -> None:
    producer, first = ring.pair(max_consumers=1)
    second = ring.attach()
    assert (first.registered, second.registered) == (True, False)
    producer.publish(1)
    assert second.read().tolist() == [1]
    first.close()
    assert ring.attach().registered


def test_who_does_not_want_a_place_takes_none(ring: Handles) -> None:
    ring.create(max_consumers=1)
    assert not ring.attach(register=False).registered
    assert ring.attach().registered


@pytest.mark.parametrize(
    ("label", "shown"),
    [("reader", "reader"), ("", ""), ("x" * 70, "x" * 64), ("ä" * 33, "ä" * 32), ("x" + "ä" * 32, "x" + "ä" * 31)],
)
def test_a_label_is_cut_between_characters(own: Handles, label: str, shown: str) -> None:
    own.create()
    own.attach(label=label)
    assert inspect(own.name).consumers[0].label == shown


def test_the_programs_name_is_the_label_otherwise(own: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    own.create()
    for argv, shown in (["/usr/bin/follow", "x"], "follow"), ([""], "python"), ([], "python"):
        monkeypatch.setattr(sys, "argv", argv)
        with own.attach():
            assert inspect(own.name).consumers[0].label == shown


def test_an_embedded_interpreter_need_not_have_arguments(own: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    own.create()
    monkeypatch.delattr(sys, "argv")
    with own.attach():
        assert inspect(own.name).consumers[0].label == "python"


def test_a_wait_ends_at_once_when_there_is_something(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish(1)
    assert consumer.wait(0)
    assert consumer.wait()
    assert consumer.lag == 1


@pytest.mark.parametrize("idle", IDLE)
@pytest.mark.parametrize("timeout_s", [0, 0.0, 0.02])
def test_a_wait_for_nothing_ends_when_its_time_is_up(ring: Handles, idle: IdleStrategy, timeout_s: float) -> None:
    ring.create()
    assert not ring.attach(idle=idle).wait(timeout_s)


@pytest.mark.parametrize(
    ("timeout_s", "error", "message"),
    [
        (-0.001, InvalidValueError, r"timeout_s is -0.001, expected 0 or more"),
        (-math.inf, InvalidValueError, r"timeout_s is -inf, expected 0 or more"),
        (math.nan, InvalidValueError, r"timeout_s is nan, expected 0 or more"),
        ("1", InvalidTypeError, "timeout_s is str, expected a number of seconds"),
        (1j, InvalidTypeError, "timeout_s is complex, expected a number of seconds"),
    ],
)
def test_a_timeout_that_is_none_is_refused(
    own: Handles, timeout_s: Any, error: type[ChronoStreamError], message: str
) -> None:
    _, consumer = own.pair()
    with pytest.raises(error, match=message):
        consumer.wait(timeout_s)


@pytest.mark.parametrize("timeout_s", [None, math.inf, 1e300, 10**400])
def test_the_longest_timeouts_are_for_ever(ring: Handles, timeout_s: float | None) -> None:
    producer, consumer = ring.pair()
    producer.close()
    assert not consumer.wait(timeout_s)


@pytest.mark.parametrize("idle", IDLE)
@pytest.mark.usefixtures("never_checks")
def test_a_wait_gives_the_interpreter_away_and_ends_with_the_record(ring: Handles, idle: IdleStrategy) -> None:
    producer = ring.create()
    consumer = ring.attach(idle=idle)
    with in_thread(producer.publish, 7):
        assert consumer.wait()
    assert consumer.read().tolist() == [7]


def when_waited_for(producer: Producer, action: Callable[[], object]) -> None:
    """Do something as soon as a consumer has asked to be woken."""
    wait_for_sleeper(producer)
    action()


@pytest.mark.parametrize("always_wake", [False, True])
@pytest.mark.usefixtures("never_checks")
def test_all_who_sleep_deeply_are_woken(ring: Handles, always_wake: bool) -> None:
    producer = ring.create(always_wake=always_wake)
    consumers = [ring.attach() for _ in range(4)]
    with contextlib.ExitStack() as stack:
        for consumer in consumers:
            stack.enter_context(in_thread(consumer.wait))
        when_waited_for(producer, lambda: producer.publish(7))
    assert [consumer.read().tolist() for consumer in consumers] == [[7]] * 4


@pytest.mark.usefixtures("never_checks")
def test_one_who_sleeps_is_woken_by_the_close(ring: Handles) -> None:
    producer, consumer = ring.pair()
    with in_thread(when_waited_for, producer, producer.close):
        assert not consumer.wait()


@pytest.mark.usefixtures("never_checks")
def test_one_who_sleeps_is_woken_by_the_next_producer_opening(ring: Handles) -> None:
    """A producer killed between taking the flag down and waking leaves sleepers, which no later publish would wake."""
    first, consumer = ring.pair()

    def succeed() -> None:
        first._segment.memory[first._layout.control_offset + WAITING] = 0
        first._segment.close()  # as its death would
        ring.create().publish(1)

    with in_thread(when_waited_for, first, succeed):
        assert consumer.wait()
    assert consumer.read().tolist() == [1]


@pytest.mark.usefixtures("checks_at_once")
def test_a_consumer_may_be_closed_while_another_thread_waits_with_it(ring: Handles) -> None:
    """Not a thing to do, but no reason to touch memory that is gone."""
    producer, consumer = ring.pair()
    with in_thread(when_waited_for, producer, consumer.close), pytest.raises(ClosedError):
        consumer.wait()


def test_a_closed_stream_is_drained_and_then_ends(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish_many([1, 2])
    producer.close()
    found = []
    while consumer.wait():
        found += consumer.read(1).tolist()
    assert found == [1, 2]
    assert not consumer.wait(0)


@pytest.mark.parametrize("idle", IDLE)
@pytest.mark.usefixtures("checks_at_once")
def test_a_removed_stream_ends_the_wait_of_who_has_nothing_left(ring: Handles, idle: IdleStrategy) -> None:
    producer = ring.create()
    consumer = ring.attach(idle=idle)
    producer.publish(1)
    path_of(ring.name).unlink()
    assert consumer.wait()
    assert consumer.read().tolist() == [1]
    with pytest.raises(StreamRemovedError, match=f"stream '{ring.name}' was removed: wait for a new one"):
        consumer.wait()
    producer.publish(2)
    assert consumer.wait(0)
    assert consumer.read().tolist() == [2]


@pytest.mark.usefixtures("checks_at_once")
def test_a_wait_looks_only_now_and_then_whether_the_producer_lives(
    own: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.create()
    consumer = own.attach()
    look = Mock(return_value=True)
    monkeypatch.setattr(consumer._segment, "named", look)
    assert not consumer.wait(0.05)
    assert 1 <= look.call_count <= 5


@pytest.mark.usefixtures("checks_at_once")
def test_a_removed_stream_is_noticed_by_short_waits_too(own: Handles) -> None:
    own.create()
    consumer = own.attach()
    path_of(own.name).unlink()

    def poll() -> None:
        while not consumer.wait(0):
            pass

    with pytest.raises(StreamRemovedError):
        poll()


@pytest.mark.parametrize("on_gone", ["wait", "raise"])
@pytest.mark.parametrize("last_words", [True, False], ids=["a record", "a close"])
def test_what_happened_just_before_the_check_is_seen_first(
    own: Handles, on_gone: str, last_words: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "LIVENESS_CHECK_S", 0.0)
    producer = own.create()
    consumer = own.attach(on_gone=on_gone)
    real_named = consumer._segment.named

    def named() -> bool:
        if last_words:
            producer.publish(1)
            producer._segment.unlink()
            producer._segment.close()  # as its death would: nothing says that the stream is closed
        else:
            producer.close()
        return real_named()

    monkeypatch.setattr(consumer._segment, "named", named)
    assert consumer.wait() is last_words
    assert consumer.closed is not last_words


def test_a_loop_gives_arrays_as_they_come_and_ends_when_the_stream_is_closed_and_drained(ring: Handles) -> None:
    producer, consumer = ring.pair(capacity=4096)
    producer.publish_many(range(3000))
    assert [len(next(consumer)) for _ in range(3)] == [1024, 1024, 952]
    with in_thread(when_waited_for, producer, lambda: producer.publish(3000)):
        assert next(consumer).tolist() == [3000]
    producer.publish_many(range(3001, 3003))
    producer.close()
    assert [found.tolist() for found in consumer] == [[3001, 3002]]
    assert list(consumer) == []


def test_a_consumer_shows_what_it_is(ring: Handles) -> None:
    producer, consumer = ring.pair(capacity=4)
    producer.publish_many(range(7))
    consumer.read(1)
    assert repr(consumer) == f"<Consumer {ring.name!r} live position=4 lag=3 lost=3 capacity=4>"
    producer.close(remove=False)
    assert repr(consumer) == f"<Consumer {ring.name!r} closed position=4 lag=3 lost=3 capacity=4>"
    ring.create(capacity=4)._segment.close()  # as its death would
    assert repr(consumer) == f"<Consumer {ring.name!r} dead position=4 lag=3 lost=3 capacity=4>"
    consumer.close()
    assert repr(consumer) == f"<Consumer {ring.name!r} closed handle>"


def test_a_consumer_of_a_damaged_stream_shows_that(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish(1)
    consumer.read()
    overwrite(ring.name, HEAD, bytes(8))
    assert repr(consumer) == f"<Consumer {ring.name!r} damaged>"


def test_closing_gives_the_place_back_and_twice_is_fine(own: Handles) -> None:
    own.create(max_consumers=1)
    first = own.attach()
    first.close()
    second = own.attach()
    first.close()
    assert second.registered
    assert len(inspect(own.name).consumers) == 1


def test_a_block_closes_the_handle_whatever_happens(own: Handles) -> None:
    own.create(max_consumers=1)
    with pytest.raises(ZeroDivisionError), own.attach() as consumer:  # noqa: PT012 - the block is what is tested
        assert consumer.registered
        raise ZeroDivisionError
    assert inspect(own.name).consumers == ()

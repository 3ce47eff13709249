"""An event stream that a trace function uses at each line of its own calls: each event comes once."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from chronostream.errors import BusyError
from chronostream.stream import events as module
from chronostream.stream.events import EventStream, subscribe
from tests.process_harness import Feed
from tests.streams import sequences

EVENTS = 6
Call = Callable[[EventStream, list[int]], None]


@pytest.fixture
def feed(name: str) -> Iterator[Feed]:
    feed = Feed(name)
    yield feed
    feed.ring.close()


def take_one(stream: EventStream, received: list[int]) -> None:
    received.append(next(stream).sequence)


def read_two(stream: EventStream, received: list[int]) -> None:
    received += sequences(stream.read(2))


@contextlib.contextmanager
def interrupted(at: int, inner: Callable[[], None]) -> Iterator[list[int]]:
    """Call `inner` before the line of events.py that runs as number `at`; yield the number of lines that have run."""
    lines = [0]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != module.__file__:
            return None
        if event == "line":
            lines[0] += 1
            if lines[0] == at:
                sys.settrace(None)
                inner()
                sys.settrace(trace)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("begun", [False, True])  # Then some events are objects already, and some are still records.
@pytest.mark.parametrize("inner", [take_one, read_two])
@pytest.mark.parametrize("outer", [take_one, read_two])
def test_each_event_comes_once_whichever_line_is_interrupted(feed: Feed, outer: Call, inner: Call, begun: bool) -> None:
    at, lines, refused, done = 0, [1], 0, 0
    while at <= lines[0]:
        at += 1
        with subscribe(feed.name) as stream:
            first = feed.ring.head
            feed.publish(EVENTS)
            received: list[int] = []

            def use(stream: EventStream = stream, received: list[int] = received) -> None:
                nonlocal refused, done
                try:
                    inner(stream, received)
                    done += 1
                except BusyError:
                    refused += 1

            if begun:
                take_one(stream, received)
            with interrupted(at, use) as lines:
                outer(stream, received)
            received += sequences(stream.read())
            assert sorted(received) == list(range(first, first + EVENTS))
            assert (stream.lag, stream.lost) == (0, 0)
    assert done > 0
    assert (refused > 0) == (outer is read_two or not begun)

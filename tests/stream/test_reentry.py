"""An event stream that a trace function uses at each line of its own calls: each event comes once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from chronostream.errors import BusyError
from chronostream.stream import events as module
from chronostream.stream.events import EventStream, subscribe
from tests.process_harness import Feed
from tests.ring.harness import at_line
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


@pytest.mark.parametrize("begun", [False, True])  # Then some events are objects already, and some are still records.
@pytest.mark.parametrize("inner", [take_one, read_two])
@pytest.mark.parametrize("outer", [take_one, read_two])
def test_each_event_comes_once_whichever_line_is_interrupted(feed: Feed, outer: Call, inner: Call, begun: bool) -> None:
    at, refused, done = 0, 0, 0
    reached: list[int] = []
    while len(reached) == at:
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
            with at_line({module.__file__}, at, use) as reached:
                outer(stream, received)
            received += sequences(stream.read())
            assert sorted(received) == list(range(first, first + EVENTS))
            assert (stream.lag, stream.lost) == (0, 0)
    assert done > 0
    assert (refused > 0) == (outer is read_two or not begun)

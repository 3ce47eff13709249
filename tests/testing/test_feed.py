from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chronostream import ring
from chronostream.clock import Stop, Wake
from chronostream.errors import ClosedError, InvalidTypeError, InvalidValueError, StreamExistsError
from chronostream.event import Event, to_events
from chronostream.producer.engine import Engine
from chronostream.ring import inspect
from chronostream.stream.config import StreamConfig
from chronostream.stream.events import subscribe
from chronostream.testing import Feed
from tests.process_harness import Programs, events_of
from tests.ring.harness import in_thread

START = "2026-03-01T11:59:57Z"


@pytest.fixture
def feed() -> Iterator[Feed]:
    """A feed of seconds and minutes, three seconds before noon."""
    with Feed(frequencies=("second", "minute"), start=START) as feed:
        yield feed


def short(events: list[Event]) -> list[str]:
    return [f"{event.time:%H:%M:%S} {event.frequency} {event.sequence}" for event in events]


def test_each_event_is_published_on_time(feed: Feed) -> None:
    with subscribe(feed.name) as stream:
        published = feed.advance(3.5)
        assert short(published) == ["11:59:58 second 1", "11:59:59 second 2", "12:00:00 second 3", "12:00:00 minute 1"]
        assert to_events(stream.read()) == published
        assert feed.advance(0.25) == []
        assert short(feed.advance(0.25)) == ["12:00:01 second 4"]


def test_the_start_is_itself_no_event(feed: Feed) -> None:
    assert feed.advance(0) == []
    assert ring.inspect(feed.name).head == 0


def test_more_events_than_the_ring_holds_are_returned() -> None:
    with Feed(capacity=4) as feed:
        assert [event.sequence for event in feed.advance(20)] == list(range(1, 21))


@pytest.mark.parametrize(("coalesce", "sequences"), [("earliest", [1]), ("all", [1, 2, 3, 4])])
def test_what_passed_during_a_suspend_comes_afterwards(coalesce: str, sequences: list[int]) -> None:
    with Feed(coalesce=coalesce) as feed:
        assert [event.sequence for event in feed.suspend(4)] == sequences
        assert short(feed.advance(1)) == [f"00:00:05 second {sequences[-1] + 1}"]


def test_a_clock_that_was_set_back_holds_the_stream_until_it_has_caught_up(feed: Feed) -> None:
    feed.advance(10)
    assert feed.step(-5) == feed.advance(5) == []
    assert short(feed.advance(1)) == ["12:00:08 second 11"]


def test_a_clock_that_was_set_ahead_a_little_is_believed_at_once(feed: Feed) -> None:
    assert short(feed.step(2.5)) == ["11:59:58 second 1"]


def test_a_crash_is_no_close_and_the_next_producer_goes_on(feed: Feed) -> None:
    feed.advance(2)
    feed.crash()
    assert inspect(feed.name).state == "dead"
    assert feed.advance(1) == feed.suspend(1) == feed.step(1) == []
    assert short(feed.restart()) == ["12:00:00 second 3", "12:00:00 minute 1"]
    feed.stop()
    assert inspect(feed.name).state == "closed"
    feed.restart()
    assert (inspect(feed.name).state, inspect(feed.name).generation) == ("live", 3)
    assert short(feed.advance(1)) == ["12:00:03 second 4"]


def test_a_producer_that_works_is_stopped_before_another_one_starts(feed: Feed) -> None:
    feed.restart()
    assert inspect(feed.name).generation == 2


def test_it_is_gone_at_the_end(feed: Feed) -> None:
    with Feed() as other:
        assert {feed.name, other.name} <= set(ring.list_names())
    assert other.name not in ring.list_names()
    feed.crash()
    feed.close()
    assert feed.name not in ring.list_names()


def test_a_stream_that_is_removed_when_it_stops_is_a_new_one_afterwards(name: str) -> None:
    with Feed(name, remove=True) as feed:
        feed.advance(1)
        feed.stop()
        assert name not in ring.list_names()
        feed.restart()
        assert [event.sequence for event in feed.advance(1)] == [1]
    assert name not in ring.list_names()


def test_a_feed_that_was_closed_deletes_no_other_stream_and_does_not_come_back(name: str) -> None:
    with Feed(name) as feed:
        feed.close()
        Engine(StreamConfig(name=name)).close()
        with pytest.raises(ClosedError, match=f"the feed '{name}' was closed"):
            feed.restart()
    assert inspect(name).state == "closed"


def test_a_stream_that_exists_is_neither_taken_over_nor_deleted(name: str) -> None:
    Engine(StreamConfig(name=name)).close()
    with pytest.raises(StreamExistsError, match=f"stream '{name}' exists, .* \\(`chronostream remove {name}`"):
        Feed(name)
    assert inspect(name).state == "closed"


def test_another_thread_reads_until_the_end(feed: Feed) -> None:
    read: list[Event] = []

    def consume() -> None:
        with subscribe(feed.name, start="oldest") as events:
            read.extend(events)

    with in_thread(consume):
        published = feed.advance(100)
        feed.stop()
    assert read == published


def test_another_process_reads_until_the_end(feed: Feed, programs: Programs) -> None:
    program = programs.chronostream("tail", feed.name, "--from", "oldest", "--format", "json")
    published = feed.advance(3)
    feed.stop()
    assert [event["id"] for event in events_of(program.out.rest())] == [event.id for event in published]
    assert program.wait() == 0


def test_code_that_waits_for_a_clock_waits_for_that_of_the_feed(feed: Feed) -> None:
    woken: list[Wake] = []
    end_ns = feed.clock.realtime_ns() + 2_000_000_000
    with in_thread(lambda: woken.append(feed.clock.wait(end_ns, Stop()))):
        feed.clock.wait_for_waiters()
        feed.advance(2)
    assert woken == [Wake.REACHED]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"start": "soon"}, InvalidValueError, "start is 'soon'"),
        ({"frequencies": ("week",)}, InvalidValueError, "week"),
        ({"name": "a name"}, InvalidValueError, "a name"),
    ],
)
def test_what_no_stream_can_be_is_refused(options: dict[str, Any], error: type[Exception], says: str) -> None:
    before = set(ring.list_names())
    with pytest.raises(error, match=says):
        Feed(**options)
    assert not {name for name in set(ring.list_names()) - before if name.startswith("testing-")}


@pytest.mark.parametrize(("seconds", "error"), [(-1, InvalidValueError), ("1", InvalidTypeError)])
def test_time_passes_forward_only_and_in_seconds(feed: Feed, seconds: Any, error: type[Exception]) -> None:
    for method in (feed.advance, feed.suspend):
        with pytest.raises(error, match="seconds is"):
            method(seconds)
    with pytest.raises(InvalidTypeError, match="seconds is"):
        feed.step("1")  # type: ignore[arg-type]


def test_it_shows_what_it_is(feed: Feed) -> None:
    assert repr(feed) == f"<Feed {feed.name!r} at 2026-03-01T11:59:57Z>"

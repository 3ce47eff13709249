"""The consumer's face, over rings that the tests fill themselves."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronostream import ring
from chronostream.errors import (
    AccessDeniedError,
    ClosedError,
    InvalidTypeError,
    InvalidValueError,
    LayoutMismatchError,
    LostError,
    ProducerGoneError,
    StreamNotFoundError,
    StreamRemovedError,
    UnknownFrequencyError,
)
from chronostream.event import EVENT_DTYPE, Frequency, build_events, to_events
from chronostream.ring import Producer
from chronostream.ring import consumer as consumers
from chronostream.ring.core import IdleStrategy
from chronostream.stream.events import EventStream, subscribe
from tests.process_harness import SECOND_NS, Feed
from tests.ring.harness import NOBODY, TIMEOUT_S, in_fork, needs_root, path_of
from tests.streams import sequences

SECOND, MINUTE = Frequency.SECOND, Frequency.MINUTE


@pytest.fixture
def feed(name: str) -> Iterator[Feed]:
    feed = Feed(name)
    yield feed
    feed.ring.close()


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have waiting consumers look often whether the producer lives."""
    monkeypatch.setattr(consumers, "LIVENESS_CHECK_S", 0.01)


def test_a_loop_hands_out_events_as_they_were_published_and_ends_when_the_stream_closes(feed: Feed) -> None:
    published = build_events("minute", [60 * SECOND_NS, 120 * SECOND_NS], [7, 8], "1.2", "here")
    with subscribe(feed.name) as events:
        feed.ring.publish_many(published)
        feed.ring.close()
        assert list(events) == to_events(published)


def test_a_loop_blocks_for_the_next_event(feed: Feed) -> None:
    with subscribe(feed.name) as events:
        thread = threading.Timer(0.02, feed.publish)
        thread.start()
        assert next(events).sequence == 0
        thread.join()


def test_the_next_event_is_the_first_one_after_subscribing(feed: Feed) -> None:
    feed.publish(3)
    with subscribe(feed.name) as events:
        feed.publish()
        assert sequences(events.read()) == [3]


def test_the_oldest_event_is_the_first_one_that_the_ring_still_holds(feed: Feed) -> None:
    feed.publish(11)
    with subscribe(feed.name, start="oldest") as events:
        assert sequences(events.read()) == [3, 4, 5, 6, 7, 8, 9, 10]
        assert (events.lost, events.lag) == (0, 0)


def test_a_stream_that_is_closed_but_kept_is_drained_and_then_the_loop_ends(feed: Feed) -> None:
    feed.publish(2)
    feed.ring.close(remove=False)
    with subscribe(feed.name, start="oldest") as events:
        assert events.closed
        assert [event.sequence for event in events] == [0, 1]
        assert not events.wait()


def test_reading_gives_records_at_most_as_many_as_asked_for(feed: Feed) -> None:
    with subscribe(feed.name) as events:
        assert events.read().shape == (0,)
        feed.publish(5)
        assert events.read(0).dtype == EVENT_DTYPE
        assert sequences(events.read(2)) == [0, 1]
        assert events.lag == 3
        assert sequences(events.read(7)) == [2, 3, 4]
        assert events.lag == 0


def test_reading_without_a_limit_gives_everything_that_is_there(name: str) -> None:
    feed = Feed(name, capacity=4096)
    with subscribe(name) as events:
        feed.publish(3000)
        assert next(events).sequence == 0
        assert sequences(events.read()) == list(range(1, 3000))
    feed.ring.close()


def test_reading_and_iterating_take_turns_without_losing_or_repeating_an_event(feed: Feed) -> None:
    with subscribe(feed.name) as events:
        feed.publish(6)
        assert next(events).sequence == 0
        assert sequences(events.read(2)) == [1, 2]
        assert next(events).sequence == 3
        feed.publish(2)
        assert events.lag == 4
        assert sequences(events.read()) == [4, 5, 6, 7]


@pytest.mark.parametrize(("limit", "error"), [(-1, InvalidValueError), ("2", InvalidTypeError)])
def test_a_limit_that_is_no_number_of_events_is_refused(feed: Feed, limit: Any, error: type[Exception]) -> None:
    with subscribe(feed.name) as events, pytest.raises(error, match="limit is"):
        events.read(limit)


def test_a_producer_that_never_pauses_does_not_keep_a_reader(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    with subscribe(feed.name, {"minute"}) as events:
        read = events.consumer.read

        def read_while_published(limit: int) -> Any:
            records = read(limit)
            feed.publish()
            return records

        monkeypatch.setattr(events.consumer, "read", read_while_published)
        feed.publish()
        assert not events.wait(0)
        assert sequences(events.read()) == []


def test_waiting_tells_whether_there_is_something_to_read(feed: Feed) -> None:
    with subscribe(feed.name) as events:
        assert not events.wait(0)
        assert not events.wait(0.01)
        feed.publish(2)
        assert events.wait()
        assert next(events).sequence == 0
        assert events.wait(0)
        feed.ring.close()
        assert events.wait()
        assert sequences(events.read()) == [1]
        assert not events.wait()


@pytest.mark.parametrize(
    ("timeout_s", "error"), [(-1, InvalidValueError), (float("nan"), InvalidValueError), ("1", InvalidTypeError)]
)
def test_a_timeout_that_is_no_duration_is_refused(feed: Feed, timeout_s: Any, error: type[Exception]) -> None:
    with subscribe(feed.name) as events:
        with pytest.raises(error, match="timeout_s is"):
            events.wait(timeout_s)
        with pytest.raises(error, match="wait_s is"):
            subscribe(feed.name, wait_s=timeout_s)


@pytest.mark.usefixtures("_soon")
def test_a_dead_producer_is_an_error_for_who_asked_for_it(feed: Feed) -> None:
    with subscribe(feed.name, on_gone="raise") as events:
        feed.publish()
        feed.die()
        assert next(events).sequence == 0
        with pytest.raises(ProducerGoneError, match=f"process {os.getpid()}, the producer of stream"):
            next(events)


@pytest.mark.usefixtures("_soon")
def test_who_did_not_ask_waits_through_the_death_of_a_producer_for_the_next_one(feed: Feed) -> None:
    with subscribe(feed.name) as events:
        feed.publish()
        feed.die()
        assert next(events).sequence == 0
        assert not events.wait(0.1)
        successor = Feed(feed.name)
        successor.publish()
        assert next(events).sequence == 1
        successor.ring.close()
        assert list(events) == []


@pytest.mark.usefixtures("_soon")
def test_waiting_for_a_stream_that_was_removed_is_an_error(feed: Feed) -> None:
    with subscribe(feed.name) as events:
        feed.die()
        ring.remove(feed.name)
        with pytest.raises(StreamRemovedError, match="was removed"):
            next(events)


@pytest.mark.parametrize("wanted", [{"minute"}, [MINUTE], ("MINUTE", 2)], ids=str)
def test_only_events_of_the_wanted_frequencies_pass(feed: Feed, wanted: Any) -> None:
    with subscribe(feed.name, wanted) as events:
        for frequency in (SECOND, MINUTE, SECOND, MINUTE):
            feed.publish(1, frequency)
        assert events.frequencies == frozenset({MINUTE})
        assert events.wait(0)
        assert sequences(events.read(1)) == [1]
        assert next(events).sequence == 3
        feed.publish()
        assert not events.wait(0.01)
        feed.publish()
        feed.ring.close()
        assert list(events) == []


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        ("minute", InvalidTypeError, "expected a collection"),
        (MINUTE, InvalidTypeError, "expected a collection"),
        (1.5, InvalidTypeError, "expected a collection"),
        ((), InvalidValueError, "no frequency: give at least one"),
        (["weekly"], UnknownFrequencyError, "unknown frequency 'weekly'"),
    ],
)
def test_frequencies_that_are_none_are_refused(feed: Feed, wanted: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        subscribe(feed.name, wanted)
    assert ring.inspect(feed.name).consumers == ()


def test_losses_are_counted_and_the_loop_goes_on_behind_them(feed: Feed) -> None:
    with subscribe(feed.name) as events:
        feed.publish(20)
        feed.ring.close()
        assert [event.sequence for event in events] == [12, 13, 14, 15, 16, 17, 18, 19]
        assert events.lost == 12


def test_a_loss_is_raised_once_for_who_asked_for_it_and_the_loop_goes_on_behind_it(feed: Feed) -> None:
    with subscribe(feed.name, on_lost="raise") as events:
        feed.publish(10)
        with pytest.raises(LostError, match="2 records lost, positions 0 to 1") as caught:
            next(events)
        assert (caught.value.first, caught.value.last, events.lost) == (0, 1, 2)
        assert sequences(events.read()) == list(range(2, 10))
        feed.publish(9)
        with pytest.raises(LostError, match="1 records lost, positions 10 to 10"):
            events.read()
        feed.ring.close()
        assert [event.sequence for event in events] == list(range(11, 19))


def test_a_loss_is_raised_between_the_events_before_it_and_those_behind_it(feed: Feed) -> None:
    with subscribe(feed.name, on_lost="raise") as events:
        feed.publish(3)
        assert next(events).sequence == 0
        feed.publish(10)
        assert events.lag == 12
        assert sequences(events.read()) == [1, 2]
        assert (events.lost, events.lag) == (2, 8)
        with pytest.raises(LostError, match="positions 3 to 4"):
            events.read()
        assert sequences(events.read()) == [5, 6, 7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize("look", [EventStream.read, EventStream.wait, EventStream.__next__])
def test_a_loss_is_raised_though_no_wanted_event_is_behind_it(feed: Feed, look: Callable[[EventStream], Any]) -> None:
    with subscribe(feed.name, {"minute"}, on_lost="raise") as events:
        feed.publish(9)
        with pytest.raises(LostError, match="positions 0 to 0"):
            look(events)
        assert not events.wait(0)


ACTIONS = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 20)),
    st.tuples(st.just("read"), st.none() | st.integers(1, 10)),
    st.tuples(st.just("next"), st.none()),
)


def taken(events: EventStream, action: str, limit: int | None) -> list[int]:
    """Return the positions that one action hands out, or that it says were lost, these as negative numbers."""
    try:
        if action == "read":
            return sequences(events.read(limit))
        return [next(events).sequence] if events.lag else []
    except LostError as loss:
        return [-position for position in range(loss.first, loss.last + 1)]


def test_received_lost_and_lag_add_up_to_what_was_published_whatever_the_batches(name: str) -> None:
    numbers = iter(range(1_000_000))

    @given(st.sampled_from(("count", "raise")), st.lists(ACTIONS, max_size=30))
    def check(on_lost: Any, actions: list[tuple[str, int | None]]) -> None:
        feed = Feed(f"{name}-{next(numbers)}")
        feed.publish(5)
        told: list[int] = []
        with subscribe(feed.name, on_lost=on_lost) as events:
            for action, count in [*actions, ("read", None), ("read", None), ("read", None)]:
                if action == "publish":
                    feed.publish(count or 0)
                else:
                    told += taken(events, action, count)
                received = [position for position in told if position >= 0]
                assert len(received) + events.lost + events.lag == feed.ring.head - 5
            assert events.lag == 0
        head = feed.ring.head
        feed.ring.close()
        if on_lost == "raise":
            assert [abs(position) for position in told] == list(range(5, head))
        else:
            assert told == sorted(set(told))

    check()


def test_a_stream_that_is_not_there_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(StreamNotFoundError, match=f"there is no stream '{name}'"):
        subscribe(name)


def test_a_stream_that_is_not_there_yet_is_waited_for(name: str) -> None:
    made: list[Feed] = []
    thread = threading.Timer(0.05, lambda: made.append(Feed(name)))
    thread.start()
    with subscribe(name, wait_s=TIMEOUT_S) as events:
        thread.join()
        made[0].publish()
        assert next(events).sequence == 0
    made[0].ring.close()


def test_a_stream_that_does_not_come_is_waited_for_so_long_and_no_longer(name: str) -> None:
    start_s = time.monotonic()
    with pytest.raises(StreamNotFoundError):
        subscribe(name, wait_s=0.1)
    assert 0.1 <= time.monotonic() - start_s < TIMEOUT_S


def test_a_ring_of_something_else_is_refused_and_not_kept_hold_of(name: str) -> None:
    with Producer.create(name, "<f8", 8):
        with pytest.raises(LayoutMismatchError, match="float64, not events"):
            subscribe(name)
        assert ring.inspect(name).consumers == ()


@pytest.mark.parametrize("option", ["start", "on_lost", "on_gone", "idle"])
def test_an_option_that_is_none_of_its_choices_is_refused(feed: Feed, option: str) -> None:
    with pytest.raises(InvalidValueError, match=f"{option} .*'sometimes'"):
        subscribe(feed.name, **{option: "sometimes"})  # type: ignore[arg-type]  # that is the point


@needs_root
def test_another_users_stream_is_trusted_only_where_that_is_said(feed: Feed) -> None:
    os.chown(path_of(feed.name), NOBODY, NOBODY)
    with pytest.raises(AccessDeniedError, match=f"belongs to user {NOBODY}"):
        subscribe(feed.name)
    with subscribe(feed.name, any_owner=True) as events:
        feed.publish()
        assert next(events).sequence == 0


@pytest.mark.parametrize("idle", get_args(IdleStrategy))
def test_a_subscription_waits_as_it_is_told(feed: Feed, idle: IdleStrategy) -> None:
    with subscribe(feed.name, idle=idle) as events:
        assert not events.wait(0.01)
        feed.publish(1)
        assert events.wait(5)


def test_a_subscription_is_seen_under_its_label_until_it_is_closed(feed: Feed) -> None:
    with subscribe(feed.name, label="plotter"):
        assert [consumer.label for consumer in ring.inspect(feed.name).consumers] == ["plotter"]
    assert ring.inspect(feed.name).consumers == ()


def test_a_subscription_shows_what_it_is(feed: Feed) -> None:
    def text(facts: str) -> str:
        return f"<EventStream '{feed.name}': {facts}>"

    with subscribe(feed.name, ["minute", "second"], "oldest") as events, subscribe(feed.name) as everything:
        feed.publish(3)
        assert repr(events) == text("live, position 0, lag 3, lost 0, second, minute")
        next(events)
        assert repr(events) == text("live, position 3, lag 2, lost 0, second, minute")
        assert repr(everything) == text("live, position 0, lag 3, lost 0, all frequencies")
        feed.ring.close()
        assert repr(events) == text("closed, position 3, lag 2, lost 0, second, minute")
    assert repr(events) == text("this handle is closed, second, minute")


def test_a_subscription_to_a_dead_producers_stream_shows_that(feed: Feed) -> None:
    with subscribe(feed.name) as events:
        feed.die()
        assert repr(events) == f"<EventStream '{feed.name}': dead, position 0, lag 0, lost 0, all frequencies>"
    path_of(feed.name).unlink()


def test_a_subscription_shows_itself_in_a_forked_child_too(feed: Feed) -> None:
    with subscribe(feed.name) as events:

        def child() -> None:
            assert repr(events) == f"<EventStream '{feed.name}': this handle is closed, all frequencies>"

        assert in_fork(child) == 0


@pytest.mark.parametrize("use", [next, EventStream.read, EventStream.wait, lambda events: events.lag])
def test_a_subscription_that_was_closed_hands_out_nothing_more(feed: Feed, use: Callable[[EventStream], Any]) -> None:
    with subscribe(feed.name) as events:
        feed.publish(3)
        next(events)
    events.close()
    with pytest.raises(ClosedError):
        use(events)


def test_waiting_for_a_stream_ends_though_the_clock_stands_still(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1.0)
    with pytest.raises(StreamNotFoundError):
        subscribe(name, wait_s=0.1)

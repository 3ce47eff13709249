from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import numpy as np
import pytest

import chronostream as cs
from chronostream.errors import (
    InvalidTypeError,
    InvalidValueError,
    LayoutMismatchError,
    StreamMismatchError,
    StreamNotFoundError,
    UnknownFrequencyError,
)
from chronostream.ring import Consumer, Producer, inspect
from chronostream.stream.patterns import LatestStream, every, history
from chronostream.testing import Feed
from tests.mirror_harness import mirrored
from tests.ring.harness import path_of
from tests.streams import NOON_NS, NS, event_ring, seconds, sequences

MINUTE = cs.Frequency.MINUTE


def test_every_gives_the_events_of_its_frequency_until_the_stream_ends(name: str) -> None:
    with Feed(name, frequencies=("second", "minute"), start=NOON_NS) as feed, every("minute", name) as minutes:
        feed.advance(180)
        feed.stop()
        assert [(event.frequency, event.timestamp) for event in minutes] == [
            (MINUTE, NOON_NS + minute * 60 * NS) for minute in (1, 2, 3)
        ]


def test_every_begins_with_the_next_event(name: str) -> None:
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 3))
        with every("second", name) as events:
            producer.publish_many(seconds(4, 1))
            assert next(events).sequence == 4


def test_a_loop_that_is_late_gets_every_event_by_default(name: str) -> None:
    with event_ring(name) as producer, every("second", name) as events:
        producer.publish_many(seconds(1, 3))
        assert [next(events).sequence for _ in range(3)] == [1, 2, 3]


def test_a_loop_that_is_late_can_have_the_latest_only(name: str) -> None:
    with event_ring(name) as producer, every("second", name, coalesce="latest") as events:
        assert isinstance(events, LatestStream)
        assert_type(events, LatestStream)
        producer.publish_many(seconds(1, 1))
        assert (next(events).sequence, events.skipped) == (1, 0)
        producer.publish_many(np.concatenate([seconds(2, 3), seconds(1, 1, frequency=MINUTE)]))
        assert (next(events).sequence, events.skipped) == (4, 2)
        producer.close()
        assert list(events) == []


def test_a_frequency_that_the_stream_does_not_emit_is_refused_at_once(name: str) -> None:
    with Feed(name, frequencies=("second", "hour")):
        with pytest.raises(StreamMismatchError, match="emits second, hour, requested was minute"):
            every("minute", name)
        assert inspect(name).consumers == ()


def test_a_frequency_that_a_mirror_does_not_have_is_refused_as_well(name: str) -> None:
    with mirrored(name), pytest.raises(StreamMismatchError, match="emits second, hour, requested was minute"):
        every("minute", name)


def test_every_waits_for_a_stream_that_is_not_there_yet(name: str) -> None:
    made: list[Producer] = []
    timer = threading.Timer(0.05, lambda: made.append(event_ring(name)))
    timer.start()
    with every("second", name, wait_s=20):
        timer.join()
    made[0].close()


@pytest.mark.parametrize(
    ("options", "error"),
    [({"frequency": "week"}, UnknownFrequencyError), ({"coalesce": "some"}, InvalidValueError)],
)
def test_every_refuses_bad_arguments(name: str, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        every(**{"frequency": "second", "name": name} | options)


def test_history_is_everything_that_the_ring_holds(name: str) -> None:
    with event_ring(name, 8) as producer:
        producer.publish_many(seconds(1, 20))
        assert sequences(history(name)) == list(range(13, 21))


def test_history_takes_no_place_among_the_consumers(name: str) -> None:
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 3))
        history(name)
        assert inspect(name).consumers == ()


def test_history_of_a_closed_stream_can_be_read(name: str) -> None:
    producer = event_ring(name)
    producer.publish_many(seconds(1, 3))
    producer.close(remove=False)
    assert sequences(history(name)) == [1, 2, 3]


def test_history_of_a_window_begins_with_it_and_ends_before_its_end(name: str) -> None:
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 20))
        assert sequences(history(name, start_ns=NOON_NS + 5 * NS, end_ns=NOON_NS + 8 * NS)) == [6, 7, 8]
        assert sequences(history(name, start_ns=NOON_NS + 18 * NS)) == [19, 20]
        assert sequences(history(name, end_ns=NOON_NS + 1)) == [1]
        assert len(history(name, start_ns=NOON_NS - NS, end_ns=NOON_NS)) == 0


def test_history_can_be_of_some_frequencies(name: str) -> None:
    with event_ring(name) as producer:
        producer.publish_many(np.concatenate([seconds(1, 3), seconds(1, 2, frequency=MINUTE)]))
        assert history(name, {"minute"})["frequency"].tolist() == [MINUTE, MINUTE]
        assert len(history(name, ["second", 2])) == 5


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (range(4, 6), [4, 5]),
        (range(9, 100), [9, 10]),
        (range(-5, 2), [1]),
        (range(-5, -2), []),
        (range(10, 1 << 70), [10]),
        (range(5, 5), []),
    ],
)
def test_history_can_be_of_some_sequences(name: str, wanted: range, found: list[int]) -> None:
    with event_ring(name) as producer:
        producer.publish_many(np.concatenate([seconds(1, 10), seconds(1, 2, frequency=MINUTE)]))
        assert sequences(history(name, {"second"}, sequences=wanted)) == found


def test_what_is_overwritten_while_it_is_read_leaves_no_hole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chronostream.stream.patterns._BATCH", 4)
    with event_ring(name, 16) as producer:
        producer.publish_many(seconds(1, 16))
        overwriting = iter([seconds(17, 12)])

        class Overtaken(Consumer):
            @property
            def lost(self) -> int:
                if self.position == 4:
                    for records in overwriting:
                        producer.publish_many(records)
                return super().lost

        monkeypatch.setattr("chronostream.stream.patterns.Consumer", Overtaken)
        assert sequences(history(name)) == [13, 14, 15, 16]


def test_a_range_may_be_given_as_any_instants(name: str) -> None:
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 20))
        noon = datetime.fromtimestamp(NOON_NS // NS, UTC)
        found = history(name, start_ns=noon + timedelta(seconds=5), end_ns=np.datetime64(NOON_NS + 9 * NS, "ns"))
        assert sequences(found) == [6, 7, 8, 9]


def test_history_and_the_gap_report_go_together(name: str) -> None:
    with event_ring(name, 8) as producer:
        producer.publish_many(seconds(1, 20))
        start_ns, end_ns = NOON_NS + 10 * NS, NOON_NS + 20 * NS
        records = history(name, start_ns=start_ns, end_ns=end_ns)
        (gap,) = cs.find_gaps(records, start_ns=start_ns, end_ns=end_ns)
        assert (gap.first_ns, gap.boundaries) == (start_ns, 2)


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"sequences": range(3)}, InvalidValueError, "name the one that they belong to"),
        ({"sequences": range(3), "frequencies": {"second", "minute"}}, InvalidValueError, "name the one"),
        ({"sequences": range(0, 9, 3), "frequencies": {"second"}}, InvalidValueError, "without a step"),
        ({"sequences": [1, 2], "frequencies": {"second"}}, InvalidTypeError, "sequences are list, expected a range"),
        ({"frequencies": "second"}, InvalidTypeError, "expected a collection"),
        ({"start_ns": 2, "end_ns": 1}, InvalidValueError, "before it starts"),
        ({"end_ns": "noon"}, InvalidValueError, "end_ns is 'noon', expected ISO 8601"),
        ({"end_ns": 0.5}, InvalidTypeError, "end_ns is float"),
    ],
)
def test_history_refuses_bad_arguments(
    name: str, options: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with event_ring(name), pytest.raises(error, match=complaint):
        history(name, **options)


def test_history_of_no_stream_is_an_error(name: str) -> None:
    with pytest.raises(StreamNotFoundError):
        history(name)


def test_a_ring_of_something_else_has_no_history_of_events(name: str) -> None:
    with Producer.create(name, "<i8", 8), pytest.raises(LayoutMismatchError, match="not events"):
        history(name)
    assert not path_of(name).exists()

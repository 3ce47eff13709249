from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from chronostream import ring
from chronostream.backfill import count_expected, expected, expected_chunks
from chronostream.backfill.expectation import MAX_EVENTS
from chronostream.boundaries import boundaries
from chronostream.calendar.sequencer import BoundarySequencer
from chronostream.clock import FakeClock
from chronostream.errors import InvalidTypeError, InvalidValueError, UnknownFrequencyError
from chronostream.event import EVENT_DTYPE, Frequency, build_event, event_ids, to_records
from chronostream.producer.engine import Engine
from chronostream.stream.config import StreamConfig, default_instance

_NS = 1_000_000_000
_ALL = ("second", "minute", "hour", "day")
# The evening before New York leaves summer time: an hour there comes twice, and a day has 25 of them.
_START_NS = 1_730_599_200 * _NS
_NEW_YORK = "America/New_York"


def _one_by_one(frequencies: tuple[str, ...], start_ns: int, end_ns: int, tz: str) -> npt.NDArray[np.void]:
    sequencer = BoundarySequencer(tz)
    keys = sorted(
        (stamp, Frequency.parse(frequency))
        for frequency in frequencies
        for stamp in boundaries(frequency, start_ns, end_ns, tz).tolist()
    )
    return to_records(
        build_event(frequency, stamp, sequencer.peek(frequency, stamp), "1.2", "me") for stamp, frequency in keys
    )


@pytest.mark.parametrize(
    ("frequencies", "hours"), [(("second",), 1), (("minute", "hour"), 30), (("day",), 30), (_ALL, 6)]
)
def test_the_events_are_those_of_the_boundaries_one_by_one(frequencies: tuple[str, ...], hours: int) -> None:
    end_ns = _START_NS + hours * 3600 * _NS + 1
    found = expected(frequencies, _START_NS, end_ns, _NEW_YORK, "1.2", "me")
    assert found.tobytes() == _one_by_one(frequencies, _START_NS, end_ns, _NEW_YORK).tobytes()


def test_frequencies_in_any_order_and_twice_are_the_same() -> None:
    span = _START_NS, _START_NS + 7200 * _NS
    assert (expected(["hour", "second", "hour"], *span) == expected(["second", "hour"], *span)).all()


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
def test_parts_of_any_size_make_up_the_whole(size: int) -> None:
    span = _START_NS + 1, _START_NS + 600 * _NS
    parts = list(expected_chunks(_ALL, *span, _NEW_YORK, "1", "me", size=size))
    assert all(0 < len(part) <= size + len(_ALL) for part in parts)
    assert np.concatenate(parts).tobytes() == expected(_ALL, *span, _NEW_YORK, "1", "me").tobytes()


def test_the_count_is_the_number_of_events() -> None:
    span = _START_NS, _START_NS + 86_400 * _NS
    assert count_expected(_ALL, *span, _NEW_YORK) == len(expected(_ALL, *span, _NEW_YORK)) == 86_400 + 1440 + 24 + 1


def test_the_range_may_be_given_as_any_instants() -> None:
    span = "2024-11-03T02:00Z", np.datetime64("2024-11-03T03:00")
    assert count_expected(["minute"], *span) == 60
    found = expected(["minute"], *span, instance_id="me")
    assert found["timestamp"].tolist() == list(range(_START_NS, _START_NS + 3600 * _NS, 60 * _NS))
    assert np.concatenate(list(expected_chunks(["minute"], *span, instance_id="me"))).tobytes() == found.tobytes()


def test_the_start_belongs_to_the_range_and_the_end_does_not() -> None:
    found = expected(["minute"], _START_NS, _START_NS + 120 * _NS)
    assert found["timestamp"].tolist() == [_START_NS, _START_NS + 60 * _NS]


@pytest.mark.parametrize("end_ns", [_START_NS + 1, _START_NS + _NS])
def test_a_range_without_boundaries_is_an_empty_array(end_ns: int) -> None:
    found = expected(["second", "day"], _START_NS + 1, end_ns)
    assert (found.dtype, found.shape) == (EVENT_DTYPE, (0,))


def test_the_instance_is_this_host_by_default() -> None:
    assert expected(["second"], 0, _NS)["instance_id"][0].decode() == default_instance()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("second", 0, 1), InvalidTypeError, "expected a collection"),
        ((3, 0, 1), InvalidTypeError, "expected a collection"),
        (([], 0, 1), InvalidValueError, "no frequency"),
        ((["week"], 0, 1), UnknownFrequencyError, "week"),
        ((["second"], 1, 0), InvalidValueError, "later than end_ns"),
        ((["second"], -1, 1), InvalidValueError, "before 1970"),
        ((["second"], 0.5, 1), InvalidTypeError, "start_ns is float"),
        ((["second"], 0, 1, "Mars/Olympus"), InvalidValueError, "unknown time zone"),
        ((["second"], 0, 1, "UTC", "v" * 33), InvalidValueError, "producer_version"),
        ((["second"], 0, 1, "UTC", "v", "i" * 65), InvalidValueError, "instance_id"),
    ],
)
def test_bad_arguments_are_refused_at_once(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        expected(*arguments)
    with pytest.raises(error, match=message):
        expected_chunks(*arguments)


@pytest.mark.parametrize(("size", "error"), [(0, InvalidValueError), (-1, InvalidValueError), (1.5, InvalidTypeError)])
def test_a_part_of_no_events_is_refused(size: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="size is"):
        expected_chunks(["second"], 0, 1, size=size)


def test_more_than_fits_one_array_is_refused_with_the_way_out() -> None:
    with pytest.raises(InvalidValueError, match=r"expected_chunks"):
        expected(["second"], 0, (MAX_EVENTS + 1) * _NS)
    assert len(next(iter(expected_chunks(["second"], 0, (MAX_EVENTS + 1) * _NS)))) < MAX_EVENTS


def test_the_bytes_are_those_that_a_live_engine_emits() -> None:
    midnight_ns = _START_NS + 2 * 3600 * _NS
    span = midnight_ns - 90 * _NS, midnight_ns + 90 * _NS
    clock = FakeClock(span[0] - 1)
    config = StreamConfig(
        name=f"test-{os.getpid()}-live",
        frequencies=_ALL,
        timezone=_NEW_YORK,
        capacity=1024,
        sequencer="boundary",
        producer_version="1",
        instance_id="me",
        remove=True,
    )
    with Engine(config, clock=clock) as engine, ring.Consumer.attach(config.name, register=False) as consumer:
        while (deadline_ns := engine.step()) < span[1]:
            clock.advance(deadline_ns - clock.realtime_ns())
        emitted = consumer.read()
    wanted = expected(_ALL, *span, _NEW_YORK, "1", "me")
    assert set(wanted["frequency"].tolist()) == {1, 2, 3, 4}
    assert event_ids(emitted).tolist() == event_ids(wanted).tolist()
    assert emitted.tobytes() == wanted.tobytes()

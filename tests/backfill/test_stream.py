from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from chronostream import ring
from chronostream.backfill import FaultKind, expected, replay, verify_stream
from chronostream.errors import InvalidValueError, LayoutMismatchError, LostError, StreamNotFoundError
from chronostream.event import EVENT_DTYPE, Frequency
from chronostream.stream.description import Description
from chronostream.stream.state import STATE_SIZE, StateWriter
from chronostream.testing import Feed
from tests.ring.harness import overwrite

_NS = 1_000_000_000
_START_NS = 1_704_067_200 * _NS
_ALL = ("second", "minute", "hour", "day")


@pytest.fixture
def feed(name: str, request: pytest.FixtureRequest) -> Iterator[Feed]:
    """A live stream that begins a nanosecond before the start; its sequencer is the fixture's parameter."""
    frequencies = ("second", "minute")
    with Feed(name, frequencies=frequencies, start=_START_NS - 1, capacity=256, sequencer=request.param) as feed:
        yield feed


@pytest.mark.parametrize("feed", ["boundary", "counting"], indirect=True)
def test_a_live_stream_that_missed_nothing_is_ok(feed: Feed) -> None:
    feed.advance(400)
    report = verify_stream(feed.name)
    assert report.ok
    assert report.found == report.expected == 256


@pytest.mark.parametrize("feed", ["boundary"], indirect=True)
def test_what_a_boundary_stream_missed_is_absent_unless_allowed(feed: Feed) -> None:
    feed.advance(10)
    feed.suspend(6)
    feed.advance(2)
    (fault,) = verify_stream(feed.name).faults
    assert (fault.kind, fault.count, fault.first_ns) == (FaultKind.ABSENT, 5, _START_NS + 11 * _NS)
    report = verify_stream(feed.name, allow_missed=True)
    assert report.ok
    assert report.missed[Frequency.SECOND] == 5


@pytest.mark.parametrize("feed", ["counting"], indirect=True)
def test_what_a_counting_stream_missed_must_be_counted(feed: Feed) -> None:
    feed.advance(10)
    feed.suspend(6)
    feed.advance(2)
    report = verify_stream(feed.name)
    assert report.ok
    assert report.missed[Frequency.SECOND] == 5


def test_an_altered_event_in_the_ring_is_named(name: str) -> None:
    replay(name, _START_NS, _START_NS + 50 * _NS, capacity=64)
    offset = ring.Layout.plan(EVENT_DTYPE, 64, STATE_SIZE, 64).records_offset
    overwrite(name, offset + 7 * EVENT_DTYPE.itemsize + 16, b"\1")
    (fault,) = verify_stream(name).faults
    assert (fault.kind, fault.first_ns) == (FaultKind.ALTERED, _START_NS + 7 * _NS)


def test_a_range_and_frequencies_may_be_chosen(name: str) -> None:
    replay(name, _START_NS, _START_NS + 3600 * _NS, _ALL)
    report = verify_stream(name, _START_NS + 60 * _NS, _START_NS + 600 * _NS, frequencies=["minute"])
    assert (report.ok, report.found) == (True, 9)
    report = verify_stream(name, _START_NS - 60 * _NS, _START_NS + 600 * _NS, frequencies=["minute"])
    assert report.counts[FaultKind.ABSENT] == 1


def test_the_instance_may_be_demanded(name: str) -> None:
    replay(name, _START_NS, _START_NS + 5 * _NS, instance_id="me")
    assert verify_stream(name, instance_id="me").ok
    assert verify_stream(name, instance_id="you").counts[FaultKind.ALTERED] == 5


def test_progress_is_told_to_the_last_event(name: str) -> None:
    replay(name, _START_NS, _START_NS + 30_000 * _NS)
    told: list[int] = []
    assert verify_stream(name, on_progress=told.append).ok
    assert len(told) > 1
    assert sum(told) == 30_000


def test_a_ring_that_says_nothing_of_itself_needs_to_be_told(name: str) -> None:
    with ring.Producer.create(name, EVENT_DTYPE, 64) as producer:
        producer.publish_many(expected(["minute"], _START_NS, _START_NS + 600 * _NS, instance_id="me"))
        with pytest.raises(InvalidValueError, match="does not say what it is"):
            verify_stream(name)
        assert verify_stream(name, frequencies=["minute"]).found == 10
        assert verify_stream(name, frequencies=["minute"], sequencer="counting").ok


def test_a_sequencer_that_nobody_here_knows_is_refused_unless_one_is_named(name: str) -> None:
    with ring.Producer.create(name, EVENT_DTYPE, 64, application_size=STATE_SIZE) as producer:
        StateWriter(producer.application).describe(Description((Frequency.SECOND,), "UTC", "fibonacci"))
        with pytest.raises(InvalidValueError, match="fibonacci"):
            verify_stream(name)
        assert verify_stream(name, sequencer="boundary").ok


def test_a_ring_of_something_else_is_refused(name: str) -> None:
    with ring.Producer.create(name, "<i8", 64), pytest.raises(LayoutMismatchError, match="not events"):
        verify_stream(name)


def test_a_stream_that_is_not_there_is_refused() -> None:
    with pytest.raises(StreamNotFoundError):
        verify_stream(f"test-{os.getpid()}-nowhere")


def test_events_overwritten_while_they_are_compared_are_no_silent_gap(name: str) -> None:
    capacity = 1 << 15
    events = expected(["second"], _START_NS, _START_NS + 2 * capacity * _NS, instance_id="me")
    with ring.Producer.create(name, EVENT_DTYPE, capacity) as producer:
        producer.publish_many(events[:capacity])

        def overrun(_: int) -> None:
            producer.publish_many(events[capacity:])

        with pytest.raises(LostError):
            verify_stream(name, frequencies=["second"], on_progress=overrun)


def test_a_ring_that_wraps_is_read_in_order(name: str) -> None:
    with ring.Producer.create(name, EVENT_DTYPE, 64) as producer:
        events: Any = expected(["second"], _START_NS, _START_NS + 100 * _NS, instance_id="me")
        for part in np.array_split(events, 7):
            producer.publish_many(part)
        report = verify_stream(name, frequencies=["second"])
    assert (report.ok, report.found, report.start_ns) == (True, 64, _START_NS + 36 * _NS)

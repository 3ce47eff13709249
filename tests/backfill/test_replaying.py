from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import pytest

import chronostream as cs
from chronostream import ring
from chronostream.backfill import expected, replay
from chronostream.backfill.replaying import speed_of
from chronostream.clock import FakeClock, Stop, Wake
from chronostream.errors import (
    InvalidTypeError,
    InvalidValueError,
    ProducerActiveError,
    StreamExistsError,
    StreamRemovedError,
)
from chronostream.event import EVENT_DTYPE, event_ids
from chronostream.producer.engine import Engine
from chronostream.ring import Consumer
from chronostream.stream.config import StreamConfig
from chronostream.stream.status import stream_status
from tests.ring.harness import path_of

_NS = 1_000_000_000
_START_NS = 1_704_067_200 * _NS
_ALL = ("second", "minute", "hour", "day")


class _Jumping(FakeClock):
    """Whoever waits finds that the time has come; the clock notes when."""

    def __init__(self, late_ns: int = 0) -> None:
        super().__init__(_START_NS * 2, boottime_ns=5)
        self.late_ns = late_ns
        self.waits: list[int] = []

    def wait(self, deadline_ns: int, stop: Any, **_: Any) -> Wake:
        if stop.is_set():
            return Wake.INTERRUPTED
        self.waits.append(deadline_ns)
        self.advance(max(0, deadline_ns - self.realtime_ns()) + self.late_ns)
        return Wake.REACHED


def _kept(name: str) -> Any:
    with Consumer.attach(name) as consumer:
        return consumer.read()


@pytest.mark.parametrize("capacity", [1, 64, 1024])
def test_the_ring_holds_the_last_events_of_the_range(name: str, capacity: int) -> None:
    end_ns = _START_NS + 1000 * _NS
    count = replay(name, _START_NS, end_ns, _ALL, "Asia/Kathmandu", capacity=capacity, instance_id="me")
    wanted = expected(_ALL, _START_NS, end_ns, "Asia/Kathmandu", instance_id="me")
    assert count == len(wanted)
    assert _kept(name).tobytes() == wanted[-capacity:].tobytes()


def test_it_is_a_name_of_the_package_and_takes_iso_times(name: str) -> None:
    assert cs.replay(name, "2024-01-01", "2024-01-01T00:01Z") == 60


def test_the_stream_is_closed_and_says_what_it_is(name: str) -> None:
    replay(name, _START_NS, _START_NS + 90 * _NS, ("minute", "day"), "Europe/Paris", instance_id="me")
    status = stream_status(name)
    assert status.ring.state == "closed"
    assert status.engine is not None
    assert status.description is not None
    assert (status.description.timezone, status.description.sequencer) == ("Europe/Paris", "boundary")
    minute, day = status.engine.frequencies
    assert (minute.last_timestamp, minute.missed) == (_START_NS + 60 * _NS, 0)
    assert (day.last_timestamp, day.last_sequence) == (None, None)


def test_a_stream_is_removed_on_demand(name: str) -> None:
    replay(name, _START_NS, _START_NS + _NS, remove=True)
    assert name not in ring.list_names()


def test_an_empty_range_is_an_empty_stream(name: str) -> None:
    assert replay(name, _START_NS, _START_NS) == 0
    assert len(_kept(name)) == 0


def test_a_live_producer_goes_on_where_the_range_ends(name: str) -> None:
    end_ns = _START_NS + 120 * _NS
    clock = FakeClock(end_ns + 1)
    replay(name, _START_NS, end_ns, ("second", "minute"), capacity=256, instance_id="me", clock=clock)
    config = StreamConfig(
        name=name,
        frequencies=("second", "minute"),
        capacity=256,
        sequencer="boundary",
        instance_id="me",
        coalesce="all",
    )
    with Engine(config, clock=clock) as engine:
        engine.step()
        clock.advance(60 * _NS)
        engine.step()
    wanted = expected(("second", "minute"), _START_NS, end_ns + 60 * _NS + 1, instance_id="me")
    assert event_ids(_kept(name)).tolist() == event_ids(wanted).tolist()
    assert _kept(name).tobytes() == wanted.tobytes()


def test_progress_is_told_to_the_last_event(name: str) -> None:
    told: list[int] = []
    count = replay(name, _START_NS, _START_NS + 1000 * _NS, capacity=64, on_progress=told.append)
    assert (sum(told), max(told)) == (count, 32)


def test_a_live_stream_is_left_alone(name: str) -> None:
    with ring.Producer.create(name, EVENT_DTYPE, 64), pytest.raises(ProducerActiveError):
        replay(name, _START_NS, _START_NS + _NS, capacity=64)


def test_a_stream_of_its_own_is_not_gone_on_with(name: str) -> None:
    replay(name, _START_NS, _START_NS + _NS)
    before = path_of(name).read_bytes()
    with pytest.raises(StreamExistsError, match="remove it first"):
        replay(name, _START_NS, _START_NS + _NS)
    assert path_of(name).read_bytes() == before


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"start": "then"}, InvalidValueError, "start is 'then'"),
        ({"end": _START_NS - 1}, InvalidValueError, "later than end_ns"),
        ({"start": -1}, InvalidValueError, "before 1970"),
        ({"end": 1.5}, InvalidTypeError, "end is float"),
        ({"speed": "fast"}, InvalidValueError, "speed is 'fast'"),
        ({"frequencies": ["week"]}, InvalidValueError, "week"),
        ({"timezone": "Mars"}, InvalidValueError, "time zone"),
        ({"capacity": 3}, InvalidValueError, "capacity"),
        ({"instance_id": "i" * 65}, InvalidValueError, "instance_id"),
    ],
)
def test_bad_arguments_leave_no_stream(name: str, options: Any, error: type[Exception], message: str) -> None:
    arguments = {"start": _START_NS, "end": _START_NS + _NS} | options
    with pytest.raises(error, match=message):
        replay(name, **arguments)
    assert name not in ring.list_names()


def test_a_paced_replay_publishes_each_event_when_it_is_due(name: str) -> None:
    clock = _Jumping()
    start_ns = clock.realtime_ns()
    told: list[tuple[int, int]] = []
    replay(
        name,
        _START_NS + 1,
        _START_NS + 63 * _NS,
        ("second", "minute"),
        speed="60x",
        clock=clock,
        on_progress=lambda count: told.append((count, clock.realtime_ns() - start_ns)),
    )
    assert told[0] == (1, (_NS - 1) // 60)
    assert [count for count, _ in told].count(2) == 1  # the second and the minute that fall together
    assert told[-1][1] == (62 * _NS - 1) // 60


def test_a_replay_that_is_late_catches_up_with_all_that_is_due(name: str) -> None:
    told: list[int] = []
    clock = _Jumping(late_ns=10 * _NS)
    assert replay(name, _START_NS, _START_NS + 100 * _NS, speed=1, clock=clock, on_progress=told.append) == 100
    assert told[:2] == [1, 11]


def test_a_paced_replay_does_not_mind_where_the_wall_clock_goes(name: str) -> None:
    class Stepping(_Jumping):
        def wait(self, deadline_ns: int, stop: Any, **options: Any) -> Wake:
            super().wait(deadline_ns, stop, **options)
            self.step(-3600 * _NS)
            return Wake.STEPPED

    clock = Stepping()
    began_ns = clock.boottime_ns()
    replay(name, _START_NS, _START_NS + 10 * _NS, speed="1x", clock=clock)
    assert clock.boottime_ns() - began_ns == 9 * _NS


def test_a_paced_replay_looks_about_while_it_waits_long(name: str) -> None:
    class Removing(_Jumping):
        def wait(self, deadline_ns: int, stop: Any, **options: Any) -> Wake:
            path_of(name).unlink(missing_ok=True)
            return super().wait(deadline_ns, stop, **options)

    clock = Removing()
    began_ns = clock.boottime_ns()
    with pytest.raises(StreamRemovedError):
        replay(name, _START_NS + 1, _START_NS + 10**6 * _NS, ("day",), speed="1x", clock=clock)
    assert clock.boottime_ns() - began_ns == 5 * _NS


@pytest.mark.parametrize("speed", ["max", "1x"])
def test_a_stopped_replay_keeps_what_it_published_and_closes_the_stream(name: str, speed: str) -> None:
    stop = threading.Event()

    def look(_: int) -> None:
        if ring.inspect(name).head >= 5:
            stop.set()

    options: dict[str, Any] = {"capacity": 8, "instance_id": "me", "clock": _Jumping()}
    count = replay(name, _START_NS, _START_NS + 100 * _NS, speed=speed, stop=stop, on_progress=look, **options)
    assert 5 <= count < 100
    status = stream_status(name)
    assert status.ring.state == "closed"
    assert status.engine is not None
    assert status.engine.frequencies[0].last_timestamp == _START_NS + (count - 1) * _NS


def test_a_consumer_follows_a_replay_by_the_real_clock_and_misses_nothing(name: str) -> None:
    received: list[Any] = []

    def follow() -> None:
        with cs.subscribe(name, start="oldest", wait_s=20) as events:
            while events.wait(20):
                received.append(events.read())

    follower = threading.Thread(target=follow)
    follower.start()
    with Stop() as stop:
        replay(name, _START_NS, _START_NS + 200 * _NS, ("second", "minute"), speed="500x", stop=stop, instance_id="me")
    follower.join(20)
    assert not follower.is_alive()
    wanted = expected(("second", "minute"), _START_NS, _START_NS + 200 * _NS, instance_id="me")
    assert np.concatenate(received).tobytes() == wanted.tobytes()


@pytest.mark.parametrize(("speed", "factor"), [("max", math.inf), ("1x", 1), ("60x", 60), ("0.5x", 0.5), (7, 7)])
def test_a_speed_is_a_factor(speed: str | float, factor: float) -> None:
    assert speed_of(speed) == factor


@pytest.mark.parametrize("speed", ["0x", 0, -1, math.nan, math.inf, "x", "fast", "60", "-1x", "infx"])
def test_what_is_no_speed_is_refused(speed: str | float) -> None:
    with pytest.raises(InvalidValueError, match="expected 'max' or such as '1x'"):
        speed_of(speed)


@pytest.mark.parametrize("speed", [None, True, [1]])
def test_a_speed_of_another_kind_is_refused(speed: Any) -> None:
    with pytest.raises(InvalidTypeError, match="expected 'max' or a number"):
        speed_of(speed)

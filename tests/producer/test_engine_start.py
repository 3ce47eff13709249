"""How an engine starts: from what parts, upon what stream, and that a start which fails costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chronostream.calendar.sequencer import BoundarySequencer, CountingSequencer, Sequencer
from chronostream.clock import FakeClock, Stop, SystemClock
from chronostream.errors import (
    ClosedError,
    ConfigError,
    CorruptSegmentError,
    InvalidTypeError,
    InvalidValueError,
    LayoutMismatchError,
    ProducerActiveError,
    StreamMismatchError,
    StreamNotFoundError,
)
from chronostream.event import EVENT_DTYPE, Frequency, build_events
from chronostream.producer.engine import Engine
from chronostream.ring import Consumer, Producer, inspect, list_names
from chronostream.stream.state import STATE_SIZE, StateWriter
from tests.engine_harness import NOON_S, NS, SECOND, START_NS, Run


def test_a_ring_that_is_given_carries_the_stream_and_is_closed_in_the_end(run: Run) -> None:
    ring = Producer.create(run.name, EVENT_DTYPE, 8, application_size=STATE_SIZE)
    engine = run.start({"ring": ring})
    assert engine.ring is ring
    assert run.after(1) == [(SECOND, 1)]
    engine.close()
    with pytest.raises(ClosedError):
        ring.check()


def test_a_clock_that_is_given_stays_open(run: Run) -> None:
    run.start().close()
    with Stop() as stop:
        stop.set()
        run.clock.wait(0, stop)
    assert run.clock.realtime_ns() == START_NS


class _Tens:
    """Numbers events in tens, and remembers where it was told to go on."""

    kind = "tens"

    def __init__(self) -> None:
        self.last = 0

    def peek(self, _frequency: Frequency, _boundary_ns: int) -> int:
        return self.last + 10

    def assign(self, frequency: Frequency, boundary_ns: int) -> int:
        self.last = self.peek(frequency, boundary_ns)
        return self.last

    def restore(self, _frequency: Frequency, last_sequence: int) -> None:
        self.last = last_sequence


@pytest.mark.parametrize(
    ("make", "numbers"), [(_Tens, [10, 20, 30]), (BoundarySequencer, [NOON_S + second for second in (1, 2, 3)])]
)
def test_a_sequencer_that_is_given_numbers_the_events_and_is_told_where_to_go_on(
    run: Run, make: Callable[[], Sequencer], numbers: list[int]
) -> None:
    run.start({"sequencer": make()})
    run.second_by_second(2)
    run.stop()
    run.start({"sequencer": make()})
    run.second_by_second(1)
    assert [event.sequence for event in run.events()] == numbers
    assert run.description().sequencer == make().kind


def test_what_a_stream_is_gets_written_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.start()
    monkeypatch.setattr(StateWriter, "describe", None)
    assert run.restart() == []


@pytest.mark.parametrize("left", [Run.stop, Run.die], ids=["closed", "dead"])
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timezone": "Europe/Berlin"}, StreamMismatchError),
        ({"sequencer": "boundary"}, StreamMismatchError),
        ({"frequencies": ("second", "minute")}, StreamMismatchError),
        ({"frequencies": ("minute",)}, StreamMismatchError),
        ({"capacity": 128}, LayoutMismatchError),
        ({"max_consumers": 8}, LayoutMismatchError),
    ],
    ids=str,
)
@pytest.mark.parametrize("remove", [False, True])
def test_a_stream_of_another_kind_is_refused_and_left_as_it_was(
    run: Run, left: Callable[[Run], None], options: dict[str, Any], error: type[Exception], remove: bool
) -> None:
    run.start()
    run.second_by_second(3)
    left(run)
    before, state = run.segment(), inspect(run.name).state
    with pytest.raises(error, match=f"chronostream remove {run.name}"):
        run.start(remove=remove, **options)
    assert run.segment() == before
    assert inspect(run.name).state == state
    run.start()
    assert run.after(1) == [(SECOND, 4)]
    run.check_events()


def test_a_refusal_says_what_the_stream_is_and_what_was_asked_for(run: Run) -> None:
    run.start().close()
    with pytest.raises(StreamMismatchError) as refused:
        run.start(frequencies=("minute", "hour"), timezone="Asia/Tokyo", sequencer="boundary")
    assert str(refused.value) == (
        f"stream '{run.name}' has counting sequences of second events in UTC, requested were boundary sequences of "
        f"minute, hour events in Asia/Tokyo: use the same, another name, or remove it first "
        f"(`chronostream remove {run.name}`)"
    )


def test_a_consumer_that_waits_for_a_dead_stream_does_not_see_a_refused_engine(run: Run) -> None:
    run.start()
    run.die()
    with Consumer.attach(run.name) as consumer:
        with pytest.raises(StreamMismatchError):
            run.start(timezone="Europe/Berlin")
        assert not consumer.closed


def test_a_live_stream_is_refused_and_goes_on(run: Run) -> None:
    first = run.start()
    with pytest.raises(ProducerActiveError):
        Engine(run.config(remove=True), clock=run.clock)
    assert first is run.engine
    assert run.after(1) == [(SECOND, 1)]


def test_a_sequencer_that_has_given_higher_numbers_is_refused_and_the_stream_left_as_it_was(run: Run) -> None:
    run.start()
    run.second_by_second(3)
    run.stop()
    sequencer = CountingSequencer()
    for _ in range(4):
        sequencer.assign(SECOND, 0)
    before = run.segment()
    with pytest.raises(InvalidValueError, match="cannot continue the second sequence from 3"):
        run.start({"sequencer": sequencer}, remove=True)
    assert run.segment() == before


def test_a_boundary_sequencer_of_another_zone_is_refused_before_anything_is_made(run: Run) -> None:
    with pytest.raises(ConfigError, match="numbers the days of Asia/Tokyo, the stream is of UTC"):
        run.start({"sequencer": BoundarySequencer("Asia/Tokyo")})
    assert run.name not in list_names()


@pytest.mark.parametrize(("part", "method"), [("clock", "both_ns"), ("sequencer", "assign"), ("ring", "publish_many")])
def test_a_part_that_is_none_is_refused_before_anything_is_made(run: Run, part: str, method: str) -> None:
    with pytest.raises(InvalidTypeError, match=f"{part} is str, expected what has a method {method}"):
        run.start({part: "boundary"})
    assert run.name not in list_names()


class _Endless(_Tens):
    kind = "a kind that is too long to store"


def test_a_sequencer_whose_kind_cannot_be_stored_is_refused_and_nothing_is_left(run: Run) -> None:
    with pytest.raises(InvalidValueError, match="sequencer is 'a kind that is too long to store', expected 1 to 16"):
        run.start({"sequencer": _Endless()})
    assert run.name not in list_names()


@pytest.mark.parametrize(
    ("dtype", "size", "error"),
    [("<i8", STATE_SIZE, LayoutMismatchError), (EVENT_DTYPE, STATE_SIZE - 1, CorruptSegmentError)],
)
def test_a_ring_that_does_not_fit_is_refused_and_left_open(
    run: Run, dtype: Any, size: int, error: type[Exception]
) -> None:
    with Producer.create(run.name, dtype, 8, application_size=size) as ring:
        with pytest.raises(error):
            run.start({"ring": ring}, remove=True)
        ring.check()
        assert inspect(run.name).state == "live"


def test_events_that_no_engine_has_published_are_refused_and_left(run: Run) -> None:
    with Producer.create(run.name, EVENT_DTYPE, 8, application_size=STATE_SIZE) as ring:
        ring.publish_many(build_events(SECOND, [NS], [1], "1", "host"))
        before = run.segment()
        with pytest.raises(CorruptSegmentError, match="has events but no whole checkpoint: remove it"):
            run.start({"ring": ring})
        assert run.segment() == before


def test_a_new_stream_whose_engine_cannot_start_is_not_there_afterwards(run: Run) -> None:
    class Broken(FakeClock):
        def both_ns(self) -> tuple[int, int]:
            raise OSError("no clock")

    with pytest.raises(OSError, match="no clock"):
        run.start({"clock": Broken(START_NS)})
    with pytest.raises(StreamNotFoundError):
        inspect(run.name)


def test_a_start_that_fails_closes_the_clock_that_it_made(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[SystemClock] = []

    def make() -> SystemClock:
        made.append(SystemClock())
        return made[-1]

    run.start().close()
    monkeypatch.setattr("chronostream.producer.engine.SystemClock", make)
    with pytest.raises(StreamMismatchError):
        Engine(run.config(timezone="Asia/Tokyo"))
    with Stop() as stop, pytest.raises(ClosedError):
        made[0].wait(0, stop)

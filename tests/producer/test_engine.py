from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chronostream.boundaries import boundaries
from chronostream.calendar.sequencer import BoundarySequencer
from chronostream.clock import FakeClock, Stop, StopFlag, Wake
from chronostream.errors import ClosedError, ForkedError, InvalidTypeError, InvalidValueError, StreamRemovedError
from chronostream.event import EVENT_DTYPE, build_events
from chronostream.producer.engine import Engine
from chronostream.ring import Consumer, Producer, inspect, list_names
from chronostream.ring.layout import WAKE_SEQ
from chronostream.stream.state import Checkpoint, StateReader
from tests.engine_harness import DAY, DAY_S, HOUR, MINUTE, NOON_S, NS, SECOND, START_NS, Run
from tests.ring.harness import TIMEOUT_S, in_fork, path_of

ALL = (SECOND, MINUTE, HOUR, DAY)
_BEFORE_MIDNIGHT_NS = (NOON_S + DAY_S // 2 - 2) * NS + NS // 2


@contextmanager
def _running(engine: Engine, stop: Stop | threading.Event) -> Iterator[threading.Thread]:
    """Have the engine run in a thread; at the end of the block it is stopped, and has stopped."""
    thread = threading.Thread(target=engine.run, args=(stop,))
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive(), "it did not stop in time"


@pytest.mark.parametrize("sequencer", ["counting", "boundary"])
def test_every_event_is_what_build_events_makes_of_its_boundary(sequencer: Any) -> None:
    with Run(SECOND, MINUTE, sequencer=sequencer, capacity=256) as run:
        run.start()
        run.second_by_second(120)
        with Consumer.attach(run.name) as consumer:
            records = consumer.read()
        for frequency in (SECOND, MINUTE):
            found = records[records["frequency"] == frequency]
            stamps = boundaries(frequency, START_NS, START_NS + 120 * NS)
            counted = range(1, len(found) + 1)
            numbers = counted if sequencer == "counting" else BoundarySequencer().sequences(frequency, stamps).tolist()
            assert found.tobytes() == build_events(frequency, stamps, numbers, "1", "host").tobytes()


@pytest.mark.parametrize("sequencer", ["counting", "boundary"])
def test_records_built_ahead_are_byte_for_byte_those_built_afterwards(
    monkeypatch: pytest.MonkeyPatch, sequencer: Any
) -> None:
    built_afterwards: list[int] = []

    def emitted(*, ahead: bool) -> bytes:
        with Run(*ALL, sequencer=sequencer, timezone="Europe/Berlin") as run:
            run.clock = FakeClock((NOON_S + DAY_S // 2 - 3602) * NS, boottime_ns=1)  # Berlin's midnight in two seconds
            engine = run.start()
            emit_ticks = engine._emit_ticks

            def emit(ticks: Any) -> None:
                built_afterwards.append(len(ticks))
                emit_ticks(ticks)

            monkeypatch.setattr(engine, "_emit_ticks", emit)
            run.look()
            built_afterwards.clear()
            with Consumer.attach(run.name) as consumer:
                for _ in range(4):
                    if not ahead:
                        engine._prepared = None
                    run.after(1)
                return consumer.read().tobytes()

    ahead = emitted(ahead=True)
    assert built_afterwards == []
    assert len(ahead) == 7 * EVENT_DTYPE.itemsize
    assert emitted(ahead=False) == ahead
    assert built_afterwards == [1, 4, 1, 1]


@pytest.mark.parametrize("capacity", [1, 2, 4])
def test_no_more_than_a_ring_of_events_is_published_between_two_checkpoints(
    monkeypatch: pytest.MonkeyPatch, capacity: int
) -> None:
    with Run(*ALL, capacity=capacity, coalesce="all") as run:
        run.clock = FakeClock(_BEFORE_MIDNIGHT_NS)
        engine = run.start()
        unsaved: list[int] = []
        save = engine._state.save

        def counting(checkpoint: Checkpoint) -> None:
            unsaved.append(checkpoint.position - run.checkpoint().position)
            save(checkpoint)

        monkeypatch.setattr(engine._state, "save", counting)
        for seconds in (0.5, 1, 1, 30):
            run.clock.advance(round(seconds * NS))
            engine.step()
        assert sum(unsaved) == engine.ring.head == 33 + 3
        assert max(unsaved) <= capacity


def test_a_record_built_ahead_for_a_boundary_that_did_not_come_is_not_published(run: Run) -> None:
    run.start()
    run.look()
    assert run.set_clock(-10) == []
    assert run.set_clock(10) == []
    assert run.after(0.5) == [(SECOND, 1)]
    run.check_events()


def test_a_record_built_ahead_uses_no_number_up(run: Run) -> None:
    run.start()
    run.look()
    run.after(0.5)
    assert run.after(3) == [(SECOND, 2)]
    assert run.after(1) == [(SECOND, 5)]
    run.check_events()


def test_each_publish_wakes_even_readers_that_cannot_ask_for_it(run: Run) -> None:
    run.start()
    run.after(0.5)
    before = run.segment()[WAKE_SEQ]
    run.second_by_second(3)
    assert run.segment()[WAKE_SEQ] == before + 3


def test_going_the_way_of_a_publish_before_its_time_changes_no_byte(run: Run) -> None:
    engine = run.start()
    run.second_by_second(3)
    before = run.segment()
    engine._publish_when_due()
    assert run.segment() == before


def test_what_a_wait_published_at_its_deadline_is_counted_once_by_the_next_step(run: Run) -> None:
    engine = run.start()
    run.after(0)
    run.clock.advance(NS // 2)
    for _ in range(3):
        engine._publish_when_due()
    assert [event.sequence for event in run.events()] == [1]
    assert run.look() == []
    assert run.second_by_second(2) == [(SECOND, 2), (SECOND, 3)]
    run.check_accounts()
    run.check_events()


def test_a_run_that_is_stopped_at_the_very_boundary_counts_what_it_published(run: Run) -> None:
    engine = run.start()
    stop = Stop()

    def wait(deadline_ns: int, _stop: StopFlag, *, while_spinning: Callable[[], object]) -> Wake:
        run.clock.advance(deadline_ns - run.clock.realtime_ns())
        while_spinning()
        stop.set()
        return Wake.REACHED

    run.clock.wait = wait  # type: ignore[method-assign, assignment]
    engine.run(stop)
    assert [event.sequence for event in run.events()] == [1]
    run.check_accounts()


@pytest.mark.parametrize("coalesce", ["earliest", "latest", "all"])
def test_the_lateness_of_every_event_is_counted(coalesce: Any) -> None:
    with Run(SECOND, MINUTE, coalesce=coalesce, capacity=256) as run:
        run.start()
        for seconds in (0.5, 1, 0.3, 0.7, 150, 0.5):
            run.after(seconds)
        run.restart()
        run.after(1)
        with Consumer.attach(run.name) as consumer:
            state = StateReader(consumer.application)
            records = consumer.read()
            for frequency in (SECOND, MINUTE):
                assert state.lateness(frequency)[0].sum() == (records["frequency"] == frequency).sum()


def test_the_lateness_is_from_the_boundary_until_the_event_was_visible(run: Run) -> None:
    run.start()
    run.after(0.5 + 0.25)
    run.after(0.75)
    [seconds] = run.status().frequencies
    assert seconds.lateness is not None
    assert seconds.lateness.max_ns == NS // 4
    assert seconds.lateness.p50_ns < 16


def test_a_clock_that_is_set_back_while_an_event_is_published_makes_it_punctual(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = run.start()
    publish = engine.ring.publish_many

    def publish_and_step_back(records: Any) -> None:
        publish(records)
        run.clock.step(-NS)

    monkeypatch.setattr(engine.ring, "publish_many", publish_and_step_back)
    run.after(0.5)
    [seconds] = run.status().frequencies
    assert seconds.lateness is not None
    assert seconds.lateness.max_ns == 0


def test_run_emits_each_boundary_on_time_until_it_is_stopped() -> None:
    with Run(SECOND, MINUTE) as run:
        engine = run.start()
        with Stop() as stop, _running(engine, stop):
            run.clock.run_until(START_NS + 61 * NS)
            events = run.events()
        assert [event.timestamp for event in events if event.frequency is SECOND] == [
            (NOON_S + second) * NS for second in range(1, 62)
        ]
        assert [event.timestamp for event in events if event.frequency is MINUTE] == [(NOON_S + 60) * NS]
        assert run.facts() == {}
        assert inspect(run.name).state == "closed"


def test_run_sees_a_clock_that_is_set_and_a_machine_that_resumes(run: Run) -> None:
    engine = run.start()
    with Stop() as stop, _running(engine, stop):
        run.clock.run_until(START_NS + 2 * NS)
        run.clock.step(-NS)
        run.clock.wait_for_waiters()
        assert run.status().condition == "holding"
        run.clock.suspend(10 * NS)
        run.clock.wait_for_waiters()
    assert [event.timestamp // NS - NOON_S for event in run.events()] == [1, 2, 3]
    assert (run.status().condition, run.missed()) == ("running", 8)


@pytest.mark.parametrize("make_stop", [Stop, threading.Event])
def test_a_stop_ends_a_run_that_sleeps(run: Run, make_stop: Callable[[], Any]) -> None:
    engine = run.start()
    with _running(engine, make_stop()) as thread:
        run.clock.wait_for_waiters()
        assert thread.is_alive()
    assert inspect(run.name).state == "closed"


def test_a_stop_that_is_set_already_emits_nothing_and_closes_the_stream(run: Run) -> None:
    engine = run.start()
    run.clock.advance(10 * NS)
    with Stop() as stop:
        stop.set()
        engine.run(stop)
    assert inspect(run.name).head == 0
    assert inspect(run.name).state == "closed"


def test_without_a_stop_an_exception_ends_a_run_and_closes_the_stream(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = run.start()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run.clock, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.run()
    assert inspect(run.name).state == "closed"


@pytest.mark.parametrize(("longest_wait_s", "gap_s"), [(None, 5), (60, 5), (0.5, 0.5)])
def test_each_turn_comes_often_enough_for_a_supervisor(
    monkeypatch: pytest.MonkeyPatch, longest_wait_s: float | None, gap_s: float
) -> None:
    with Run(DAY) as run:
        engine = run.start()
        turns: list[int] = []

        def wait(deadline_ns: int, *_: object, **__: object) -> None:
            run.clock.advance(deadline_ns - run.clock.realtime_ns())

        def turn() -> None:
            turns.append(run.clock.realtime_ns())
            if len(turns) == 4:
                stop.set()

        monkeypatch.setattr(run.clock, "wait", wait)
        with Stop() as stop:
            engine.run(stop, each_turn=turn, longest_wait_s=longest_wait_s)
    assert [(now_ns - START_NS) / NS for now_ns in turns] == [0, gap_s, 2 * gap_s, 3 * gap_s]


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"stop": 60}, InvalidTypeError, "stop is int, expected what has a method is_set"),
        ({"longest_wait_s": -1}, InvalidValueError, "longest_wait_s is -1, expected 0 or more"),
        ({"longest_wait_s": "1"}, InvalidTypeError, "longest_wait_s is str, expected a number of seconds"),
    ],
)
def test_what_cannot_be_run_with_is_refused_and_the_stream_left_open(
    run: Run, options: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        run.start().run(**options)
    assert inspect(run.name).state == "live"


def test_an_engine_shows_what_it_emits_and_whether_it_is_open() -> None:
    with Run(SECOND, HOUR, timezone="Asia/Tokyo") as run:
        engine = run.start()
        run.second_by_second(3)
        assert repr(engine) == f"<Engine '{run.name}': second, hour in Asia/Tokyo, open, 3 events>"
        run.die()
        assert repr(engine) == f"<Engine '{run.name}': second, hour in Asia/Tokyo, open, 3 events>"
        engine.close()
        assert repr(engine) == f"<Engine '{run.name}': second, hour in Asia/Tokyo, closed>"


def test_on_the_real_clock_an_event_is_visible_at_its_boundary_and_never_before() -> None:
    with Run() as run:
        engine = Engine(run.config())
        assert run.events() == []
        with Stop() as stop, _running(engine, stop), Consumer.attach(run.name, "next", register=False) as consumer:
            assert consumer.wait(TIMEOUT_S)
            now_ns = time.time_ns()
        event = run.events()[0]
        assert event.timestamp % NS == 0
        assert event.timestamp <= now_ns
        with pytest.raises(ClosedError):
            engine._clock.wait(0, threading.Event())  # the engine made it, and closed it


def test_a_closed_stream_is_kept_and_the_next_engine_goes_on_with_its_sequences(run: Run) -> None:
    run.start()
    run.second_by_second(3)
    run.stop()
    assert inspect(run.name).state == "closed"
    run.start()
    run.second_by_second(3)
    assert [event.sequence for event in run.events()] == [1, 2, 3, 4, 5, 6]
    assert inspect(run.name).generation == 2


def test_with_remove_a_stream_is_gone_when_it_stops() -> None:
    with Run(remove=True) as run:
        with run.start():
            assert run.after(1) == [(SECOND, 1)]
        assert run.name not in list_names()


@pytest.mark.parametrize("due", [False, True])
def test_a_closed_engine_takes_no_step(run: Run, due: bool) -> None:
    engine = run.start()
    run.look()
    engine.close()
    run.clock.advance(NS if due else 0)
    before = run.segment()
    with pytest.raises(ClosedError, match=f"the engine of stream '{run.name}' was closed: make another one"):
        engine.step()
    assert run.segment() == before


def test_a_stream_that_is_removed_meanwhile_ends_the_run(run: Run) -> None:
    engine = run.start()
    path_of(run.name).unlink()
    with pytest.raises(StreamRemovedError, match="was removed while its producer was running"):
        engine.run()
    with pytest.raises(ClosedError):
        engine.step()


def test_a_stream_of_days_that_is_removed_ends_the_run_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    with Run(DAY) as run:
        engine = run.start()

        def wait(deadline_ns: int, *_: object, **__: object) -> None:
            path_of(run.name).unlink(missing_ok=True)
            run.clock.advance(deadline_ns - run.clock.realtime_ns())

        monkeypatch.setattr(run.clock, "wait", wait)
        with pytest.raises(StreamRemovedError):
            engine.run()
        assert run.clock.realtime_ns() - START_NS <= 10 * NS


def test_a_stream_whose_name_went_to_another_is_left_to_that_one() -> None:
    with Run(remove=True) as run:
        engine = run.start()
        path_of(run.name).unlink()
        with Producer.create(run.name, "<i8", 8):
            with pytest.raises(StreamRemovedError):
                engine.run()
            assert inspect(run.name).state == "live"


def test_an_engine_of_a_parent_process_is_refused_in_a_fork_and_goes_on_in_the_parent(run: Run) -> None:
    engine = run.start()
    run.look()

    def child() -> None:
        run.clock.advance(10 * NS)
        with pytest.raises(ForkedError):
            engine.step()

    assert in_fork(child) == 0
    assert run.after(1) == [(SECOND, 1)]

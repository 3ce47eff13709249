"""An engine killed at any point: no id comes twice, no count is lost (docs/time.md, "What survives a crash")."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chronostream.clock import FakeClock
from chronostream.errors import CorruptSegmentError
from chronostream.ring import inspect
from chronostream.stream.state import StateWriter
from tests.engine_harness import HOUR_S, MINUTE, NS, SECOND, Run
from tests.ring.harness import in_fork, move_head


@pytest.fixture
def run() -> Iterator[Run]:
    with Run(SECOND, MINUTE) as run:
        run.start()
        run.second_by_second(3)
        yield run


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


_before = _die  # the method itself is not called any more


def _raise(*_: object) -> None:
    raise KeyboardInterrupt


def _after(real: Callable[[Any], None], argument: Any) -> None:
    real(argument)
    _die()


def _halfway_through_saving(real: Callable[[Any], None], checkpoint: Any) -> None:
    state = real.__self__  # type: ignore[attr-defined]  # a method
    assert isinstance(state, StateWriter)
    before = [checkpoint.copy() for checkpoint in state._checkpoints]
    real(checkpoint)
    for raw, old in zip(state._checkpoints, before, strict=True):
        raw[len(raw) // 2 :] = old[len(raw) // 2 :]
    _die()


def _at_call(number: int, point: Callable[..., None], real: Callable[[Any], None]) -> Callable[[Any], None]:
    calls = iter(range(number))

    def method(argument: Any) -> None:
        if next(calls) == number - 1:
            point(real, argument)
        else:
            real(argument)

    return method


def _killed(run: Run, part: str, method: str, point: Callable[..., None], call: int, moves: list[float]) -> None:
    """Have an engine in a process of its own killed while it follows the clock."""
    run.stop()

    def child() -> None:
        engine = run.start()
        owner = getattr(engine, part)
        setattr(owner, method, _at_call(call, point, getattr(owner, method)))
        for seconds in moves:
            run.clock.advance(round(seconds * NS))
            engine.step()

    assert in_fork(child) == -signal.SIGKILL
    assert inspect(run.name).state == "dead"
    run.clock.advance(round(sum(moves) * NS))


def _killed_while_starting(run: Run, method: str, point: Callable[..., None]) -> None:
    """Have an engine in a process of its own killed while it makes the stream, or takes it over."""

    def child() -> None:
        real = getattr(StateWriter, method)
        setattr(StateWriter, method, lambda *arguments: point(lambda _: real(*arguments), None))
        run.start()

    assert in_fork(child) == -signal.SIGKILL


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize(
    ("part", "method", "point"),
    [
        ("_ring", "publish_many", _before),
        ("_ring", "publish_many", _after),
        ("_state", "save", _before),
        ("_state", "save", _halfway_through_saving),
        ("_state", "save", _after),
        ("_state", "save_status", _after),
    ],
    ids=["unpublished", "published", "unsaved", "half-saved", "saved", "shown"],
)
@pytest.mark.parametrize("coalesce", ["earliest", "latest", "all"])
def test_an_engine_killed_in_a_turn_repeats_no_id_and_loses_no_count(
    run: Run, coalesce: str, part: str, method: str, point: Callable[..., None], call: int
) -> None:
    run.options["coalesce"] = coalesce
    run.stop()
    run.start()
    _killed(run, part, method, point, call, [0.7, 15, 45])
    run.start()
    run.look()
    run.second_by_second(2)
    run.check_events()
    run.check_accounts()


@pytest.mark.parametrize("call", range(1, 8))
@pytest.mark.parametrize("point", [_before, _after])
@pytest.mark.parametrize("capacity", [1, 4])
def test_an_engine_killed_within_a_step_of_more_events_than_the_ring_holds_loses_no_count(
    capacity: int, point: Callable[..., None], call: int
) -> None:
    with Run(SECOND, MINUTE, capacity=capacity, coalesce="all") as run:
        run.start()
        _killed(run, "_ring", "publish_many", point, call, [0.5, 75])
        run.start()
        run.clock.advance(NS)
        run.engine.step()
        run.check_accounts()
        assert [last.sequence for last in run.checkpoint().published.values()] == [77, 1]
        assert (run.missed(SECOND), run.missed(MINUTE)) == (0, 0)


@pytest.mark.parametrize("method", ["describe", "save", "save_status"])
@pytest.mark.parametrize("point", [_before, _after])
def test_an_engine_killed_while_it_makes_the_stream_leaves_one_that_can_be_started(
    method: str, point: Callable[..., None]
) -> None:
    with Run() as run:
        _killed_while_starting(run, method, point)
        run.start()
        assert run.after(1) == [(SECOND, 1)]
        run.check_accounts()


@pytest.mark.parametrize("method", ["save", "save_status"])
@pytest.mark.parametrize("point", [_before, _after])
def test_an_engine_killed_while_it_takes_the_stream_over_changes_nothing_that_counts(
    run: Run, method: str, point: Callable[..., None]
) -> None:
    before = run.checkpoint()
    run.die()
    _killed_while_starting(run, method, point)
    assert run.checkpoint() == before
    run.start()
    run.second_by_second(2)
    run.check_events()
    run.check_accounts()


def _crash_after_publishing(run: Run, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the engine publish what is due after so much time, and lose the checkpoint of it."""
    with monkeypatch.context() as patch:
        for method in ("save", "save_status"):
            patch.setattr(run.engine._state, method, lambda _: None)
        run.after(seconds)
    run.die()
    assert run.checkpoint().position < len(run.events())


def test_what_was_published_and_not_saved_is_counted_in_at_the_takeover(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    _crash_after_publishing(run, monkeypatch, 1)
    run.start()
    assert run.status().frequencies[0].last_sequence == 4
    assert run.look() == []
    assert run.after(1) == [(SECOND, 5)]
    run.check_events()


def test_what_a_dead_engine_missed_and_had_no_time_to_log_is_counted_and_logged_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Run(SECOND, MINUTE, coalesce="latest") as run:
        run.start()
        _crash_after_publishing(run, monkeypatch, 130)
        run.start()
        [(level, text)] = run.lines
        assert level == logging.WARNING
        assert text.endswith(
            "the producer before this one died having missed 129 second boundaries, 1 minute boundaries"
        )
        assert (run.missed(SECOND), run.missed(MINUTE)) == (129, 1)
        run.restart()
        assert run.lines == []
        run.check_accounts()


def _reboot(run: Run, absent_s: int) -> None:
    """Let time pass that the clocks would confirm if the boot were the same."""
    realtime_ns, boottime_ns = (now_ns + absent_s * NS for now_ns in run.clock.both_ns())
    run.clock = FakeClock(realtime_ns, boottime_ns=boottime_ns, boot_id=b"another boot id.")


def test_an_engine_that_dies_before_its_first_step_does_not_pass_readings_of_another_boot_off_as_its_own(
    run: Run,
) -> None:
    run.die()
    _reboot(run, 2 * HOUR_S)
    for _ in range(2):
        run.start()
        run.die()
    run.start()
    assert run.look() == []
    assert run.status().condition == "quarantined"


def test_an_engine_that_dies_within_its_first_step_does_not_either(monkeypatch: pytest.MonkeyPatch) -> None:
    with Run(capacity=1, coalesce="all") as run:
        run.start().step()
        before = run.checkpoint()
        run.die()
        _reboot(run, 5)
        engine = run.start()
        monkeypatch.setattr(engine._state, "save", _at_call(3, _raise, engine._state.save))
        with pytest.raises(KeyboardInterrupt):
            engine.step()
        after = run.checkpoint()
        assert after.position == before.position + 2
        assert after.boot_id == before.boot_id
        assert after.scheduler.boottime_ns == before.scheduler.boottime_ns


def test_a_torn_checkpoint_is_passed_over_for_the_older_one(run: Run) -> None:
    run.die()
    newest = max((0, 1), key=lambda turn: int(run.engine._state._checkpoints[turn][8:16].view("<u8")[0]))
    run.engine._state._checkpoints[newest][60] ^= 1
    assert run.checkpoint().position == len(run.events()) - 1
    run.start()
    assert run.checkpoint().position == len(run.events())
    run.second_by_second(3)
    run.check_events()
    run.check_accounts()


def test_a_stream_without_any_whole_checkpoint_is_refused(run: Run) -> None:
    run.die()
    for checkpoint in run.engine._state._checkpoints:
        checkpoint[60] ^= 1
    before = run.segment()
    with pytest.raises(CorruptSegmentError, match="has events but no whole checkpoint: remove it"):
        run.start()
    assert run.segment() == before


@pytest.mark.parametrize("head", [2, 68])
def test_a_head_that_does_not_go_with_the_checkpoint_is_refused(run: Run, head: int) -> None:
    run.die()
    move_head(run.name, head)
    with pytest.raises(CorruptSegmentError, match=f"has head {head} but its checkpoint is of 3: remove it"):
        run.start()


@pytest.mark.parametrize(
    ("frequency", "damage"), [(99, "unknown frequency 99"), (3, "no hour in this state")], ids=["unknown", "foreign"]
)
def test_a_damaged_record_behind_the_checkpoint_is_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch, frequency: int, damage: str
) -> None:
    slots = run.engine.ring.records
    _crash_after_publishing(run, monkeypatch, 1)
    slots["frequency"][3] = frequency
    with pytest.raises(CorruptSegmentError, match=rf"is damaged: {damage}: .*; remove it"):
        run.start()


def test_an_engine_does_not_count_in_what_lies_before_its_checkpoint(run: Run) -> None:
    slots = run.engine.ring.records
    run.stop()
    slots["sequence"][:] = 99
    run.start()
    assert run.status().frequencies[0].last_sequence == 3

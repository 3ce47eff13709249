from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from chronostream.clock import FakeClock, Stop, Wake
from chronostream.errors import ChronoStreamError, InvalidTypeError, InvalidValueError

_SECOND_NS = 1_000_000_000
_TIMEOUT_S = 30
_NO_STOP = threading.Event()

Run = Callable[[Callable[[], Wake]], "Future[Wake]"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1000 * _SECOND_NS, boottime_ns=7)


@pytest.fixture
def run() -> Iterator[Run]:
    """Run a wait in a thread of its own."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit


def test_it_reads_what_it_was_told(clock: FakeClock) -> None:
    assert (clock.realtime_ns(), clock.boottime_ns()) == (1000 * _SECOND_NS, 7)
    assert clock.both_ns() == (1000 * _SECOND_NS, 7)


@pytest.mark.parametrize("move", [FakeClock.advance, FakeClock.suspend])
def test_advance_and_suspend_move_both_clocks(clock: FakeClock, move: Callable[[FakeClock, int], None]) -> None:
    move(clock, 5)
    assert clock.both_ns() == (1000 * _SECOND_NS + 5, 12)


@pytest.mark.parametrize("ns", [5, -5])
def test_step_moves_the_wall_clock_only(clock: FakeClock, ns: int) -> None:
    clock.step(ns)
    assert clock.both_ns() == (1000 * _SECOND_NS + ns, 7)


@pytest.mark.parametrize("move", [FakeClock.advance, FakeClock.suspend])
def test_going_back_is_a_step_and_nothing_else(clock: FakeClock, move: Callable[[FakeClock, int], None]) -> None:
    with pytest.raises(InvalidValueError, match=r"by -1 ns: expected 0 or more; use step\(\)"):
        move(clock, -1)


@pytest.mark.parametrize("move", [FakeClock.advance, FakeClock.suspend, FakeClock.step, FakeClock.run_until])
def test_times_are_integers(clock: FakeClock, move: Callable[[FakeClock, int], None]) -> None:
    with pytest.raises(InvalidTypeError, match="ns is float, expected an integer"):
        move(clock, 1e9)  # type: ignore[arg-type]  # on purpose


def test_the_boot_id_is_the_one_given() -> None:
    assert FakeClock(0, boot_id=b"0123456789abcdef").boot_id() == b"0123456789abcdef"
    assert len(FakeClock(0).boot_id()) == 16


def test_what_is_no_boot_id_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="boot_id has 3 bytes, expected 16"):
        FakeClock(0, boot_id=b"abc")
    with pytest.raises(InvalidTypeError, match="boot_id is str, expected 16 bytes"):
        FakeClock(0, boot_id="0123456789abcdef")  # type: ignore[arg-type]  # on purpose


def test_advance_wakes_whom_it_reaches_and_nobody_else(clock: FakeClock, run: Run) -> None:
    now_ns = clock.realtime_ns()
    with Stop() as stop:
        near = run(lambda: clock.wait(now_ns + 10, stop))
        far = run(lambda: clock.wait(now_ns + 11, stop))
        clock.wait_for_waiters(2)
        clock.advance(10)
        assert near.result(_TIMEOUT_S) is Wake.REACHED
        assert clock.next_deadline_ns == now_ns + 11
        stop.set()
        assert far.result(_TIMEOUT_S) is Wake.INTERRUPTED


@pytest.mark.parametrize(
    ("move", "ns"), [(FakeClock.step, 20), (FakeClock.step, -20), (FakeClock.step, 0), (FakeClock.suspend, 1)]
)
def test_a_step_and_a_resume_wake_everybody_with_stepped(
    clock: FakeClock, run: Run, move: Callable[[FakeClock, int], None], ns: int
) -> None:
    wake = run(lambda: clock.wait(clock.realtime_ns() + 10, _NO_STOP))
    clock.wait_for_waiters()
    move(clock, ns)
    assert wake.result(_TIMEOUT_S) is Wake.STEPPED


def test_a_wait_that_was_interrupted_no_longer_counts_as_asleep(clock: FakeClock, run: Run) -> None:
    stop = threading.Event()
    wake = run(lambda: clock.wait(clock.realtime_ns() + 10, stop))
    clock.wait_for_waiters()
    stop.set()
    assert wake.result(_TIMEOUT_S) is Wake.INTERRUPTED
    assert clock.next_deadline_ns is None


def test_the_hook_is_called_once_before_the_sleep(clock: FakeClock, run: Run) -> None:
    called_at_ns: list[int] = []
    deadline_ns = clock.realtime_ns() + 10
    wake = run(
        lambda: clock.wait(deadline_ns, _NO_STOP, while_spinning=lambda: called_at_ns.append(clock.realtime_ns()))
    )
    assert clock.advance_to_next() == deadline_ns
    assert wake.result(_TIMEOUT_S) is Wake.REACHED
    assert called_at_ns == [deadline_ns - 10]


def test_the_hook_is_not_called_when_there_is_nothing_to_wait_for(clock: FakeClock) -> None:
    assert clock.wait(0, _NO_STOP, while_spinning=pytest.fail) is Wake.REACHED


def test_nobody_asleep_means_no_next_deadline(clock: FakeClock) -> None:
    assert clock.next_deadline_ns is None


def test_whoever_was_woken_does_not_count_as_asleep(clock: FakeClock, run: Run) -> None:
    wake = run(lambda: clock.wait(clock.realtime_ns() + 10, _NO_STOP))
    clock.wait_for_waiters()
    clock.advance(10)
    with pytest.raises(ChronoStreamError, match=r"0 of 1 waiters asleep after 0\.0 s"):
        clock.wait_for_waiters(1, timeout_s=0.0)
    wake.result(_TIMEOUT_S)


def test_waiting_for_no_waiters_or_for_no_time_is_refused(clock: FakeClock) -> None:
    with pytest.raises(InvalidValueError, match=r"waiters is 0, expected at least 1: use advance\(\)"):
        clock.run_until(clock.realtime_ns() + 1, waiters=0)
    with pytest.raises(InvalidValueError, match="timeout_s is nan, expected 0 or more"):
        clock.wait_for_waiters(timeout_s=float("nan"))
    with pytest.raises(InvalidTypeError, match="waiters is str, expected an integer"):
        clock.wait_for_waiters("1")  # type: ignore[arg-type]  # on purpose


def _every_second(clock: FakeClock, stop: Stop, seen_ns: list[int]) -> Wake:
    """Sleep from second to second until stopped, noting the time at each wake."""
    while (wake := clock.wait(clock.realtime_ns() // _SECOND_NS * _SECOND_NS + _SECOND_NS, stop)) is Wake.REACHED:
        seen_ns.append(clock.realtime_ns())
    return wake


def test_run_until_lets_a_sleeper_see_each_of_its_deadlines(clock: FakeClock, run: Run) -> None:
    seen_ns: list[int] = []
    with Stop() as stop:
        wake = run(lambda: _every_second(clock, stop, seen_ns))
        clock.run_until(1003 * _SECOND_NS + 500)
        assert seen_ns == [1001 * _SECOND_NS, 1002 * _SECOND_NS, 1003 * _SECOND_NS]
        assert clock.realtime_ns() == 1003 * _SECOND_NS + 500
        stop.set()
        assert wake.result(_TIMEOUT_S) is Wake.INTERRUPTED


def test_run_until_includes_a_deadline_at_its_end(clock: FakeClock, run: Run) -> None:
    seen_ns: list[int] = []
    with Stop() as stop:
        run(lambda: _every_second(clock, stop, seen_ns))
        clock.run_until(1001 * _SECOND_NS)
        assert seen_ns == [1001 * _SECOND_NS]
        stop.set()


def test_advance_is_one_jump_and_a_late_wake(clock: FakeClock, run: Run) -> None:
    seen_ns: list[int] = []
    with Stop() as stop:
        run(lambda: _every_second(clock, stop, seen_ns))
        clock.wait_for_waiters()
        clock.advance(10 * _SECOND_NS)
        clock.wait_for_waiters()
        assert seen_ns == [1010 * _SECOND_NS]
        stop.set()


def test_run_until_waits_for_every_waiter_before_each_move(clock: FakeClock, run: Run) -> None:
    first_ns: list[int] = []
    second_ns: list[int] = []
    with Stop() as stop:
        run(lambda: _every_second(clock, stop, first_ns))
        run(lambda: _every_second(clock, stop, second_ns))
        clock.run_until(1003 * _SECOND_NS, waiters=2)
        assert first_ns == second_ns == [1001 * _SECOND_NS, 1002 * _SECOND_NS, 1003 * _SECOND_NS]
        stop.set()


def test_run_until_a_time_that_has_passed_is_refused(clock: FakeClock) -> None:
    with pytest.raises(InvalidValueError, match="run_until by -1 ns: expected 0 or more"):
        clock.run_until(clock.realtime_ns() - 1)


def test_run_until_says_so_when_nobody_sleeps(clock: FakeClock) -> None:
    with pytest.raises(ChronoStreamError, match=r"0 of 1 waiters asleep after 0\.01 s: check whether"):
        clock.run_until(clock.realtime_ns() + 1, timeout_s=0.01)

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, get_args

import pytest

from chronostream.clock import Stop, SystemClock, Wake, system, timerfd
from chronostream.clock.system import Strategy
from chronostream.errors import ClosedError, InvalidValueError
from tests.ring.harness import needs_root

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEVER_NS = (1 << 63) - 1
_SECOND_NS = 1_000_000_000
_JOIN_S = 30
_NO_STOP = threading.Event()


@pytest.fixture(params=["timerfd", "sleep"])
def clock(request: pytest.FixtureRequest) -> Iterator[SystemClock]:
    with SystemClock(request.param) as clock:
        yield clock


@pytest.fixture
def sleeping_clock() -> Iterator[SystemClock]:
    with SystemClock("sleep") as clock:
        yield clock


@pytest.fixture
def timer_clock() -> Iterator[SystemClock]:
    with SystemClock("timerfd") as clock:
        yield clock


class _SetClock(SimpleNamespace):
    """Stands in for the `time` module: each turn of the wait reads the next of these wall-clock times."""

    def __init__(self, *readings_ns: int) -> None:
        super().__init__(monotonic_ns=lambda: 0, sleep=lambda _: None)
        self._readings = list(readings_ns)

    def time_ns(self) -> int:
        return self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]


def test_realtime_is_the_wall_clock(clock: SystemClock) -> None:
    before_ns = time.time_ns()
    assert before_ns <= clock.realtime_ns() <= time.time_ns()


def test_boottime_is_the_clock_that_goes_on_during_sleep(clock: SystemClock) -> None:
    before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert before_ns <= clock.boottime_ns() <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def test_both_clocks_are_read_at_one_instant(clock: SystemClock, monkeypatch: pytest.MonkeyPatch) -> None:
    hour_ns = 3600 * _SECOND_NS
    # An hour passes between the first two readings of boottime, as when the process is stopped; then all is quiet.
    boottimes_ns = iter([0, hour_ns, hour_ns + 10, hour_ns + 20])
    monkeypatch.setattr(clock, "boottime_ns", lambda: next(boottimes_ns))
    realtimes_ns = iter([1, 2])
    monkeypatch.setattr(clock, "realtime_ns", lambda: next(realtimes_ns))
    assert clock.both_ns() == (2, hour_ns + 20)


def test_both_clocks_are_read_even_where_no_two_readings_are_close(
    clock: SystemClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    boottimes_ns = iter(range(0, 10**12, _SECOND_NS))
    monkeypatch.setattr(clock, "boottime_ns", lambda: next(boottimes_ns))
    monkeypatch.setattr(clock, "realtime_ns", lambda: 7)
    assert clock.both_ns()[0] == 7


@pytest.mark.skipif(not Path("/proc/sys/kernel/random/boot_id").exists(), reason="the kernel names no boot")
def test_the_boot_id_is_the_kernels(clock: SystemClock) -> None:
    named = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert str(uuid.UUID(bytes=clock.boot_id())) == named


def test_the_boot_id_is_zero_where_the_system_has_none(
    clock: SystemClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(system, "_BOOT_ID", tmp_path / "missing")
    assert clock.boot_id() == bytes(16)


def test_the_boot_id_is_the_kernels_where_the_system_has_no_time_namespaces(
    clock: SystemClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = clock.boot_id()
    monkeypatch.setattr(system, "_TIME_OFFSETS", tmp_path / "missing")
    assert clock.boot_id() == plain


def test_the_boot_id_is_another_one_where_the_boot_clock_is_shifted(
    clock: SystemClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offsets = tmp_path / "timens_offsets"
    monkeypatch.setattr(system, "_TIME_OFFSETS", offsets)
    ids = []
    for shift in ("0         0", "1000000         0", "-5 0", "0 1", "1000000         0"):
        offsets.write_text(f"monotonic           0         0\nboottime      {shift}\n")
        ids.append(clock.boot_id())
    assert [len(boot_id) for boot_id in ids] == [16] * 5
    assert ids[4] == ids[1]
    assert len(set(ids)) == 4
    monkeypatch.undo()
    assert clock.boot_id() == ids[0]


_BOOT_OF_A_PROCESS = "from chronostream import SystemClock; print(SystemClock().boot_id().hex())"


@needs_root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="there is no unshare here")
def test_a_process_in_another_time_namespace_has_another_boot_only_if_its_clock_is_shifted(clock: SystemClock) -> None:
    ids = []
    for shift in ([], ["--boottime", "1000000"], ["--boottime", "2000000"], ["--boottime", "1000000"]):
        command = ["unshare", "-T", *shift, sys.executable, "-c", _BOOT_OF_A_PROCESS]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.stderr.startswith("unshare:"):
            pytest.skip(f"no time namespace of its own here: {done.stderr}")
        ids.append(done.stdout.strip())
    assert ids[0] == clock.boot_id().hex()
    assert ids[3] == ids[1]
    assert len(set(ids)) == 3


def test_the_strategy_can_be_chosen(clock: SystemClock) -> None:
    assert clock.strategy in get_args(Strategy)
    with SystemClock(clock.strategy) as other:
        assert other.strategy == clock.strategy


def test_the_timer_is_the_strategy_where_there_is_one() -> None:
    with SystemClock() as clock:
        assert clock.strategy == "timerfd"


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="strategy 'hope': expected one of timerfd, sleep, or None"):
        SystemClock("hope")  # type: ignore[arg-type]  # on purpose


def _no_timer() -> None:
    raise OSError(errno.ENOSYS, "no timer")


def test_without_a_timer_the_clock_sleeps_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "WallTimer", _no_timer)
    with SystemClock() as clock:
        assert clock.strategy == "sleep"


def test_a_timer_that_cannot_be_cancelled_is_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "unknown flag")

    monkeypatch.setattr(timerfd, "_arm", refuse)
    with SystemClock() as clock:
        assert clock.strategy == "sleep"


def test_asking_for_a_timer_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "WallTimer", _no_timer)
    with pytest.raises(InvalidValueError, match=r'this system has no timerfd .*: use strategy="sleep"'):
        SystemClock("timerfd")


@pytest.mark.parametrize("ahead_ns", [1, 10_000, 1_000_000, 3_700_000])
def test_a_wait_never_ends_before_its_deadline(clock: SystemClock, ahead_ns: int) -> None:
    deadline_ns = time.time_ns() + ahead_ns
    assert clock.wait(deadline_ns, _NO_STOP) is Wake.REACHED
    assert time.time_ns() >= deadline_ns


def test_a_stop_that_another_process_set_ends_a_wait_too(clock: SystemClock) -> None:
    with Stop() as stop:
        os.write(stop._write_fd, b"\0")
        assert clock.wait(_NEVER_NS, stop) is Wake.INTERRUPTED


def test_a_signal_ends_a_wait_through_its_handler(clock: SystemClock) -> None:
    with Stop() as stop:
        before = signal.signal(signal.SIGUSR1, lambda *_: stop.set())
        try:
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            assert clock.wait(_NEVER_NS, stop) is Wake.INTERRUPTED
        finally:
            signal.signal(signal.SIGUSR1, before)


def test_a_signal_that_nobody_heeds_does_not_end_a_wait(clock: SystemClock) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    sender = threading.Timer(0.005, os.kill, (os.getpid(), signal.SIGUSR1))
    try:
        deadline_ns = time.time_ns() + 20_000_000
        sender.start()
        assert clock.wait(deadline_ns, _NO_STOP) is Wake.REACHED
        assert time.time_ns() >= deadline_ns
    finally:
        # Without a handler the signal would end the test run.
        sender.join(_JOIN_S)
        signal.signal(signal.SIGUSR1, before)


def test_a_second_wait_at_the_same_time_ends_at_its_own_deadline(clock: SystemClock) -> None:
    with Stop() as stop, ThreadPoolExecutor() as pool:
        first = pool.submit(clock.wait, _NEVER_NS, stop)
        deadline_ns = time.time_ns() + 2_000_000
        assert clock.wait(deadline_ns, _NO_STOP) is Wake.REACHED
        assert time.time_ns() >= deadline_ns
        assert not first.done()
        stop.set()
        assert first.result(_JOIN_S) is Wake.INTERRUPTED


def test_a_timer_is_free_again_after_each_wait(timer_clock: SystemClock) -> None:
    assert timer_clock.wait(time.time_ns() + 2_000_000, _NO_STOP) is Wake.REACHED
    assert not timer_clock._timer_lock.locked()


def test_a_busy_timer_is_left_alone(timer_clock: SystemClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timer_clock._timer, "arm", pytest.fail)
    with timer_clock._timer_lock:
        assert timer_clock.wait(time.time_ns() + 2_000_000, _NO_STOP) is Wake.REACHED


def test_a_forked_child_leaves_its_parents_timer_alone(
    timer_clock: SystemClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timer_clock._timer, "arm", pytest.fail)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert timer_clock.wait(time.time_ns() + 2_000_000, _NO_STOP) is Wake.REACHED


def _cancelled(*_: object) -> None:
    raise OSError(errno.ECANCELED, "the clock was set")


@pytest.mark.parametrize("call", ["arm", "clear"])
def test_a_timer_cancelled_by_a_set_clock_is_a_step(
    timer_clock: SystemClock, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(timer_clock._timer, call, _cancelled)
    assert timer_clock.wait(time.time_ns() + 2_000_000, _NO_STOP) is Wake.STEPPED


def test_any_other_failure_of_the_timer_is_not_taken_for_a_step(
    timer_clock: SystemClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    timer_clock.close()
    monkeypatch.setattr(timer_clock, "_closed", False)
    with pytest.raises(OSError, match="Bad file descriptor"):
        timer_clock.wait(_NEVER_NS, _NO_STOP)


@pytest.mark.parametrize("jump_ns", [_SECOND_NS, -_SECOND_NS])
def test_sleeping_in_slices_notices_that_the_clock_was_set(
    sleeping_clock: SystemClock, monkeypatch: pytest.MonkeyPatch, jump_ns: int
) -> None:
    # Read by wait, at the start of the sleep, before the slice, and after it.
    monkeypatch.setattr(system, "time", _SetClock(0, 0, 0, jump_ns))
    assert sleeping_clock.wait(10 * _SECOND_NS, _NO_STOP) is Wake.STEPPED


def test_sleeping_in_slices_takes_no_slew_for_a_step(
    sleeping_clock: SystemClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    slewed_ns = 25_000_000  # a tenth of a slice
    monkeypatch.setattr(system, "time", _SetClock(0, 0, 0, slewed_ns, 10 * _SECOND_NS))
    assert sleeping_clock.wait(10 * _SECOND_NS, _NO_STOP) is Wake.REACHED


def test_a_clock_set_back_while_spinning_is_a_step(clock: SystemClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "time", _SetClock(_SECOND_NS - 1, _SECOND_NS - 1, -3600 * _SECOND_NS))
    assert clock.wait(_SECOND_NS, _NO_STOP) is Wake.STEPPED


def test_a_flag_set_while_spinning_ends_the_wait(clock: SystemClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "time", _SetClock(_SECOND_NS - 1))
    stop = threading.Event()
    assert clock.wait(_SECOND_NS, stop, while_spinning=stop.set) is Wake.INTERRUPTED


def test_the_hook_is_called_on_every_turn_of_the_spin(clock: SystemClock, monkeypatch: pytest.MonkeyPatch) -> None:
    readings_ns = [_SECOND_NS - 5, *range(_SECOND_NS - 3, _SECOND_NS + 1)]
    monkeypatch.setattr(system, "time", _SetClock(*readings_ns))
    turns: list[None] = []
    assert clock.wait(_SECOND_NS, _NO_STOP, while_spinning=lambda: turns.append(None)) is Wake.REACHED
    assert len(turns) == 4  # the last one at the deadline


def _wake_late(clock: SystemClock, monkeypatch: pytest.MonkeyPatch, late_ns: int, times: int) -> None:
    """Let the clock sleep `times` times, waking `late_ns` after the time that the sleep was to end at."""
    for _ in range(times):
        until_ns = _SECOND_NS - clock.lead_ns
        monkeypatch.setattr(system, "time", _SetClock(0, until_ns + late_ns, _SECOND_NS))
        monkeypatch.setattr(clock, "_sleep", lambda *_: None)
        assert clock.wait(_SECOND_NS, _NO_STOP) is Wake.REACHED


def test_the_lead_grows_while_wake_ups_come_too_late_but_only_so_far(
    clock: SystemClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_ns = clock.lead_ns
    _wake_late(clock, monkeypatch, 10**9, times=1)
    assert clock.lead_ns > first_ns
    _wake_late(clock, monkeypatch, 10**9, times=100)
    assert clock.lead_ns == 1_000_000


@pytest.mark.parametrize("late_ns", [0, 60_000])
def test_the_lead_settles_a_tenth_of_a_millisecond_above_the_lateness_seen(
    clock: SystemClock, monkeypatch: pytest.MonkeyPatch, late_ns: int
) -> None:
    _wake_late(clock, monkeypatch, late_ns, times=1000)
    assert late_ns + 95_000 <= clock.lead_ns <= late_ns + 145_000


def test_a_closed_clock_refuses_to_wait_but_still_tells_the_time(clock: SystemClock) -> None:
    clock.close()
    with pytest.raises(ClosedError, match="this SystemClock was closed"):
        clock.wait(0, _NO_STOP)
    assert clock.realtime_ns() <= time.time_ns()


def test_waiting_on_a_closed_stop_is_refused(clock: SystemClock) -> None:
    stop = Stop()
    stop.close()
    with pytest.raises(ClosedError, match="this Stop was closed"):
        clock.wait(_NEVER_NS, stop)


def test_closing_the_clock_closes_its_timer_once(timer_clock: SystemClock) -> None:
    assert timer_clock._timer is not None
    descriptor = timer_clock._timer.fileno()
    timer_clock.close()
    reused = os.open(os.devnull, os.O_RDONLY)
    assert reused == descriptor
    timer_clock.close()
    os.close(reused)

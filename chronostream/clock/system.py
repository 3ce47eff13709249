"""The machine's clocks, and an exact wait for the wall clock (docs/time.md).

A wait sleeps until shortly before the deadline and then spins, because the system takes tens of microseconds to wake a
process up. It sleeps on a timer that reports when the clock is set. Without such a timer it sleeps in short slices and
compares the clocks after each.
"""

from __future__ import annotations

import errno
import os
import select
import threading
import time
import uuid
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Literal, Self, get_args

from chronostream.clock.credibility import ClockTrust, doubt
from chronostream.clock.protocol import StopFlag, Wake, checked_deadline
from chronostream.clock.stop import Stop
from chronostream.clock.timerfd import NEVER_NS, WallTimer
from chronostream.errors import ClosedError, InvalidValueError

__all__ = ["Strategy", "SystemClock"]

Strategy = Literal["timerfd", "sleep"]
"""How to sleep: on a Linux timer, or in slices, which always works and wakes four times a second."""

_MS_NS = 1_000_000
# The longest sleep without a check. A plain flag has no descriptor; and a signal that arrives just before the system
# call is handled only when the call returns.
_SLICE_MS, _LONG_SLICE_MS = 250, 1000
# If the clocks move apart by more than this during a slice, the wall clock was set. Slewing by a tenth, which is the
# most, moves them by half of it. A smaller step does no harm: the wall clock is read again after each slice.
_STEP_NS = 50 * _MS_NS

_FIRST_LEAD_NS, _MAX_LEAD_NS = 300_000, 1_000_000
# The first iterations of a spin take this long, with cold caches and branch predictors.
_WARMING_UP_NS = 100_000
# Each wait multiplies the lead by one of them. In equilibrium, about one wake-up in forty comes too late for the lead.
_LEAD_GROWTH, _LEAD_DECAY = 1.25, 0.995

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Each line is a clock, and the seconds and nanoseconds by which it is shifted in this process's time namespace.
_TIME_OFFSETS = Path("/proc/self/timens_offsets")

# Two readings within this time count as one instant; after so many attempts, the last pair is taken.
_ONE_INSTANT_NS = 100_000
_ATTEMPTS = 5


class SystemClock:
    """The clocks of this machine.

    Usable from any thread. It owns one timer: a concurrent second wait, or one in a forked child, sleeps in slices
    instead. Close it after use, or use it as a context manager; garbage collection closes it too.

    Without a `strategy` it takes ``"timerfd"`` where that works, and ``"sleep"`` elsewhere.
    """

    def __init__(self, strategy: Strategy | None = None) -> None:
        if strategy is not None and strategy not in get_args(Strategy):
            raise InvalidValueError(f"strategy {strategy!r}: expected one of {', '.join(get_args(Strategy))}, or None")
        self._timer: WallTimer | None = None
        if strategy != "sleep":
            try:
                self._timer = WallTimer()
            except OSError as error:
                if strategy is not None:
                    raise InvalidValueError(f'this system has no timerfd ({error}): use strategy="sleep"') from error
        self._timer_lock = threading.Lock()
        self._owner_pid = os.getpid()
        self._lead_ns = _FIRST_LEAD_NS
        self._closed = False

    @property
    def strategy(self) -> Strategy:
        """How this clock sleeps: ``"timerfd"`` or ``"sleep"``."""
        return "sleep" if self._timer is None else "timerfd"

    @property
    def lead_ns(self) -> int:
        """How long before a deadline the sleep ends. It follows the lateness of wake-ups, from 0.1 to 1 ms."""
        return self._lead_ns

    def realtime_ns(self) -> int:
        """Return CLOCK_REALTIME in Unix nanoseconds."""
        return time.time_ns()

    def boottime_ns(self) -> int:
        """Return CLOCK_BOOTTIME."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def both_ns(self) -> tuple[int, int]:
        """Return `realtime_ns` and `boottime_ns` of one instant, to within 0.1 ms unless the machine is overloaded."""
        for _ in range(_ATTEMPTS):
            before_ns = self.boottime_ns()
            realtime_ns = self.realtime_ns()
            boottime_ns = self.boottime_ns()
            if boottime_ns - before_ns <= _ONE_INSTANT_NS:
                break
        return realtime_ns, boottime_ns

    def boot_id(self) -> bytes:
        """Return 16 bytes that stay the same as long as readings of `boottime_ns` compare.

        They are the kernel's random id of this boot, and the offset of this time namespace, if it has one. They
        are all zero where the system has no such id: then only a `boottime_ns` that went back shows another boot.
        """
        try:
            boot_id = uuid.UUID(_BOOT_ID.read_text("ascii").strip()).bytes
        except OSError:
            return bytes(16)
        try:
            # The offsets, not the namespace's number: the kernel gives that to another one when this one is gone.
            offsets = [line.split()[1:] for line in _TIME_OFFSETS.read_text("ascii").splitlines()]
        except OSError:
            return boot_id  # Before Linux 5.6, there are no time namespaces.
        if not any(int(offset) for clock in offsets for offset in clock):
            return boot_id
        return blake2b(repr(offsets).encode(), key=boot_id, digest_size=len(boot_id)).digest()

    def doubt(self, trust: ClockTrust, realtime_ns: int) -> str:
        """Return why not to believe this reading, by its date and by what the kernel says; empty: believe it."""
        return doubt(trust, realtime_ns)

    def wait(self, deadline_ns: int, stop: StopFlag, *, while_spinning: Callable[[], object] | None = None) -> Wake:
        """Wait as `Clock.wait` does.

        A `Stop` ends the wait at once, any other flag within 0.25 s. With the timer, setting the clock between two
        waits ends the second one.

        Raises:
            ClosedError: this clock, or the `Stop`, was closed.
        """
        if self._closed:
            raise ClosedError("this SystemClock was closed: make a new one to wait")
        deadline_ns = checked_deadline(deadline_ns, stop)
        if stop.is_set():
            return Wake.INTERRUPTED
        until_ns = deadline_ns - self._lead_ns
        if time.time_ns() < until_ns:
            wake = self._sleep(until_ns, stop)
            late_ns = time.time_ns() - until_ns
            if wake is not None:
                return wake
            factor = _LEAD_GROWTH if late_ns + _WARMING_UP_NS > self._lead_ns else _LEAD_DECAY
            self._lead_ns = min(int(self._lead_ns * factor), _MAX_LEAD_NS)
        return _spin(deadline_ns, stop, while_spinning)

    def close(self) -> None:
        """Close the timer while nothing waits. A second call does nothing."""
        self._closed = True
        if self._timer is not None:
            self._timer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _sleep(self, until_ns: int, stop: StopFlag) -> Wake | None:
        """Sleep until the wall clock reads `until_ns`; return why the sleep ended early, or None."""
        in_child = os.getpid() != self._owner_pid
        if self._timer is None or in_child or not self._timer_lock.acquire(blocking=False):
            return _sleep_in_slices(until_ns, stop)
        try:
            return _sleep_on_timer(self._timer, until_ns, stop)
        finally:
            self._timer_lock.release()


def _sleep_on_timer(timer: WallTimer, until_ns: int, stop: StopFlag) -> Wake | None:
    poller = _poller(stop)
    poller.register(timer.fileno(), select.POLLIN)
    slice_ms = _LONG_SLICE_MS if isinstance(stop, Stop) else _SLICE_MS
    try:
        timer.arm(min(until_ns, NEVER_NS))
        while True:
            ready = [fd for fd, _ in poller.poll(slice_ms)]
            if timer.fileno() in ready:
                timer.clear()
                return None
            if ready or stop.is_set():
                return Wake.INTERRUPTED
    except OSError as error:
        if error.errno != errno.ECANCELED:
            raise
        return Wake.STEPPED


def _sleep_in_slices(until_ns: int, stop: StopFlag) -> Wake | None:
    poller = _poller(stop)
    offset_ns = time.time_ns() - time.monotonic_ns()
    while True:
        remaining_ns = until_ns - time.time_ns()
        if remaining_ns <= 0:
            return None
        if remaining_ns < _MS_NS:
            # poll() takes whole milliseconds only.
            time.sleep(remaining_ns / 1e9)
        elif poller.poll(min(remaining_ns // _MS_NS, _SLICE_MS)):
            return Wake.INTERRUPTED
        if stop.is_set():
            return Wake.INTERRUPTED
        before_ns, offset_ns = offset_ns, time.time_ns() - time.monotonic_ns()
        if abs(offset_ns - before_ns) > _STEP_NS:
            return Wake.STEPPED


def _spin(deadline_ns: int, stop: StopFlag, while_spinning: Callable[[], object] | None) -> Wake:
    # A clock that reads less than this was set back. The wait may now be long; the caller decides.
    earliest_ns = deadline_ns - _MAX_LEAD_NS
    while True:
        now_ns = time.time_ns()
        if while_spinning is not None:
            while_spinning()
        if now_ns >= deadline_ns:
            return Wake.REACHED
        if stop.is_set():
            return Wake.INTERRUPTED
        if now_ns < earliest_ns:
            return Wake.STEPPED


def _poller(stop: StopFlag) -> select.poll:
    poller = select.poll()
    if isinstance(stop, Stop):
        poller.register(stop.fileno(), select.POLLIN)
    return poller

"""A clock that a test or a simulation moves. It stands in for `SystemClock` wherever a `Clock` is taken."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from chronostream._values import checked_int, checked_seconds
from chronostream.clock.credibility import ClockTrust
from chronostream.clock.protocol import StopFlag, Wake, checked_deadline
from chronostream.errors import ChronoStreamError, InvalidTypeError, InvalidValueError

__all__ = ["FakeClock"]

_BOOT_ID = b"fake-boot-number"
# How often a wait checks a stop flag that is set from another thread.
_STOP_CHECK_S = 0.01


@dataclass(eq=False, slots=True)
class _Sleeper:
    deadline_ns: int
    wake: Wake | None = None


class FakeClock:
    """A clock under a test's control, usable from any thread.

    A wait ends only when the test moves the clock to its deadline, calls `step` or `suspend`, or sets the stop flag.
    `advance` jumps: a sleeper whose deadline lies within the jump wakes up late, at the end of the jump, as on a busy
    machine. To wake every sleeper exactly at its deadline, use `advance_to_next` or `run_until`::

        clock = FakeClock(0)
        thread = threading.Thread(target=engine.run, args=(stop,)); thread.start()
        clock.run_until(10_000_000_000)     # ten seconds, each on time
        clock.advance(10_000_000_000)       # ten more in one jump: nine of them missed

    Args:
        start_ns: the first reading of the wall clock, Unix nanoseconds.
        boottime_ns: the first reading of `boottime_ns`.
        boot_id: the 16 bytes of this boot; another value stands for a reboot.
    """

    def __init__(self, start_ns: int, *, boottime_ns: int = 0, boot_id: bytes = _BOOT_ID) -> None:
        if not isinstance(boot_id, bytes):
            raise InvalidTypeError(f"boot_id is {type(boot_id).__name__}, expected {len(_BOOT_ID)} bytes")
        if len(boot_id) != len(_BOOT_ID):
            raise InvalidValueError(f"boot_id has {len(boot_id)} bytes, expected {len(_BOOT_ID)}")
        self._now = checked_int("start_ns", start_ns), checked_int("boottime_ns", boottime_ns)
        self._boot_id = boot_id
        self._changed = threading.Condition()  # Its lock is re-entrant: one public method may call another.
        self._sleepers: list[_Sleeper] = []

    def realtime_ns(self) -> int:
        """Return the wall clock in Unix nanoseconds."""
        return self._now[0]

    def boottime_ns(self) -> int:
        """Return the clock that `step` does not change."""
        return self._now[1]

    def both_ns(self) -> tuple[int, int]:
        """Return `realtime_ns` and `boottime_ns` of one instant."""
        return self._now

    def boot_id(self) -> bytes:
        """Return the boot id given at the start."""
        return self._boot_id

    def doubt(self, trust: ClockTrust, realtime_ns: int) -> str:
        """Return an empty text: a test chooses every reading."""
        del trust, realtime_ns
        return ""

    def wait(self, deadline_ns: int, stop: StopFlag, *, while_spinning: Callable[[], object] | None = None) -> Wake:
        """Wait as `Clock.wait` does. `while_spinning` is called once, before the sleep."""
        deadline_ns = checked_deadline(deadline_ns, stop)
        if while_spinning is not None and self._now[0] < deadline_ns and not stop.is_set():
            while_spinning()
        with self._changed:
            if stop.is_set():
                return Wake.INTERRUPTED
            if self._now[0] >= deadline_ns:
                return Wake.REACHED
            sleeper = _Sleeper(deadline_ns)
            self._sleepers.append(sleeper)
            self._changed.notify_all()
            try:
                while sleeper.wake is None:
                    self._changed.wait(_STOP_CHECK_S)
                    if sleeper.wake is None and stop.is_set():
                        return Wake.INTERRUPTED
                return sleeper.wake
            finally:
                if sleeper in self._sleepers:
                    self._sleepers.remove(sleeper)

    def advance(self, ns: int) -> None:
        """Move both clocks on by `ns` nanoseconds, 0 or more, in one jump, and wake each sleeper that it reaches."""
        ns = _checked_advance("advance", ns)
        with self._changed:
            self._move(ns, ns)
            if self._sleepers:
                self._wake(Wake.REACHED, self._now[0])

    def step(self, ns: int) -> None:
        """Step the wall clock by `ns` nanoseconds, forward or back, and not `boottime_ns`. Waits return ``STEPPED``."""
        with self._changed:
            self._move(checked_int("ns", ns), 0)
            self._wake(Wake.STEPPED)

    def suspend(self, ns: int) -> None:
        """Suspend the machine for `ns` nanoseconds: both clocks move on, and waits return ``STEPPED``."""
        ns = _checked_advance("suspend", ns)
        with self._changed:
            self._move(ns, ns)
            self._wake(Wake.STEPPED)

    @property
    def next_deadline_ns(self) -> int | None:
        """The earliest deadline of all sleepers, Unix nanoseconds; None if there are none."""
        with self._changed:
            return self._earliest_ns() if self._sleepers else None

    def wait_for_waiters(self, waiters: int = 1, timeout_s: float = 10.0) -> None:
        """Return once at least `waiters` threads, 1 or more, sleep in `wait`: moving the clock then reaches them.

        Raises:
            ChronoStreamError: fewer threads slept after `timeout_s` of real time.
        """
        if checked_int("waiters", waiters) < 1:
            raise InvalidValueError(f"waiters is {waiters}, expected at least 1: use advance() when no thread waits")
        end_s = time.monotonic() + checked_seconds("timeout_s", timeout_s)
        with self._changed:
            while len(self._sleepers) < waiters:
                remaining_s = end_s - time.monotonic()
                if remaining_s <= 0:
                    raise ChronoStreamError(
                        f"{len(self._sleepers)} of {waiters} waiters asleep after {timeout_s} s: "
                        "check whether the tested code ended, failed or waits elsewhere"
                    )
                self._changed.wait(remaining_s)

    def advance_to_next(self, waiters: int = 1, timeout_s: float = 10.0) -> int:
        """Call `wait_for_waiters`, move on to the earliest deadline of a sleeper, and return it."""
        with self._changed:
            self.wait_for_waiters(waiters, timeout_s)
            deadline_ns = self._earliest_ns()
            self.advance(deadline_ns - self._now[0])
            return deadline_ns

    def run_until(self, end_ns: int, waiters: int = 1, timeout_s: float = 10.0) -> None:
        """Move on to `end_ns` from deadline to deadline, and return once `waiters` threads sleep there again.

        `end_ns` is in Unix nanoseconds, not before now; deadlines at `end_ns` itself are reached too. Before each move
        it calls `wait_for_waiters`, whose arguments and errors apply.
        """
        with self._changed:
            _checked_advance("run_until", checked_int("end_ns", end_ns) - self._now[0])
            self.wait_for_waiters(waiters, timeout_s)
            while (deadline_ns := self._earliest_ns()) <= end_ns:
                self.advance(deadline_ns - self._now[0])
                self.wait_for_waiters(waiters, timeout_s)
            self.advance(end_ns - self._now[0])

    def _earliest_ns(self) -> int:
        return min(sleeper.deadline_ns for sleeper in self._sleepers)

    def _move(self, realtime_by_ns: int, boottime_by_ns: int) -> None:
        realtime_ns, boottime_ns = self._now
        # One store: a thread that reads without the lock never sees one clock moved and the other not.
        self._now = realtime_ns + realtime_by_ns, boottime_ns + boottime_by_ns

    def _wake(self, wake: Wake, until_ns: float = math.inf) -> None:
        # Each leaves the list now, and so no longer counts as asleep, although its thread may not run yet.
        for sleeper in [each for each in self._sleepers if each.deadline_ns <= until_ns]:
            sleeper.wake = wake
            self._sleepers.remove(sleeper)
        self._changed.notify_all()


def _checked_advance(action: str, ns: int) -> int:
    ns = checked_int("ns", ns)
    if ns < 0:
        raise InvalidValueError(f"{action} by {ns} ns: expected 0 or more; use step() to set the wall clock back")
    return ns

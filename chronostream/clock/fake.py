"""A clock that moves only when told: for tests of anything that waits, and for simulated years.

It is part of the public API: `FakeClock` stands in for `SystemClock` wherever a `Clock` is taken.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from chronostream._values import checked_int, checked_seconds
from chronostream.clock.protocol import StopFlag, Wake, checked_deadline
from chronostream.errors import ChronoStreamError, InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FakeClock"]

_BOOT_ID = b"fake-boot-number"
# A flag that is set from outside tells nobody: how often a wait looks at it.
_LOOK_S = 0.01


class _Sleeper:
    __slots__ = ("deadline_ns", "wake")

    def __init__(self, deadline_ns: int) -> None:
        self.deadline_ns = deadline_ns
        self.wake: Wake | None = None


class FakeClock:
    """A clock under a test's control, usable from any thread.

    A wait ends only when the test says so: by moving the clock to its deadline, by a `step` or `suspend`, or by setting
    the stop flag. `advance` jumps: a sleeper whose deadline lies within the jump wakes up late, at its end, as on a
    machine that was busy meanwhile. To let each sleeper see the time that it asked for, go from deadline to
    deadline, with `advance_to_next` or `run_until`::

        clock = FakeClock(0)
        thread = threading.Thread(target=engine.run, args=(stop,)); thread.start()
        clock.run_until(10_000_000_000)     # ten seconds, each on time
        clock.advance(10_000_000_000)       # ten more in one leap: nine of them missed

    Args:
        start_ns: what the wall clock reads at first, Unix nanoseconds.
        boottime_ns: what `boottime_ns` reads at first.
        boot_id: the 16 bytes of this boot; give another to play a restart after a reboot.

    Raises:
        InvalidTypeError: a time is not an integer, or `boot_id` not bytes.
        InvalidValueError: `boot_id` is not 16 bytes.
    """

    def __init__(self, start_ns: int, *, boottime_ns: int = 0, boot_id: bytes = _BOOT_ID) -> None:
        if not isinstance(boot_id, bytes):
            raise InvalidTypeError(f"boot_id is {type(boot_id).__name__}, expected {len(_BOOT_ID)} bytes")
        if len(boot_id) != len(_BOOT_ID):
            raise InvalidValueError(f"boot_id has {len(boot_id)} bytes, expected {len(_BOOT_ID)}")
        self._now = checked_int("start_ns", start_ns), checked_int("boottime_ns", boottime_ns)
        self._boot_id = boot_id
        self._changed = threading.Condition()
        self._sleepers: list[_Sleeper] = []

    def realtime_ns(self) -> int:
        """Return the wall clock in Unix nanoseconds."""
        return self._now[0]

    def boottime_ns(self) -> int:
        """Return the clock that `step` does not touch."""
        return self._now[1]

    def both_ns(self) -> tuple[int, int]:
        """Return `realtime_ns` and `boottime_ns` of one instant."""
        return self._now

    def boot_id(self) -> bytes:
        """Return the boot id given at the start."""
        return self._boot_id

    def wait(self, deadline_ns: int, stop: StopFlag, *, while_spinning: Callable[[], object] | None = None) -> Wake:
        """Wait until told: see `Clock.wait`. `while_spinning` is called once, before the sleep.

        Raises:
            InvalidTypeError: `deadline_ns` is not an integer, or `stop` has no ``is_set()``.
        """
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
                    self._changed.wait(_LOOK_S)
                    if sleeper.wake is None and stop.is_set():
                        return Wake.INTERRUPTED
                return sleeper.wake
            finally:
                if sleeper in self._sleepers:
                    self._sleepers.remove(sleeper)

    def advance(self, ns: int) -> None:
        """Move both clocks on by `ns` nanoseconds, in one jump, and wake whoever's deadline has come.

        Raises:
            InvalidValueError: `ns` is negative: a wall clock that goes back is a `step`.
            InvalidTypeError: `ns` is not an integer.
        """
        ns = _duration("advance", ns)
        with self._changed:
            self._move(ns, ns)
            self._wake_reached()

    def step(self, ns: int) -> None:
        """Set the wall clock by `ns` nanoseconds, either way; `boottime_ns` stays. Every wait returns ``STEPPED``.

        Raises:
            InvalidTypeError: `ns` is not an integer.
        """
        with self._changed:
            self._move(checked_int("ns", ns), 0)
            self._wake_all()

    def suspend(self, ns: int) -> None:
        """Put the machine to sleep for `ns` nanoseconds: both clocks move on, and every wait returns ``STEPPED``.

        Raises:
            InvalidValueError: `ns` is negative.
            InvalidTypeError: `ns` is not an integer.
        """
        ns = _duration("suspend", ns)
        with self._changed:
            self._move(ns, ns)
            self._wake_all()

    @property
    def next_deadline_ns(self) -> int | None:
        """The earliest deadline that somebody sleeps for, Unix nanoseconds; None while nobody does."""
        with self._changed:
            return min((sleeper.deadline_ns for sleeper in self._sleepers), default=None)

    def wait_for_waiters(self, waiters: int = 1, timeout_s: float = 10.0) -> None:
        """Return once at least `waiters` threads sleep in `wait`, so that moving the clock finds them there.

        Raises:
            InvalidValueError: `waiters` is less than one, or `timeout_s` negative.
            InvalidTypeError: they are no such numbers.
            ChronoStreamError: they did not within `timeout_s` of real time.
        """
        with self._changed:
            self._wait_for_waiters(waiters, timeout_s)

    def advance_to_next(self, waiters: int = 1, timeout_s: float = 10.0) -> int:
        """Wait for `waiters` sleepers, move on to the earliest of their deadlines, and return it.

        Raises:
            InvalidValueError: `waiters` is less than one, or `timeout_s` negative.
            InvalidTypeError: they are no such numbers.
            ChronoStreamError: there were not so many sleepers within `timeout_s` of real time.
        """
        with self._changed:
            self._wait_for_waiters(waiters, timeout_s)
            deadline_ns = min(sleeper.deadline_ns for sleeper in self._sleepers)
            self._move_to(deadline_ns)
            return deadline_ns

    def run_until(self, end_ns: int, waiters: int = 1, timeout_s: float = 10.0) -> None:
        """Move on to `end_ns` from deadline to deadline, and return once `waiters` threads sleep there again.

        Args:
            end_ns: Unix nanoseconds, not before now; deadlines at `end_ns` itself are reached too.
            waiters: how many threads must be asleep before each move, at least one.
            timeout_s: real seconds for each time that they fall asleep.

        Raises:
            InvalidValueError: `end_ns` is before now, `waiters` is less than one, or `timeout_s` negative.
            InvalidTypeError: they are no such numbers.
            ChronoStreamError: there were not so many sleepers within `timeout_s`.
        """
        with self._changed:
            _duration("run_until", checked_int("end_ns", end_ns) - self._now[0])
            self._wait_for_waiters(waiters, timeout_s)
            while (deadline_ns := min(sleeper.deadline_ns for sleeper in self._sleepers)) <= end_ns:
                self._move_to(deadline_ns)
                self._wait_for_waiters(waiters, timeout_s)
            self._move_to(end_ns)

    def _move(self, realtime_by_ns: int, boottime_by_ns: int) -> None:
        realtime_ns, boottime_ns = self._now
        # One store, so that a reader without the lock never sees one clock moved and the other not.
        self._now = realtime_ns + realtime_by_ns, boottime_ns + boottime_by_ns

    def _move_to(self, deadline_ns: int) -> None:
        by_ns = deadline_ns - self._now[0]
        self._move(by_ns, by_ns)
        self._wake_reached()

    def _wake_reached(self) -> None:
        if self._sleepers:
            self._wake([s for s in self._sleepers if s.deadline_ns <= self._now[0]], Wake.REACHED)

    def _wake_all(self) -> None:
        self._wake(list(self._sleepers), Wake.STEPPED)

    def _wake(self, sleepers: list[_Sleeper], wake: Wake) -> None:
        # Off the list at once: whoever was woken no longer counts as asleep, though its thread may not run yet.
        for sleeper in sleepers:
            sleeper.wake = wake
            self._sleepers.remove(sleeper)
        self._changed.notify_all()

    def _wait_for_waiters(self, waiters: int, timeout_s: float) -> None:
        if checked_int("waiters", waiters) < 1:
            raise InvalidValueError(f"waiters is {waiters}, expected at least 1: use advance() when nobody sleeps")
        end_s = time.monotonic() + checked_seconds("timeout_s", timeout_s)
        while len(self._sleepers) < waiters:
            remaining_s = end_s - time.monotonic()
            if remaining_s <= 0:
                raise ChronoStreamError(
                    f"{len(self._sleepers)} of {waiters} waiters asleep after {timeout_s} s: "
                    "look whether what is tested has ended, failed or hangs elsewhere"
                )
            self._changed.wait(remaining_s)


def _duration(action: str, ns: int) -> int:
    ns = checked_int("ns", ns)
    if ns < 0:
        raise InvalidValueError(f"{action} by {ns} ns: time goes on only; use step() to set the wall clock back")
    return ns

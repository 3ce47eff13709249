"""What every clock offers: two readings, and a wait that returns why it ended."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from chronostream._values import checked_int
from chronostream.clock.credibility import ClockTrust
from chronostream.errors import InvalidTypeError

__all__ = ["Clock", "StopFlag", "Wake", "checked_deadline"]


class Wake(Enum):
    """Why a wait ended."""

    REACHED = auto()
    """The wall clock reads the deadline, or later."""
    STEPPED = auto()
    """The clock was set, or the machine resumed from suspend: read the clock again before the next wait."""
    INTERRUPTED = auto()
    """The stop flag is set."""


class StopFlag(Protocol):
    """Any object with ``is_set()``: a `threading.Event`, or a `Stop`, which ends a wait at once."""

    def is_set(self) -> bool:
        """Return whether to stop."""


class Clock(Protocol):
    """A wall clock, a clock that cannot be set, and a wait for a deadline on the wall clock."""

    def realtime_ns(self) -> int:
        """Return the wall clock in Unix nanoseconds. It goes back when it is set back."""

    def boottime_ns(self) -> int:
        """Return the nanoseconds since a fixed instant of this boot, time in suspend included. It never goes back."""

    def both_ns(self) -> tuple[int, int]:
        """Return `realtime_ns` and `boottime_ns` of one instant.

        On a busy machine, two separate calls can be seconds apart, which looks like a clock that was set.
        """

    def boot_id(self) -> bytes:
        """Return the 16 bytes that identify this boot: compare readings of `boottime_ns` only within one boot."""

    def doubt(self, trust: ClockTrust, realtime_ns: int) -> str:
        """Return why not to believe a reading that no earlier one confirms; an empty text believes it."""

    def wait(self, deadline_ns: int, stop: StopFlag, *, while_spinning: Callable[[], object] | None = None) -> Wake:
        """Wait until the wall clock reads `deadline_ns`, the clock is set, or `stop` is set.

        Returns at once if the flag is already set (``INTERRUPTED``), else if the deadline has passed (``REACHED``).

        Args:
            deadline_ns: Unix nanoseconds, however far away.
            stop: ends the wait early.
            while_spinning: called repeatedly shortly before the deadline and once when it is reached, or not at all. It
                keeps caches and branch predictors warm for the work at the deadline.
        """


def checked_deadline(deadline_ns: int, stop: StopFlag) -> int:
    """Return the deadline as a plain integer, after checking the arguments of `Clock.wait`."""
    if not hasattr(stop, "is_set"):
        raise InvalidTypeError(f"stop is {type(stop).__name__}, expected an object with a method is_set()")
    return checked_int("deadline_ns", deadline_ns)

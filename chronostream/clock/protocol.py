"""What every clock offers: two readings, and a wait that tells why it ended."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from chronostream._values import checked_int
from chronostream.errors import InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Clock", "StopFlag", "Wake", "checked_deadline"]


class Wake(Enum):
    """Why a wait ended."""

    REACHED = auto()
    """The wall clock reads the deadline, or later."""
    STEPPED = auto()
    """The clock was set, or the machine resumed: read it again before waiting on."""
    INTERRUPTED = auto()
    """The stop flag is set."""


class StopFlag(Protocol):
    """Anything that can say that it was set: a `threading.Event`, or a `Stop`, which ends a wait at once."""

    def is_set(self) -> bool:
        """Return whether to stop."""


class Clock(Protocol):
    """A wall clock, a clock that nobody can set, and a way to wait for the former."""

    def realtime_ns(self) -> int:
        """Return the wall clock in Unix nanoseconds. It may be set, and so go back."""

    def boottime_ns(self) -> int:
        """Return the nanoseconds since some instant of this boot, time asleep included. It never goes back."""

    def both_ns(self) -> tuple[int, int]:
        """Return `realtime_ns` and `boottime_ns` of one instant.

        Two separate calls can be seconds apart on a busy machine, and then look like a clock that was set.
        """

    def boot_id(self) -> bytes:
        """Return the 16 bytes that name this boot: readings of `boottime_ns` compare only under one boot id."""

    def wait(self, deadline_ns: int, stop: StopFlag, *, while_spinning: Callable[[], object] | None = None) -> Wake:
        """Wait until the wall clock reads `deadline_ns`, the clock is set, or `stop` is.

        A flag that is set already comes first, then a deadline that has passed: neither waits.

        Args:
            deadline_ns: Unix nanoseconds, however far away.
            stop: what ends the wait early.
            while_spinning: called over and over in the last moments before the deadline, and once when it is reached;
                or never. So what is to be done at the deadline has been gone through, and can be done there.
        """


def checked_deadline(deadline_ns: int, stop: StopFlag) -> int:
    """Return the deadline as a plain integer, if this and the flag are what `Clock.wait` takes.

    Raises:
        InvalidTypeError: the deadline is not an integer, or the flag has no ``is_set()``.
    """
    if not hasattr(stop, "is_set"):
        raise InvalidTypeError(f"stop is {type(stop).__name__}, expected what has a method is_set()")
    return checked_int("deadline_ns", deadline_ns)

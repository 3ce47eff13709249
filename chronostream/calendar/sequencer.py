"""The number of each event within its frequency (docs/time.md, "Sequences").

There are two ways. `CountingSequencer` counts on from the stream's checkpoint. `BoundarySequencer` takes the number
from the boundary alone, by `Calendar.sequence`, so every host gets the same. The engine stores `kind` with the stream,
and calls `restore` with the last number at a takeover.
"""

from __future__ import annotations

import threading
from typing import Protocol

import numpy as np
import numpy.typing as npt

from chronostream._renamed import former, renamed
from chronostream._values import checked_int, checked_ns
from chronostream.calendar.calendar import Calendar, check_timestamps
from chronostream.errors import InvalidValueError
from chronostream.event import Frequency

__all__ = ["BoundarySequencer", "CountingSequencer", "Sequencer"]

_MAX_SEQUENCE = (1 << 64) - 1


class Sequencer(Protocol):
    """What the engine needs of a sequencer; several threads may share one."""

    @property
    def kind(self) -> str:
        """Its name in the stream's description. A sequencer of another kind cannot take the stream over."""

    def peek(self, frequency: Frequency, boundary_ns: int) -> int:
        """Return what `assign` would, without using it up, so that a record can be built before its boundary."""

    def assign(self, frequency: Frequency, boundary_ns: int) -> int:
        """Return the number of the event at this boundary, and use it up; `InvalidValueError` after the last uint64."""

    def restore(self, frequency: Frequency, last_sequence: int) -> None:
        """Continue after `last_sequence`, the last number that the stream has published; 0 if there is none."""


class CountingSequencer:
    """Numbers each frequency's events 1, 2, 3, ... in the order they are assigned, whatever their boundaries."""

    kind = "counting"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[Frequency, int] = dict.fromkeys(Frequency, 0)

    def peek(self, frequency: Frequency, boundary_ns: int) -> int:  # noqa: ARG002 - the boundary does not matter here
        """Return the number that the next `assign` for `frequency` will give."""
        return self._next(Frequency.parse(frequency))

    def assign(self, frequency: Frequency, boundary_ns: int) -> int:  # noqa: ARG002 - as for peek
        """Return the next number for `frequency`, and use it up."""
        frequency = Frequency.parse(frequency)
        with self._lock:
            sequence = self._last[frequency] = self._next(frequency)
            return sequence

    def restore(self, frequency: Frequency, last_sequence: int) -> None:
        """Make ``last_sequence + 1`` the next number for `frequency`; it must not have been given already."""
        frequency = Frequency.parse(frequency)
        last_sequence = checked_int("last_sequence", last_sequence)
        with self._lock:
            if not self._last[frequency] <= last_sequence <= _MAX_SEQUENCE:
                raise InvalidValueError(
                    f"cannot continue the {frequency.label} sequence from {last_sequence}, expected "
                    f"{self._last[frequency]} to {_MAX_SEQUENCE}: restore a new sequencer before it assigns"
                )
            self._last[frequency] = last_sequence

    def _next(self, frequency: Frequency) -> int:
        last = self._last[frequency]
        if last == _MAX_SEQUENCE:
            raise InvalidValueError(f"{frequency.label} sequence {last} is the last in uint64: start a new stream")
        return last + 1


class BoundarySequencer:
    """Numbers each event by its boundary alone; strictly increasing, the same on every host and in every run.

    Seconds count Unix seconds; minutes and hours count Unix minutes, because in some zones two hour boundaries fall
    within one hour of Unix time; days are the ordinal of the local date (`datetime.date.toordinal`).
    """

    kind = "boundary"

    @renamed(tz="timezone")
    def __init__(self, timezone: str = "UTC") -> None:
        self._calendar = Calendar.for_zone(timezone)

    @property
    def timezone(self) -> str:
        """The IANA time zone whose days it numbers."""
        return self._calendar.timezone

    tz = former("tz", "timezone")

    def peek(self, frequency: Frequency, boundary_ns: int) -> int:
        """Return the number of a boundary, in Unix nanoseconds from 1970 on."""
        return self._calendar.sequence(Frequency.parse(frequency), checked_ns("boundary_ns", boundary_ns))

    def assign(self, frequency: Frequency, boundary_ns: int) -> int:
        """Return what `peek` does: there is nothing to use up."""
        return self.peek(frequency, boundary_ns)

    def restore(self, frequency: Frequency, last_sequence: int) -> None:
        """Do nothing: there is no state."""

    def sequences(
        self, frequency: Frequency | str | int, timestamps_ns: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.uint64]:
        """Return the number of each boundary, in int64 Unix nanoseconds from 1970 on: uint64, of the same shape."""
        return self._calendar.sequences(Frequency.parse(frequency), check_timestamps(timestamps_ns))

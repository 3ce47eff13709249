"""What a scheduler must not forget when its process ends. How it is stored is not known here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chronostream.boundaries import count_boundaries
from chronostream.errors import InvalidValueError
from chronostream.event import Frequency

__all__ = ["FrequencyState", "SchedulerState"]


@dataclass(frozen=True, slots=True)
class FrequencyState:
    """What a frequency must not forget.

    Attributes:
        frequency: which one.
        floor_ns: every boundary up to here was emitted or missed; Unix nanoseconds.
        missed: how many were missed.
    """

    frequency: Frequency
    floor_ns: int
    missed: int

    def with_published(self, boundary_ns: int, tz: str) -> FrequencyState:
        """Return the state after this boundary: see `SchedulerState.with_published`."""
        if boundary_ns <= self.floor_ns:
            return self
        skipped = count_boundaries(self.frequency, self.floor_ns + 1, boundary_ns, tz)
        return FrequencyState(self.frequency, boundary_ns, self.missed + skipped)


@dataclass(frozen=True, slots=True)
class SchedulerState:
    """What a scheduler goes on from after a restart.

    Attributes:
        realtime_ns: what the wall clock read at `boottime_ns`, as far as it was trusted; Unix nanoseconds.
        boottime_ns: the clock that nobody can set, at that instant. It compares only under the same boot.
        frequencies: one entry for each, the shortest first.
    """

    realtime_ns: int
    boottime_ns: int
    frequencies: tuple[FrequencyState, ...]

    def with_published(self, frequency: Frequency, boundary_ns: int, tz: str) -> SchedulerState:
        """Return the state after this boundary was published too, which had not been saved yet.

        What lies between the floor and it counts as missed. Nothing changes if it is not above the floor.

        Raises:
            InvalidValueError: the state knows no such frequency, or there is no such time zone.
        """
        if all(known.frequency != frequency for known in self.frequencies):
            raise InvalidValueError(f"no {frequency.label} in this state: it was made for other frequencies")
        updated = tuple(
            known.with_published(boundary_ns, tz) if known.frequency == frequency else known
            for known in self.frequencies
        )
        return replace(self, frequencies=updated)

"""What a scheduler continues from after a restart. `chronostream.stream.state` stores it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chronostream.calendar.calendar import Calendar
from chronostream.calendar.order import upto_ns
from chronostream.errors import InvalidValueError
from chronostream.event import Frequency

__all__ = ["FrequencyState", "SchedulerState"]


@dataclass(frozen=True, slots=True)
class FrequencyState:
    """How far one frequency got.

    Attributes:
        floor_ns: every boundary up to here was emitted or missed; Unix nanoseconds.
        missed: how many were missed.
    """

    frequency: Frequency
    floor_ns: int
    missed: int

    def behind(self, key: int, calendar: Calendar, *, emitted: int = 0) -> FrequencyState:
        """Return the state after all boundaries up to an order key; those that were not `emitted` are missed."""
        passed_ns = calendar.last(self.frequency, upto_ns(key, self.frequency))
        if passed_ns <= self.floor_ns:
            return self
        passed = calendar.count(self.frequency, self.floor_ns + 1, passed_ns + 1)
        return FrequencyState(self.frequency, passed_ns, self.missed + passed - emitted)


@dataclass(frozen=True, slots=True)
class SchedulerState:
    """What a scheduler continues from after a restart.

    Attributes:
        realtime_ns: what the wall clock read at `boottime_ns`, as far as it was trusted; Unix nanoseconds.
        boottime_ns: the clock that nobody can set, at that instant. It compares only under the same boot.
        frequencies: the shortest first.
    """

    realtime_ns: int
    boottime_ns: int
    frequencies: tuple[FrequencyState, ...]

    def with_published(self, frequency: Frequency, boundary_ns: int, calendar: Calendar) -> SchedulerState:
        """Return the state after a boundary was published that had not been saved yet.

        A boundary of any frequency that comes before it and lies above its floor counts as missed: to emit it now would
        be to go backwards. Nothing changes if the published boundary is not above its own floor.
        """
        if all(known.frequency != frequency for known in self.frequencies):
            raise InvalidValueError(f"no {frequency.label} in this state: it was made for other frequencies")
        if any(known.frequency == frequency and boundary_ns <= known.floor_ns for known in self.frequencies):
            return self
        key = boundary_ns + frequency
        updated = (known.behind(key, calendar, emitted=int(known.frequency == frequency)) for known in self.frequencies)
        return replace(self, frequencies=tuple(updated))

    def behind(self, key: int, calendar: Calendar) -> SchedulerState:
        """Return the state in which every boundary that comes before a published event was emitted or missed.

        With the zone data that the stream has had so far, this is the same state. With those of `calendar`, a boundary
        may lie above the floor of its frequency, and yet before the event with this order key: it is missed.
        """
        return replace(self, frequencies=tuple(known.behind(key, calendar) for known in self.frequencies))

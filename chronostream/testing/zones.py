"""Other data of a time zone than this machine has, for simulated hosts whose zone data change."""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np

from chronostream.calendar.calendar import Calendar
from chronostream.calendar.runs import ZoneRuns
from chronostream.calendar.zones import Period
from chronostream.event import Frequency

__all__ = ["other_calendar"]


@lru_cache(maxsize=256)
def other_calendar(timezone: str, shift_s: int, delay_s: int) -> Calendar:
    """Return the calendar of a zone whose data are different; the one that all share if nothing is.

    Args:
        timezone: an IANA name.
        shift_s: how much further east the zone is.
        delay_s: how much later each change of its offset comes.
    """
    own = Calendar.for_zone(timezone)
    return _OtherCalendar(own, shift_s, delay_s) if shift_s or delay_s else own


class _OtherCalendar(Calendar):
    def __init__(self, own: Calendar, shift_s: int, delay_s: int) -> None:
        super().__init__(own.timezone)
        self._own, self._shift_s, self._delay_s = own, shift_s, delay_s

    @cached_property
    def _common(self) -> ZoneRuns:
        return self._moved(self._own._common)  # noqa: SLF001 - it is of the same kind

    @cached_property
    def _whole(self) -> ZoneRuns:
        return self._moved(self._own._whole)  # noqa: SLF001 - likewise

    def sequence(self, frequency: Frequency, boundary_ns: int) -> int:
        """Return the number of a boundary; without `zoneinfo`, which has not these data."""
        return int(self.sequences(frequency, np.array([boundary_ns], np.int64))[0])

    def _moved(self, own: ZoneRuns) -> ZoneRuns:
        starts = [own.periods[0].start_s, *(period.start_s + self._delay_s for period in own.periods[1:])]
        offsets = [period.offset_s + self._shift_s for period in own.periods]
        runs = ZoneRuns(self._zone, 0, 0)
        runs.periods = [Period(*row) for row in zip(starts, [*starts[1:], own.periods[-1].end_s], offsets, strict=True)]
        return runs

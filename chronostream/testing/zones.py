"""Other data of a time zone than this machine has, for simulated hosts whose zone data change."""

from __future__ import annotations

from functools import lru_cache

from chronostream.calendar.calendar import Calendar
from chronostream.calendar.runs import ZoneRuns
from chronostream.calendar.zones import Period

__all__ = ["other_calendar"]


def other_calendar(timezone: str, shift_s: int, delay_s: int) -> Calendar:
    """Return the calendar of a zone with other data; the shared one if both differences are 0.

    The zone lies `shift_s` further east, and each change of its offset comes `delay_s` later.
    """
    return _shifted(timezone, shift_s, delay_s) if shift_s or delay_s else Calendar.for_zone(timezone)


@lru_cache(maxsize=256)
def _shifted(timezone: str, shift_s: int, delay_s: int) -> Calendar:
    return _OtherCalendar(timezone, shift_s, delay_s)


class _OtherCalendar(Calendar):
    def __init__(self, timezone: str, shift_s: int, delay_s: int) -> None:
        super().__init__(timezone)
        self._shift_s, self._delay_s = shift_s, delay_s

    def _zone_runs(self, start_s: int, end_s: int) -> ZoneRuns:
        runs = super()._zone_runs(start_s, end_s)
        first, *later = runs.periods
        starts = [first.start_s, *(period.start_s + self._delay_s for period in later)]
        ends = [*starts[1:], runs.periods[-1].end_s]
        offsets = [period.offset_s + self._shift_s for period in runs.periods]
        runs.periods = [Period(*row) for row in zip(starts, ends, offsets, strict=True)]
        return runs

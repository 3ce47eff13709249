from __future__ import annotations

import numpy as np
import pytest

from chronostream.calendar.calendar import Calendar
from chronostream.event import Frequency
from chronostream.testing.simulation import ZONES
from chronostream.testing.zones import other_calendar

_YEAR_NS = 366 * 86_400 * 10**9
_HOUR_NS = 3600 * 10**9


@pytest.mark.parametrize("zone", ZONES)
def test_later_by_a_second_each_change_comes_a_second_later(zone: str) -> None:
    own, other = Calendar.for_zone(zone), other_calendar(zone, 0, 1)
    before, after = (calendar._common.periods for calendar in (own, other))
    assert [period.offset_s for period in after] == [period.offset_s for period in before]
    assert [period.start_s for period in after][1:] == [period.start_s + 1 for period in before][1:]
    assert (after[0].start_s, after[-1].end_s) == (before[0].start_s, before[-1].end_s)


@pytest.mark.parametrize("frequency", Frequency.parse_all(("second", "minute", "hour", "day")))
def test_the_number_of_one_boundary_is_that_of_many(frequency: Frequency) -> None:
    calendar = other_calendar("America/Havana", 18_000, 86_400)
    stamps = calendar.between(frequency, 40 * _YEAR_NS, 40 * _YEAR_NS + 24 * _HOUR_NS)
    sequences = [calendar.sequence(frequency, stamp) for stamp in stamps.tolist()]
    assert sequences == calendar.sequences(frequency, stamps).tolist()


def test_further_east_days_begin_earlier() -> None:
    own, other = Calendar.for_zone("UTC"), other_calendar("UTC", 3600, 0)
    starts = (own, _YEAR_NS), (other, _YEAR_NS - _HOUR_NS)
    days = [calendar.between(Frequency.DAY, start_ns, start_ns + _YEAR_NS) for calendar, start_ns in starts]
    assert np.array_equal(days[0], days[1] + _HOUR_NS)
    assert np.array_equal(own.sequences(Frequency.DAY, days[0]), other.sequences(Frequency.DAY, days[1]))
    assert (other.timezone, own.zone_data.agrees(other.zone_data)) == ("UTC", False)


def test_without_any_difference_it_is_the_zones_own() -> None:
    assert other_calendar("Asia/Gaza", 0, 0) is Calendar.for_zone("Asia/Gaza")

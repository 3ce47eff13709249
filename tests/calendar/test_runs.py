from __future__ import annotations

from chronostream.calendar.runs import day_runs
from chronostream.calendar.zones import Period


def test_a_short_stay_among_earlier_dates_does_not_repeat_them() -> None:
    # No zone has done this yet: back by two days for six hours, then back by one more.
    day_s = 86400
    offsets = [
        (0, 10 * day_s, 0),
        (10 * day_s, 10 * day_s + 21600, -2 * day_s),
        (10 * day_s + 21600, 20 * day_s, -3 * day_s),
    ]
    runs = day_runs([Period(*row) for row in offsets])
    assert [run for run in runs if run[1] > 0] == [(day_s, 9), (13 * day_s, 7)]

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import pytest

from chronostream.boundaries import boundaries, next_boundary
from chronostream.calendar import calendar
from chronostream.calendar.calendar import Calendar
from chronostream.event import FREQUENCIES, Frequency

NS = 1_000_000_000
# Hours and days of these are irregular here and there within the year.
ZONES = ["UTC", "Pacific/Apia", "Australia/Lord_Howe", "America/Sao_Paulo"]


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NS


def test_there_is_one_calendar_for_a_zone() -> None:
    assert Calendar.for_zone("Asia/Tokyo") is Calendar.for_zone("Asia/Tokyo")
    assert Calendar.for_zone("Asia/Tokyo").timezone == "Asia/Tokyo"


@pytest.mark.parametrize("timezone", ZONES)
@pytest.mark.parametrize("frequency", FREQUENCIES)
@pytest.mark.parametrize("start", ["2011-12-29", "1960-06-01", "2039-12-30T23:59:59"])
def test_the_rank_of_a_boundary_is_the_number_of_those_before_it(
    frequency: Frequency, timezone: str, start: str
) -> None:
    start_ns = ns(start)
    known = boundaries(frequency, start_ns, start_ns + 200 * calendar.PERIOD_NS[frequency], timezone)
    found = Calendar.for_zone(timezone).ranks(frequency, known[::-1], start_ns)
    assert found.tolist() == list(range(len(known)))[::-1]
    assert Calendar.for_zone(timezone).ranks(frequency, known, int(known[3])).tolist() == [
        *[-1] * 3,
        *range(len(known) - 3),
    ]


@pytest.mark.parametrize("timezone", ZONES)
@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_what_is_no_boundary_has_no_rank(frequency: Frequency, timezone: str) -> None:
    start_ns = ns("2011-12-29")
    stamps = np.arange(start_ns, start_ns + 3 * 86400 * NS, 1800 * NS - 1)
    known = boundaries(frequency, start_ns, start_ns + 3 * 86400 * NS, timezone)
    ranks = Calendar.for_zone(timezone).ranks(frequency, stamps, start_ns)
    assert (ranks >= 0).tolist() == np.isin(stamps, known).tolist()


def test_a_range_that_ends_before_it_starts_is_empty() -> None:
    assert Calendar.for_zone("UTC").count(Frequency.HOUR, ns("2024-01-02"), ns("2024-01-01")) == 0
    assert Calendar.for_zone("UTC").between(Frequency.HOUR, ns("2024-01-02"), ns("2024-01-01")).shape == (0,)


def test_many_threads_may_ask_for_a_new_zone_at_once() -> None:
    calendar._shared.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda day: next_boundary(ns(day), "day", "Europe/Lisbon"), ["2024-07-01", "2084-07-01"] * 4)
        )
    assert found == [ns("2024-07-01T23:00:00"), ns("2084-07-01T23:00:00")] * 4

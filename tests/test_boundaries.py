from __future__ import annotations

import json
import zoneinfo
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chronostream._values import Instant
from chronostream.boundaries import (
    MAX_BOUNDARIES,
    boundaries,
    count_boundaries,
    last_boundary,
    local_days,
    next_boundary,
)
from chronostream.errors import InvalidTypeError, InvalidValueError, UnknownFrequencyError
from chronostream.event import FREQUENCIES, Frequency

NS = 1_000_000_000
MIN_NS, MAX_NS = -(1 << 63), (1 << 63) - 1
VECTORS = json.loads((Path(__file__).parent / "vectors" / "boundaries.json").read_text())
ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})

# Where the rule is hard: transitions at midnight, by half an hour or a day, at 00:01, twice within weeks.
HARD = {
    "Africa/Cairo": "2010-09-30 2014-05-15 2024-04-26 2024-11-01",
    "Africa/Casablanca": "2024-03-10 2024-04-14",
    "Africa/El_Aaiun": "1976-04-14",
    "Africa/Monrovia": "1972-02-01",
    "America/Boa_Vista": "2000-10-08",
    "America/Caracas": "2007-12-09 2016-05-01",
    "America/Havana": "2024-03-10 2024-11-03",
    "America/New_York": "2024-03-10 2024-11-03",
    "America/Sao_Paulo": "2018-02-18 2018-11-04",
    "America/Scoresbysund": "2023-03-26 2024-03-31",
    "America/St_Johns": "1988-04-03 2006-04-02 2006-10-29",
    "Antarctica/Casey": "2020-10-04",
    "Antarctica/Troll": "2024-03-31 2024-10-27",
    "Asia/Gaza": "2011-08-01 2011-09-30 2016-03-26",
    "Asia/Kathmandu": "1986-01-01",
    "Asia/Kolkata": "2024-01-01",
    "Asia/Manila": "1978-03-22 1990-05-21",
    "Asia/Pyongyang": "2015-08-15 2018-05-05",
    "Australia/Lord_Howe": "1981-03-01 2024-04-07 2024-10-06",
    "Europe/Dublin": "1972-03-19 2024-10-27",
    "Pacific/Apia": "2011-12-30",
    "Pacific/Chatham": "2024-04-07 2024-09-29",
    "Pacific/Kiritimati": "1994-12-31",
    "Pacific/Kwajalein": "1993-08-21",
}


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NS


def scan(tz: str, start_ns: int, end_ns: int) -> dict[Frequency, list[int]]:
    """Apply the rule of docs/time.md to each minute, from three days before to fill in what came earlier."""
    zone = ZoneInfo(tz)
    instant = datetime.fromtimestamp(start_ns // NS // 60 * 60, UTC) - timedelta(days=3)
    end = datetime.fromtimestamp(end_ns // NS, UTC)
    before = instant.astimezone(zone).replace(tzinfo=None)
    latest_date = before.date()
    found: dict[Frequency, list[int]] = {Frequency.HOUR: [], Frequency.DAY: []}
    while (instant := instant + timedelta(minutes=1)) <= end:
        local = instant.astimezone(zone).replace(tzinfo=None)
        boundary_ns = int(instant.timestamp()) * NS
        next_hour = before.replace(minute=0) + timedelta(hours=1)
        if local.minute == 0 or before < next_hour < local:
            found[Frequency.HOUR].append(boundary_ns)
        if local.date() > latest_date:
            latest_date = local.date()
            found[Frequency.DAY].append(boundary_ns)
        before = local
    return {frequency: [b for b in all_ns if start_ns <= b < end_ns] for frequency, all_ns in found.items()}


def instants(low: str = "1972-02-05", high: str = "2037-12-31") -> st.SearchStrategy[int]:
    return st.integers(ns(low), ns(high))


anything = {"frequency": st.sampled_from(FREQUENCIES), "tz": st.sampled_from(ZONES)}


@pytest.mark.parametrize("vector", VECTORS["ranges"], ids=lambda vector: f"{vector['zone']}-{vector['start'][:10]}")
def test_range_agrees_with_the_vector(vector: dict[str, Any]) -> None:
    start_ns, end_ns = ns(vector["start"].rstrip("Z")), ns(vector["end"].rstrip("Z"))
    assert boundaries(vector["frequency"], start_ns, end_ns, vector["zone"]).tolist() == vector["boundaries_ns"]


@pytest.mark.parametrize("vector", VECTORS["next"], ids=lambda vector: vector["frequency"])
def test_next_boundary_agrees_with_the_vector(vector: dict[str, Any]) -> None:
    assert next_boundary(vector["now_ns"], vector["frequency"], vector["zone"]) == vector["next_ns"]


@pytest.mark.parametrize(("tz", "day"), [(tz, day) for tz, days in HARD.items() for day in days.split()])
def test_hard_days_agree_with_a_scan_of_every_minute(tz: str, day: str) -> None:
    start_ns, end_ns = ns(day) - 2 * 86400 * NS, ns(day) + 3 * 86400 * NS
    expected = scan(tz, start_ns, end_ns)
    assert {frequency: boundaries(frequency, start_ns, end_ns, tz).tolist() for frequency in expected} == expected


@given(tz=st.sampled_from(ZONES), start_ns=instants())
@settings(max_examples=40)
def test_any_days_agree_with_a_scan_of_every_minute(tz: str, start_ns: int) -> None:
    end_ns = start_ns + 2 * 86400 * NS
    expected = scan(tz, start_ns, end_ns)
    assert {frequency: boundaries(frequency, start_ns, end_ns, tz).tolist() for frequency in expected} == expected


@pytest.mark.parametrize(("frequency", "unit_ns"), [("second", NS), ("minute", 60 * NS)])
@pytest.mark.parametrize("tz", ["UTC", "Asia/Kathmandu", "America/St_Johns"])
@given(now_ns=st.integers(MIN_NS + 60 * NS, MAX_NS - 60 * NS))
@example(now_ns=0)
@example(now_ns=-1)
@settings(max_examples=30)
def test_seconds_and_minutes_are_multiples_of_unix_time_everywhere(
    frequency: str, unit_ns: int, tz: str, now_ns: int
) -> None:
    assert next_boundary(now_ns, frequency, tz) == (now_ns // unit_ns + 1) * unit_ns
    assert last_boundary(now_ns, frequency, tz) == now_ns // unit_ns * unit_ns


@given(now_ns=instants("1700-01-01", "2260-01-01"))
@settings(max_examples=50)
def test_utc_days_begin_at_its_midnights(now_ns: int) -> None:
    assert next_boundary(now_ns, "day") == (now_ns // (86400 * NS) + 1) * 86400 * NS


@given(**anything, start_ns=instants())
@settings(max_examples=50)
def test_stepping_by_next_boundary_walks_the_range(frequency: Frequency, tz: str, start_ns: int) -> None:
    end_ns = start_ns + {1: 30, 2: 1800, 3: 100_000, 4: 3_000_000}[frequency] * NS
    walked = []
    now_ns = start_ns - 1
    while (now_ns := next_boundary(now_ns, frequency, tz)) < end_ns:
        walked.append(now_ns)
    assert walked == boundaries(frequency, start_ns, end_ns, tz).tolist()


@given(frequency=st.sampled_from([Frequency.HOUR, Frequency.DAY]), tz=st.sampled_from(ZONES), now_ns=instants())
@settings(max_examples=50)
def test_last_boundary_is_the_inverse_of_next(frequency: Frequency, tz: str, now_ns: int) -> None:
    later_ns = next_boundary(now_ns, frequency, tz)
    assert last_boundary(later_ns, frequency, tz) == later_ns
    assert last_boundary(later_ns - 1, frequency, tz) == last_boundary(now_ns, frequency, tz) <= now_ns


@given(**anything, start_ns=instants(), length_s=st.integers(0, 10_000_000))
@settings(max_examples=60)
def test_count_is_the_length_of_the_range(frequency: Frequency, tz: str, start_ns: int, length_s: int) -> None:
    end_ns = start_ns + length_s * NS
    assert count_boundaries(frequency, start_ns, end_ns, tz) == len(boundaries(frequency, start_ns, end_ns, tz))


@given(**anything, cuts=st.lists(instants("2010-01-01", "2012-06-01"), min_size=3, max_size=3).map(sorted))
@settings(max_examples=60)
def test_neighbouring_ranges_join_without_overlap(frequency: Frequency, tz: str, cuts: list[int]) -> None:
    start_ns, middle_ns, end_ns = (last_boundary(cut, frequency, tz) for cut in cuts)
    middle_ns = min(middle_ns, start_ns + 86400 * NS)
    end_ns = min(end_ns, middle_ns + 86400 * NS)
    parts = [boundaries(frequency, *pair, tz) for pair in ((start_ns, middle_ns), (middle_ns, end_ns))]
    assert np.concatenate(parts).tolist() == boundaries(frequency, start_ns, end_ns, tz).tolist()


def test_range_holds_its_start_and_not_its_end() -> None:
    assert boundaries("minute", 0, 120 * NS).tolist() == [0, 60 * NS]


@pytest.mark.parametrize("end_ns", [1, NS])
def test_range_may_hold_no_boundary(end_ns: int) -> None:
    found = boundaries("second", 1, end_ns)
    assert found.dtype == np.int64
    assert found.shape == (0,)


def test_range_is_the_callers_to_change() -> None:
    first = boundaries("day", 0, 10 * 86400 * NS)
    first[:] = 0
    assert boundaries("day", 0, 10 * 86400 * NS)[-1] == 9 * 86400 * NS


@pytest.mark.parametrize("frequency", ["hour", "day"])
@pytest.mark.parametrize("tz", ["UTC", "Africa/Casablanca", "Pacific/Kwajalein", "Asia/Gaza"])
@pytest.mark.parametrize("edge", ["1970-01-01", "2040-01-01"])
def test_common_and_whole_span_agree_where_they_meet(frequency: str, tz: str, edge: str) -> None:
    edge_ns = ns(edge)
    for offset_s in (-86400, -3600, -1, 0, 1, 3600, 86400):
        now_ns = edge_ns + offset_s * NS
        near = boundaries(frequency, now_ns - 5 * 86400 * NS, now_ns + 5 * 86400 * NS, tz)
        assert next_boundary(now_ns, frequency, tz) == near[near > now_ns][0]
        assert last_boundary(now_ns, frequency, tz) == near[near <= now_ns][-1]


def test_a_date_that_comes_twice_is_one_day_even_before_1970() -> None:
    # Kwajalein went from UTC+11 to UTC-12 at the end of September 1969: the 30th was repeated.
    found = boundaries("day", ns("1969-09-29"), ns("1969-10-03"), "Pacific/Kwajalein")
    assert np.diff(found).max() == 47 * 3600 * NS


def test_decades_are_counted_without_being_made() -> None:
    assert count_boundaries("second", MIN_NS, MAX_NS) == 2 * (MAX_NS // NS) + 1
    assert count_boundaries("day", ns("1970-01-01"), ns("2170-01-01")) == (date(2170, 1, 1) - date(1970, 1, 1)).days


@pytest.mark.parametrize("frequency", FREQUENCIES)
@pytest.mark.parametrize("tz", ["UTC", "America/New_York", "Pacific/Apia"])
def test_edges_of_int64_are_reached_and_not_passed(frequency: Frequency, tz: str) -> None:
    first_ns = next_boundary(MIN_NS, frequency, tz)
    last_ns = last_boundary(MAX_NS, frequency, tz)
    assert MIN_NS <= first_ns < MIN_NS + 86400 * NS
    assert MAX_NS - 86400 * NS < last_ns <= MAX_NS
    assert boundaries(frequency, MIN_NS, first_ns + 1, tz).tolist() == [first_ns]
    assert boundaries(frequency, last_ns, MAX_NS, tz).tolist() == [last_ns]
    with pytest.raises(InvalidValueError, match="outside int64"):
        next_boundary(last_ns, frequency, tz)
    with pytest.raises(InvalidValueError, match="outside int64"):
        last_boundary(first_ns - 1, frequency, tz)


@pytest.mark.parametrize("frequency", [Frequency.HOUR, 3, "hour", "HOUR", np.int64(3)])
def test_frequency_is_given_as_itself_or_by_name_or_number(frequency: Frequency) -> None:
    assert next_boundary(0, frequency) == 3600 * NS
    assert boundaries(frequency, 0, 1).tolist() == [0]


@pytest.mark.parametrize("frequency", [Frequency.UNKNOWN, 0, 5, "week", None])
def test_unknown_frequency_is_refused(frequency: str) -> None:
    with pytest.raises(UnknownFrequencyError):
        next_boundary(0, frequency)
    with pytest.raises(UnknownFrequencyError):
        boundaries(frequency, 0, 1)


@pytest.mark.parametrize("number", [np.int64(90 * NS), np.uint64(90 * NS)])
def test_times_may_be_numpy_integers(number: int) -> None:
    found = next_boundary(number, "minute")
    assert (found, type(found)) == (120 * NS, int)
    assert count_boundaries("minute", number, number + 40 * NS) == 1


@pytest.mark.parametrize("now_ns", [MIN_NS - 1, MAX_NS + 1])
def test_time_outside_int64_is_refused(now_ns: int) -> None:
    with pytest.raises(InvalidValueError, match=f"is {now_ns}, expected {MIN_NS} to {MAX_NS}"):
        next_boundary(now_ns, "second")
    with pytest.raises(InvalidValueError, match=f"is {now_ns}, expected {MIN_NS} to {MAX_NS}"):
        last_boundary(now_ns, "second")
    with pytest.raises(InvalidValueError, match=f"is {now_ns}, expected {MIN_NS} to {MAX_NS}"):
        boundaries("second", min(now_ns, 0), max(now_ns, 0))


@pytest.mark.parametrize(
    "noon",
    [
        "2024-03-10T12:00Z",
        "2024-03-10T13:00+01:00",
        datetime(2024, 3, 10, 12, tzinfo=UTC),
        np.datetime64("2024-03-10T12"),
        str(ns("2024-03-10T12:00")),
    ],
)
def test_time_may_be_given_as_any_instant(noon: Instant) -> None:
    noon_ns = ns("2024-03-10T12:00")
    assert next_boundary(noon, "hour") == noon_ns + 3600 * NS
    assert last_boundary(noon, "hour") == noon_ns
    assert boundaries("hour", noon, "2024-03-10T14:00").tolist() == [noon_ns, noon_ns + 3600 * NS]
    assert count_boundaries("minute", noon, datetime(2024, 3, 10, 13, tzinfo=UTC)) == 60


@pytest.mark.parametrize("now_ns", [1.5, True, None, np.array([1])])
def test_time_that_is_no_instant_is_refused(now_ns: int) -> None:
    with pytest.raises(InvalidTypeError, match=r"now_ns is .*, expected Unix nanoseconds"):
        next_boundary(now_ns, "second")
    with pytest.raises(InvalidTypeError, match=r"end_ns is .*, expected Unix nanoseconds"):
        count_boundaries("second", 0, now_ns)


def test_range_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="later than end_ns"):
        boundaries("second", 1, 0)
    with pytest.raises(InvalidValueError, match="later than end_ns"):
        count_boundaries("second", 1, 0)


def test_range_too_large_to_be_meant_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="take the range in parts"):
        boundaries("second", 0, MAX_BOUNDARIES * NS + 1)


@pytest.mark.parametrize("tz", [None, 1, b"UTC", ZoneInfo("UTC"), ["UTC"]])
def test_zone_that_is_no_string_is_refused(tz: str) -> None:
    with pytest.raises(InvalidTypeError, match="expected a string"):
        next_boundary(0, "day", tz)


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_zone_is_checked_for_every_frequency(frequency: Frequency) -> None:
    with pytest.raises(InvalidValueError, match="unknown time zone"):
        next_boundary(0, frequency, "Nowhere")


@pytest.mark.parametrize("tz", ["UTC", "Pacific/Apia", "America/Havana", "Pacific/Chatham"])
def test_local_days_are_the_ordinals_of_the_local_dates(tz: str) -> None:
    timestamps_ns = np.arange(ns("2011-06-01"), ns("2012-06-01"), 1777 * NS)
    expected = [datetime.fromtimestamp(t // NS, ZoneInfo(tz)).toordinal() for t in timestamps_ns.tolist()]
    assert local_days(timestamps_ns, tz).tolist() == expected


def test_local_days_keep_the_shape_and_leave_the_argument_alone() -> None:
    timestamps_ns = np.array([[0, -1], [MIN_NS, MAX_NS]])
    before = timestamps_ns.copy()
    assert local_days(timestamps_ns).shape == (2, 2)
    assert np.array_equal(timestamps_ns, before)


def test_local_days_of_nothing_are_nothing() -> None:
    found = local_days(np.empty(0, np.int64))
    assert found.dtype == np.int64
    assert found.shape == (0,)


@pytest.mark.parametrize(
    ("timestamps_ns", "found"),
    [([0], "list"), (0, "int"), (np.zeros(1), "float64"), (np.zeros(1, np.uint64), "uint64")],
)
def test_timestamps_that_are_no_int64_array_are_refused(timestamps_ns: npt.NDArray[np.int64], found: str) -> None:
    with pytest.raises(InvalidTypeError, match=f"timestamps_ns are {found}, expected an int64 array"):
        local_days(timestamps_ns)


def test_the_zone_may_be_given_under_its_former_name_for_one_release() -> None:
    former: dict[str, Any] = {"tz": "Asia/Tokyo"}
    noon_ns, midnight_ns = ns("2024-07-01T12:00"), ns("2024-07-01T15:00")
    with pytest.warns(DeprecationWarning, match="'tz' is called 'timezone' now"):
        assert next_boundary(noon_ns, "day", **former) == midnight_ns
    with pytest.warns(DeprecationWarning, match="'tz' is called 'timezone' now"):
        assert boundaries("day", noon_ns, noon_ns + 86400 * NS, **former).tolist() == [midnight_ns]

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from chronostream.calendar.zones import SAMPLE_S, check_zone, find_periods
from chronostream.errors import InvalidValueError


@pytest.mark.parametrize(
    "tz",
    ["Mars/Olympus", "", "utc", "europe/berlin", "../../etc/passwd", "/etc/localtime", "Europe", "right/UTC", "UTC\0"],
)
def test_unknown_zone_is_refused(tz: str) -> None:
    with pytest.raises(InvalidValueError, match="unknown time zone"):
        check_zone(tz)


@pytest.mark.parametrize(
    ("tz", "meant"), [("Europe/Berlim", "Europe/Berlin"), ("europe/berlin", "Europe/Berlin"), ("utc", "UTC")]
)
def test_unknown_zone_names_the_nearest(tz: str, meant: str) -> None:
    with pytest.raises(InvalidValueError, match=f"did you mean .*{meant}"):
        check_zone(tz)


def test_unknown_zone_like_no_other_asks_for_an_iana_name() -> None:
    with pytest.raises(InvalidValueError, match="use an IANA name"):
        check_zone("?" * 1000)


def test_check_zone_returns_the_name() -> None:
    assert check_zone("America/Argentina/Buenos_Aires") == "America/Argentina/Buenos_Aires"


@pytest.mark.parametrize("tz", ["UTC", "America/Boa_Vista", "Africa/Freetown", "Asia/Gaza"])
def test_periods_join_and_neighbours_differ(tz: str) -> None:
    periods = find_periods(tz, -2_000_000_000, 2_000_000_000)
    assert (periods[0].start_s, periods[-1].end_s) == (-2_000_000_000, 2_000_000_000)
    for before, after in pairwise(periods):
        assert before.end_s == after.start_s
        assert before.offset_s != after.offset_s


def test_the_shortest_offset_of_all_zone_data_is_found() -> None:
    periods = find_periods(
        "Africa/Freetown", *(round(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1939, 1940))
    )
    assert min(period.end_s - period.start_s for period in periods) == 344_400 > SAMPLE_S

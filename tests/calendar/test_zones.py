from __future__ import annotations

import sys
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest
import tzdata

from chronostream.calendar.zones import (
    SAMPLE_S,
    InstalledData,
    ZoneData,
    check_zone,
    find_periods,
    installed_data,
    zone_data,
)
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


@pytest.fixture
def system_zones(tmp_path: Path) -> Iterator[Path]:
    """An empty directory that the system's zone files are looked for in."""
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([str(tmp_path)])
    zone_data.cache_clear()
    yield tmp_path
    zoneinfo.reset_tzpath(before)
    zoneinfo.ZoneInfo.clear_cache()
    zone_data.cache_clear()


def test_without_files_of_the_system_the_version_is_the_packages(system_zones: Path) -> None:
    assert not list(system_zones.iterdir())
    assert zone_data("Europe/Berlin").version == tzdata.IANA_VERSION


@pytest.mark.parametrize(
    ("file", "text", "version"),
    [
        ("tzdata.zi", "# version 2019z\n# more", "2019z"),
        ("+VERSION", "2019y\n", "2019y"),
        ("other", "2019x", "unknown"),
    ],
)
def test_the_version_of_the_systems_files_is_read_where_they_say_it(
    system_zones: Path, file: str, text: str, version: str
) -> None:
    (system_zones / "UTC").write_bytes(resources.files("tzdata.zoneinfo").joinpath("UTC").read_bytes())
    (system_zones / file).write_text(text)
    assert zone_data("UTC").version == version


def test_the_same_data_agree_whatever_their_release_is_called() -> None:
    here = zone_data("Europe/Berlin")
    assert here.agrees(ZoneData(here.timezone, here.digest, "1999a"))


def test_zones_with_other_offsets_do_not_agree() -> None:
    assert not zone_data("Europe/Berlin").agrees(zone_data("Europe/Lisbon"))
    assert zone_data("Europe/Berlin").digest != zone_data("Europe/Lisbon").digest


def test_zone_data_are_told_in_a_text_and_read_from_it() -> None:
    here = zone_data("Europe/Berlin")
    assert ZoneData.parse(str(here)) == here


def test_a_text_of_something_else_is_no_zone_data() -> None:
    assert ZoneData.parse("Europe/Berlin") is None


def test_the_digest_is_the_one_that_deployments_have_stored() -> None:
    assert zone_data("UTC").digest == "7334821429a99561"


@pytest.mark.parametrize(
    ("file", "text", "release"),
    [
        ("tzdata.zi", "# version 2024a\n# ddeps\n", "2024a"),
        ("+VERSION", "2023c\n", "2023c"),
        ("tzdata.zi", "R A 1916\n", None),
        ("other", "2023c\n", None),
    ],
)
def test_zone_files_say_their_release_in_one_place_or_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, release: str | None
) -> None:
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe/Berlin").touch()
    (tmp_path / file).write_text(text)
    monkeypatch.setattr(zoneinfo, "TZPATH", ("/nowhere", str(tmp_path)))
    found = installed_data()
    assert (found.system, found.system_release) == (tmp_path, release)
    assert found.package_release is not None


def test_without_files_and_package_there_are_no_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoneinfo, "TZPATH", ())
    monkeypatch.setitem(sys.modules, "tzdata", None)
    assert installed_data() == InstalledData(None, None, None)

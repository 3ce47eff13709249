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

from chronostream.calendar.calendar import Calendar
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
from tests.zone_harness import forget_zones


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


@pytest.mark.parametrize("tz", ["localtime", "Factory", "posixrules"])
def test_a_name_whose_meaning_moves_is_no_zone(tz: str) -> None:
    with pytest.raises(InvalidValueError, match=f"'{tz}' is no time zone: it .*; name one, such as"):
        check_zone(tz)


def test_no_unknown_zone_is_advised_to_be_one_whose_meaning_moves() -> None:
    with pytest.raises(InvalidValueError) as caught:
        check_zone("Localtime")
    assert "localtime" not in str(caught.value)


def test_no_other_name_leads_out_of_the_zone_files_to_what_this_machine_is_set_to() -> None:
    names = [name for name in zoneinfo.available_timezones() - {"localtime", "Factory"} if check_zone(name)]
    files = [(Path(place), Path(place, name)) for place in zoneinfo.TZPATH for name in names]
    found = [(place.resolve(), file.resolve()) for place, file in files if file.is_file()]
    assert [file for place, file in found if not file.is_relative_to(place)] == []


def test_check_zone_returns_the_name() -> None:
    assert check_zone("America/Argentina/Buenos_Aires") == "America/Argentina/Buenos_Aires"


@pytest.mark.parametrize("tz", ["UTC", "America/Boa_Vista", "Africa/Freetown", "Asia/Gaza"])
def test_periods_join_and_neighbours_differ(tz: str) -> None:
    periods = find_periods(zoneinfo.ZoneInfo(tz), -2_000_000_000, 2_000_000_000)
    assert (periods[0].start_s, periods[-1].end_s) == (-2_000_000_000, 2_000_000_000)
    for before, after in pairwise(periods):
        assert before.end_s == after.start_s
        assert before.offset_s != after.offset_s


def test_the_shortest_offset_of_all_zone_data_is_found() -> None:
    periods = find_periods(
        zoneinfo.ZoneInfo("Africa/Freetown"),
        *(round(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1939, 1940)),
    )
    assert min(period.end_s - period.start_s for period in periods) == 344_400 > SAMPLE_S


@pytest.fixture
def system_zones(tmp_path: Path) -> Iterator[Path]:
    """An empty directory that the system's zone files are looked for in."""
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([str(tmp_path)])
    yield tmp_path
    zoneinfo.reset_tzpath(before)
    forget_zones()


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


@pytest.mark.parametrize("tz", ["UTC", "Europe/Berlin", "Asia/Gaza", "America/New_York"])
def test_what_is_on_disk_is_what_a_calendar_uses(tz: str) -> None:
    assert zone_data(tz) == Calendar(tz).zone_data


def test_what_is_on_disk_is_found_whatever_this_process_uses(system_zones: Path) -> None:
    package = resources.files("tzdata.zoneinfo")
    (system_zones / "UTC").write_bytes(package.joinpath("UTC").read_bytes())
    used = Calendar("UTC")
    before = zone_data("UTC")
    (system_zones / "new").write_bytes(package.joinpath("EST").read_bytes())
    (system_zones / "new").replace(system_zones / "UTC")
    assert not zone_data("UTC").agrees(before)
    assert used.zone_data.agrees(before)
    assert Calendar("UTC").zone_data.agrees(before)


@pytest.mark.parametrize(
    "data", [b"", b"TZif", b"TZif2" + b"\xff" * 39, b"no zone at all, but a longer text than a header"]
)
def test_data_that_cannot_be_read_are_an_error(system_zones: Path, data: bytes) -> None:
    (system_zones / "UTC").write_bytes(data)
    with pytest.raises(InvalidValueError, match="the data of time zone 'UTC' cannot be read: "):
        zone_data("UTC")


@pytest.mark.parametrize("tz", ["Mars/Olympus", "../../etc/passwd", "/etc/passwd", "a\0b"])
def test_there_are_no_data_of_what_is_no_zone(tz: str) -> None:
    with pytest.raises(InvalidValueError, match="cannot be read"):
        zone_data(tz)


def test_a_difference_names_both_releases() -> None:
    here = ZoneData("Asia/Beirut", "0" * 16, "2023b")
    assert here.difference(ZoneData("Asia/Beirut", "0" * 16, "2099z"), "clock") is None
    there = ZoneData("Asia/Beirut", "1" * 16, "2023b")
    text = f"zone data differ: the events of clock were made with {here}, this host has {there}"
    assert here.difference(there, "clock") == text


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

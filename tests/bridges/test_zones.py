from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
import tzdata

from chronostream.bridges.zones import ZoneData, zone_data


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
    assert here.agrees(ZoneData(here.tz, here.digest, "1999a"))


def test_zones_with_other_offsets_do_not_agree() -> None:
    assert not zone_data("Europe/Berlin").agrees(zone_data("Europe/Lisbon"))
    assert zone_data("Europe/Berlin").digest != zone_data("Europe/Lisbon").digest


def test_zone_data_are_told_in_a_text_and_read_from_it() -> None:
    here = zone_data("Europe/Berlin")
    assert ZoneData.parse(str(here)) == here


def test_a_text_of_something_else_is_no_zone_data() -> None:
    assert ZoneData.parse("Europe/Berlin") is None

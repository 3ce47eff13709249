"""Two releases of a zone's data, for tests in which the data change.

`tests/data/tzdata-2023.2` and `-2023.3` hold what the packages of these versions have of Asia/Beirut (2023b and 2023c).
Lebanon had announced to begin summer time at 2023-04-21 instead of 2023-03-26, and took that back: so by the older data
2023-03-27 begins at 22:00Z, and by the newer ones an hour earlier.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chronostream.calendar import calendar, zones

BEIRUT = "Asia/Beirut"
LATE, EARLY = (Path(__file__).parent / "data" / f"tzdata-2023.{number}" for number in (2, 3))
"""The directories of both, by when that day begins."""


def forget_zones() -> None:
    """Have zones read from their files again; but UTC, which pandas compares by identity."""
    zoneinfo.ZoneInfo.clear_cache(only_keys=zoneinfo.available_timezones() - {"UTC"})


def start_anew(*directories: Path) -> None:
    """Have this process take zones from these directories, as one that was just started would."""
    zoneinfo.reset_tzpath(list(map(str, directories)))
    forget_zones()
    calendar._shared.cache_clear()
    zones._known_zone.cache_clear()


@contextmanager
def zones_as_before() -> Iterator[None]:
    """Let this process have its own zones again at the end of the block."""
    before = zoneinfo.TZPATH
    try:
        yield
    finally:
        start_anew(*map(Path, before))

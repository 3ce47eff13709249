"""Time zones as plain numbers: which UTC offset holds from which instant on.

`zoneinfo` answers for one instant at a time and names no transitions; this module finds them, once per zone, by
asking it. It knows nothing of boundaries and frequencies. Times are integer Unix seconds, offsets seconds east.
"""

from __future__ import annotations

import difflib
import zoneinfo
from bisect import bisect_left
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, cast

from chronostream.errors import InvalidTypeError, InvalidValueError

__all__ = ["SAMPLE_S", "Period", "check_zone", "data_release", "find_periods"]

# The shortest offset in the zone data held for 3.99 days (Africa/Freetown, 1939), since 1970 for 6.96 days (Recife,
# Boa_Vista and Noronha in 2000, Gaza from 2040 on). A finer sample than that never steps over two transitions that
# cancel each other; scripts/check-zones measures it again for the installed data.
SAMPLE_S = 3 * 86400


class Period(NamedTuple):
    """A stretch of time with one UTC offset: ``start_s <= t < end_s``."""

    start_s: int
    end_s: int
    offset_s: int


def check_zone(tz: str) -> str:
    """Return `tz` if it is one of `zoneinfo.available_timezones()`, spelt exactly so.

    Raises:
        InvalidValueError: no such zone; the message names the nearest ones.
        InvalidTypeError: not a string.
    """
    if not isinstance(tz, str):
        raise InvalidTypeError(f"time zone is {type(tz).__name__}, expected a string such as 'Europe/Berlin'")
    return _known_zone(tz)


@lru_cache(maxsize=64)
def _known_zone(tz: str) -> str:
    # By the list, not by loading the file: paths out of the directory, "right/" zones (which count leap seconds) and
    # names in another case (which some file systems would find) are no zones.
    names = {name.casefold(): name for name in zoneinfo.available_timezones()}
    if names.get(tz.casefold()) != tz:
        nearest = difflib.get_close_matches(tz.casefold(), names, cutoff=0.5)
        advice = f"did you mean {' or '.join(names[name] for name in nearest)}?" if nearest else "use an IANA name"
        raise InvalidValueError(f"unknown time zone {tz!r}: {advice}")
    return tz


def find_periods(tz: str, start_s: int, end_s: int) -> list[Period]:
    """Return the periods that cover ``start_s <= t < end_s``, in order; neighbours differ in their offset."""
    zone = zoneinfo.ZoneInfo(check_zone(tz))

    def offset_s(second: int) -> int:
        return cast("timedelta", datetime.fromtimestamp(second, zone).utcoffset()) // timedelta(seconds=1)

    starts, offsets = [start_s], [offset_s(start_s)]
    for low in range(start_s, end_s, SAMPLE_S):
        high = min(low + SAMPLE_S, end_s - 1)
        while offset_s(high) != offsets[-1]:
            unsure = range(max(low, starts[-1]) + 1, high + 1)
            start = unsure[bisect_left(unsure, True, key=lambda second: offset_s(second) != offsets[-1])]
            starts.append(start)
            offsets.append(offset_s(start))
    return [Period(*row) for row in zip(starts, [*starts[1:], end_s], offsets, strict=True)]


def data_release(directory: Path) -> str | None:
    """Return the release of a directory of zone files, such as ``2025b``; None if its makers wrote it nowhere."""
    for name in ("tzdata.zi", "+VERSION"):
        try:
            with (directory / name).open(encoding="ascii", errors="replace") as file:
                words = file.readline().removeprefix("# version").split()
        except OSError:
            continue
        if len(words) == 1:
            return words[0]
    return None

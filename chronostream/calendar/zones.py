"""Time zones as plain numbers: which UTC offset holds from which instant on, and by which data.

`zoneinfo` answers for one instant at a time and names no transitions; this module finds them, once per zone, by
asking it. It knows nothing of boundaries and frequencies. Times are integer Unix seconds, offsets seconds east.
"""

from __future__ import annotations

import difflib
import hashlib
import zoneinfo
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Self, cast

from chronostream._renamed import renamed
from chronostream.errors import InvalidTypeError, InvalidValueError

__all__ = [
    "COMMON_SPAN_S",
    "SAMPLE_S",
    "InstalledData",
    "Period",
    "ZoneData",
    "check_zone",
    "find_periods",
    "installed_data",
    "zone_data",
]

# The shortest offset in the zone data held for 3.99 days (Africa/Freetown, 1939), since 1970 for 6.96 days (Recife,
# Boa_Vista and Noronha in 2000, Gaza from 2040 on). A finer sample than that never steps over two transitions that
# cancel each other; scripts/check-zones measures it again for the installed data.
SAMPLE_S = 3 * 86400

COMMON_SPAN_S = 0, 2_208_988_800
"""1970 to 2040: what nearly everybody asks for, and what the digest of a zone's data is made of."""

_DIGEST_BYTES = 8


class Period(NamedTuple):
    """A stretch of time with one UTC offset: ``start_s <= t < end_s``."""

    start_s: int
    end_s: int
    offset_s: int


@dataclass(frozen=True, slots=True)
class ZoneData:
    """The data of one zone, in a form that two hosts can compare.

    A release says little: most releases leave most zones as they are, and the same data comes as fat and as slim
    files. What counts is which offsets hold when, so that is what the digest is made of.

    Attributes:
        timezone: the IANA name.
        digest: equal if and only if the same offsets hold at the same instants, 16 hexadecimal digits.
        version: the release as the system names it, such as ``2025b``, for people; ``"unknown"`` if it does not.
    """

    timezone: str
    digest: str
    version: str

    def __str__(self) -> str:
        return f"{self.timezone} {self.digest} {self.version}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return what `str` gave this text; None if it is something else."""
        words = text.split()
        return cls(*words) if len(words) == 3 else None  # noqa: PLR2004 - it has three attributes

    def agrees(self, other: ZoneData) -> bool:
        """Return whether both give the same boundaries."""
        return (self.timezone, self.digest) == (other.timezone, other.digest)


@dataclass(frozen=True, slots=True)
class InstalledData:
    """Where this machine has zone data, with releases such as ``2025b``; None for what is not there.

    Attributes:
        system: the system's directory of zone files; those come first.
        system_release: their release, None if they do not say.
        package_release: that of the ``tzdata`` package, which is taken where the system has no file.
    """

    system: Path | None
    system_release: str | None
    package_release: str | None

    @property
    def release(self) -> str | None:
        """The release in use, if it is known."""
        return self.package_release if self.system is None else self.system_release


@renamed(tz="timezone")
def check_zone(timezone: str) -> str:
    """Return `timezone` if it is one of `zoneinfo.available_timezones()`, spelt exactly so.

    Raises:
        InvalidValueError: no such zone; the message names the nearest ones.
    """
    if not isinstance(timezone, str):
        raise InvalidTypeError(f"time zone is {type(timezone).__name__}, expected a string such as 'Europe/Berlin'")
    return _known_zone(timezone)


@lru_cache(maxsize=64)
def _known_zone(timezone: str) -> str:
    # By the list, not by loading the file: paths out of the directory, "right/" zones (which count leap seconds) and
    # names in another case (which some file systems would find) are no zones.
    names = {name.casefold(): name for name in zoneinfo.available_timezones()}
    if names.get(timezone.casefold()) != timezone:
        nearest = difflib.get_close_matches(timezone.casefold(), names, cutoff=0.5)
        advice = f"did you mean {' or '.join(names[name] for name in nearest)}?" if nearest else "use an IANA name"
        raise InvalidValueError(f"unknown time zone {timezone!r}: {advice}")
    return timezone


def find_periods(timezone: str, start_s: int, end_s: int) -> list[Period]:
    """Return the periods that cover ``start_s <= t < end_s``, in order; neighbours differ in their offset."""
    zone = zoneinfo.ZoneInfo(check_zone(timezone))

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


@lru_cache(maxsize=16)
def zone_data(timezone: str) -> ZoneData:
    """Return the data that this host has of a zone.

    Raises:
        InvalidValueError: no such zone.
    """
    text = ";".join(f"{start_s},{offset_s}" for start_s, _, offset_s in find_periods(timezone, *COMMON_SPAN_S))
    digest = hashlib.sha256(text.encode()).hexdigest()[: 2 * _DIGEST_BYTES]
    return ZoneData(timezone, digest, installed_data(timezone).release or "unknown")


def installed_data(timezone: str = "Europe/Berlin") -> InstalledData:
    """Return which zone data there is for a zone; `zoneinfo` looks into its path first, then into the package."""
    system = next((Path(place) for place in zoneinfo.TZPATH if (Path(place) / timezone).is_file()), None)
    try:
        package: str | None = import_module("tzdata").IANA_VERSION
    except ModuleNotFoundError:
        package = None
    return InstalledData(system, None if system is None else _release(system), package)


def _release(directory: Path) -> str | None:
    """Return the release of a directory of zone files, if its makers wrote it there."""
    for name in ("tzdata.zi", "+VERSION"):
        try:
            with (directory / name).open(encoding="ascii", errors="replace") as file:
                words = file.readline().removeprefix("# version").split()
        except OSError:
            continue
        if len(words) == 1:
            return words[0]
    return None

"""Time zones as plain numbers: which UTC offset holds from which instant on, and by which data.

`zoneinfo` gives the offset of one instant, but no list of transitions; this module finds them by probing, once per
zone. Times are integer Unix seconds, offsets seconds east.
"""

from __future__ import annotations

import difflib
import hashlib
import struct
import zoneinfo
from bisect import bisect_left
from collections.abc import Iterable
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
    "data_of",
    "find_periods",
    "installed_data",
    "zone_data",
]

# The shortest offset in the zone data held for 3.99 days (Africa/Freetown, 1939), since 1970 for 6.96 days (Recife,
# Boa_Vista and Noronha in 2000, Gaza from 2040 on). A finer sample than that never steps over two transitions that
# cancel each other; scripts/check-zones measures it again for the installed data.
SAMPLE_S = 3 * 86400

COMMON_SPAN_S = 0, 2_208_988_800
"""1970 to 2040: what nearly all callers ask for, and what the digest of a zone's data covers."""

# There are files of these names, but their meaning changes.
_MOVING = {
    "localtime": "it is whatever zone this machine is set to",
    "posixrules": "it is whatever rules this machine has for zones without a name",
    "Factory": "it means that nobody has set this machine's zone yet",
}


class Period(NamedTuple):
    """A stretch of time with one UTC offset: ``start_s <= t < end_s``."""

    start_s: int
    end_s: int
    offset_s: int


@dataclass(frozen=True, slots=True)
class ZoneData:
    """The data of one zone, in a form that two hosts can compare.

    The release will not do: most releases leave most zones as they are. Nor will the bytes of a file, because the same
    data come as fat and as slim files. So the digest is made of the offsets and their times.

    Attributes:
        digest: equal if and only if the same offsets hold at the same instants, 16 hexadecimal digits.
        version: the release, such as ``2025b``, for people; ``"unknown"`` if the system does not name it.
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

    def difference(self, here: ZoneData, name: str) -> str | None:
        """Return that a stream's events were made with these data and the host has others; None if they agree."""
        if self.agrees(here):
            return None
        return f"zone data differ: the events of {name} were made with {self}, this host has {here}"


@dataclass(frozen=True, slots=True)
class InstalledData:
    """Where this machine has zone data, with releases such as ``2025b``; None for what is absent or unknown.

    Attributes:
        system: the system's directory of zone files, which `zoneinfo` uses first.
        package_release: that of the ``tzdata`` package, which it uses if the system has no file.
    """

    system: Path | None
    system_release: str | None
    package_release: str | None


@renamed(tz="timezone")
def check_zone(timezone: str) -> str:
    """Return `timezone` if it is one of `zoneinfo.available_timezones()`, spelt exactly so; the error suggests others.

    A name whose meaning changes, such as ``"localtime"``, is no zone.
    """
    if not isinstance(timezone, str):
        raise InvalidTypeError(f"time zone is {type(timezone).__name__}, expected a string such as 'Europe/Berlin'")
    return _known_zone(timezone)


@lru_cache(maxsize=64)
def _known_zone(timezone: str) -> str:
    if timezone in _MOVING:
        raise InvalidValueError(f"{timezone!r} is no time zone: {_MOVING[timezone]}; name one, such as 'Europe/Berlin'")
    # By the list, not by loading the file: paths out of the directory, "right/" zones (which count leap seconds) and
    # names in another case (which some file systems would find) are no zones.
    names = {name.casefold(): name for name in zoneinfo.available_timezones() - _MOVING.keys()}
    if names.get(timezone.casefold()) != timezone:
        nearest = difflib.get_close_matches(timezone.casefold(), names, cutoff=0.5)
        advice = f"did you mean {' or '.join(names[name] for name in nearest)}?" if nearest else "use an IANA name"
        raise InvalidValueError(f"unknown time zone {timezone!r}: {advice}")
    return timezone


def find_periods(zone: zoneinfo.ZoneInfo, start_s: int, end_s: int) -> list[Period]:
    """Return the periods that cover ``start_s <= t < end_s``, in order; neighbours differ in their offset."""

    def offset(second: int) -> timedelta:
        return cast("timedelta", datetime.fromtimestamp(second, zone).utcoffset())

    starts, offsets = [start_s], [offset(start_s)]
    for low in range(start_s, end_s, SAMPLE_S):
        high = min(low + SAMPLE_S, end_s - 1)
        while offset(high) != offsets[-1]:
            unsure = range(max(low, starts[-1]) + 1, high + 1)
            start = unsure[bisect_left(unsure, True, key=lambda second: offset(second) != offsets[-1])]
            starts.append(start)
            offsets.append(offset(start))
    seconds = [each // timedelta(seconds=1) for each in offsets]
    return [Period(*row) for row in zip(starts, [*starts[1:], end_s], seconds, strict=True)]


def data_of(timezone: str, periods: Iterable[Period]) -> ZoneData:
    """Return the data of a zone whose periods cover at least `COMMON_SPAN_S`."""
    first_s, end_s = COMMON_SPAN_S
    starts = [(max(start_s, first_s), offset_s) for start_s, until_s, offset_s in periods if until_s > first_s]
    text = ";".join(f"{start_s},{offset_s}" for start_s, offset_s in starts if start_s < end_s)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return ZoneData(timezone, digest, _release(_directory(timezone) or _package()) or "unknown")


def zone_data(timezone: str) -> ZoneData:
    """Return the data of a zone that are on disk now; `Calendar.zone_data` are those that this process uses.

    If the zone's file did not change since the last call, this costs one `stat`.

    Raises:
        InvalidValueError: there are none, or they cannot be read, maybe because they are just being replaced.
    """
    try:
        directory = _directory(timezone) or _package()
        found = (Path() if directory is None else directory / timezone).stat()
        return _data_on_disk(timezone, (str(directory), found.st_mtime_ns, found.st_size, found.st_ino))
    except (OSError, LookupError, ValueError, struct.error) as error:  # what zoneinfo raises for half a file
        raise InvalidValueError(f"the data of time zone {timezone!r} cannot be read: {error}") from error


@lru_cache(maxsize=64)
def _data_on_disk(timezone: str, file: tuple[str, int, int, int]) -> ZoneData:  # noqa: ARG001 - a changed file is new
    return data_of(timezone, find_periods(zoneinfo.ZoneInfo.no_cache(timezone), *COMMON_SPAN_S))


def installed_data() -> InstalledData:
    """Return which zone data this machine has."""
    system, package = _directory("Europe/Berlin"), _package()
    return InstalledData(system, _release(system), _release(package))


def _directory(timezone: str) -> Path | None:
    """Return the system's directory that has a zone's file."""
    return next((Path(place) for place in zoneinfo.TZPATH if (Path(place) / timezone).is_file()), None)


def _package() -> Path | None:
    """Return the directory of zone files in the ``tzdata`` package."""
    try:
        return Path(cast("str", import_module("tzdata").__file__)).parent / "zoneinfo"
    except ModuleNotFoundError:
        return None


def _release(directory: Path | None) -> str | None:
    """Return the release of a directory of zone files, if its makers wrote it there."""
    if directory is None:
        return None
    for name in ("tzdata.zi", "+VERSION"):
        try:
            with (directory / name).open(encoding="ascii", errors="replace") as file:
                words = file.readline().removeprefix("# version").split()
        except OSError:
            continue
        if len(words) == 1:
            return words[0][:16]  # as much as fits the stream's state
    return None

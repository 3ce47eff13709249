"""Which zone data this host computes boundaries with, in a form that two hosts can compare.

The version of a data set says little: most releases leave most zones as they are, and the same data comes as fat and
as slim files. What counts is which offsets hold when; so that is what the digest is made of, from 1970 to 2040.
"""

from __future__ import annotations

import hashlib
import zoneinfo
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Self

from chronostream.calendar.zones import check_zone, data_release, find_periods

__all__ = ["ZoneData", "zone_data"]

_SPAN_S = (0, 2_208_988_800)  # 1970 to 2040
_DIGEST_BYTES = 8


@dataclass(frozen=True, slots=True)
class ZoneData:
    """The data of one zone.

    Attributes:
        tz: the IANA name.
        digest: equal if and only if the same offsets hold at the same instants, 16 hexadecimal digits.
        version: the release as the system names it, such as ``2025b``, for people; ``"unknown"`` if it does not.
    """

    tz: str
    digest: str
    version: str

    def __str__(self) -> str:
        return f"{self.tz} {self.digest} {self.version}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return what `str` gave this text; None if it is something else."""
        words = text.split()
        return cls(*words) if len(words) == 3 else None  # noqa: PLR2004 - it has three attributes

    def agrees(self, other: ZoneData) -> bool:
        """Return whether both give the same boundaries."""
        return (self.tz, self.digest) == (other.tz, other.digest)


@lru_cache(maxsize=16)
def zone_data(tz: str) -> ZoneData:
    """Return the data that this host has of a zone.

    Raises:
        InvalidValueError: no such zone.
    """
    periods = find_periods(check_zone(tz), *_SPAN_S)
    text = ";".join(f"{period.start_s},{period.offset_s}" for period in periods)
    return ZoneData(tz, hashlib.sha256(text.encode()).hexdigest()[: 2 * _DIGEST_BYTES], _version(tz))


def _version(tz: str) -> str:
    for directory in map(Path, zoneinfo.TZPATH):
        if (directory / tz).is_file():
            return data_release(directory) or "unknown"
    # As `zoneinfo` does it: what the system does not have comes from the package.
    version: str = import_module("tzdata").IANA_VERSION
    return version

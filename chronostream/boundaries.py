"""The public face of the calendar: which instants are boundaries. `chronostream.calendar` has the rest.

An instant is given as Unix nanoseconds, as an aware `datetime`, as ISO 8601 text or as `numpy.datetime64`, within int64
nanoseconds. Results are Unix nanoseconds. A frequency is a `Frequency`, its name or its number. The time zone, an IANA
name, matters to hours and days only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chronostream._renamed import renamed
from chronostream._values import Instant, instant_ns, instant_range
from chronostream.calendar.calendar import MAX_BOUNDARIES, PERIOD_NS, Calendar, check_timestamps
from chronostream.calendar.zones import check_zone
from chronostream.event import Frequency

__all__ = [
    "MAX_BOUNDARIES",
    "PERIOD_NS",
    "boundaries",
    "check_timestamps",
    "check_zone",
    "count_boundaries",
    "last_boundary",
    "local_days",
    "next_boundary",
]


@renamed(tz="timezone")
def next_boundary(now_ns: Instant, frequency: Frequency | str | int, timezone: str = "UTC") -> int:
    """Return the first boundary strictly after `now_ns`."""
    return Calendar.for_zone(timezone).next(Frequency.parse(frequency), instant_ns("now_ns", now_ns))


@renamed(tz="timezone")
def last_boundary(now_ns: Instant, frequency: Frequency | str | int, timezone: str = "UTC") -> int:
    """Return the greatest boundary at or before `now_ns`."""
    return Calendar.for_zone(timezone).last(Frequency.parse(frequency), instant_ns("now_ns", now_ns))


@renamed(tz="timezone")
def boundaries(
    frequency: Frequency | str | int, start_ns: Instant, end_ns: Instant, timezone: str = "UTC"
) -> npt.NDArray[np.int64]:
    """Return the boundaries ``start_ns <= b < end_ns``, at most `MAX_BOUNDARIES`: int64, shape ``(n,)``, ascending."""
    return Calendar.for_zone(timezone).between(Frequency.parse(frequency), *instant_range(start_ns, end_ns))


@renamed(tz="timezone")
def count_boundaries(
    frequency: Frequency | str | int, start_ns: Instant, end_ns: Instant, timezone: str = "UTC"
) -> int:
    """Return the number of boundaries ``start_ns <= b < end_ns``; it may exceed `MAX_BOUNDARIES`."""
    return Calendar.for_zone(timezone).count(Frequency.parse(frequency), *instant_range(start_ns, end_ns))


@renamed(tz="timezone")
def local_days(timestamps_ns: npt.NDArray[np.int64], timezone: str = "UTC") -> npt.NDArray[np.int64]:
    """Return the local date at each instant, as `datetime.date.toordinal` numbers it: int64, of the same shape.

    Args:
        timestamps_ns: int64 Unix nanoseconds, of any shape.
        timezone: an IANA time zone.
    """
    return Calendar.for_zone(timezone).local_days(check_timestamps(timestamps_ns))

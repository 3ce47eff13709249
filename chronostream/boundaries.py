"""The public face of the calendar: which instants are boundaries. `chronostream.calendar` has the rest."""

from __future__ import annotations

from chronostream.calendar.boundaries import (
    MAX_BOUNDARIES,
    PERIOD_NS,
    boundaries,
    check_timestamps,
    check_zone,
    count_boundaries,
    last_boundary,
    local_days,
    next_boundary,
)

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

"""Whether to believe a reading of the wall clock that no earlier reading confirms (docs/time.md, "First readings")."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Literal

from chronostream._values import SECOND_NS, utc_text
from chronostream.version import EARLIEST_NS

__all__ = ["ClockSync", "ClockTrust", "clock_sync", "doubt"]

ClockTrust = Literal["plausible", "synced", "any"]
"""What to believe: a plausible clock, one that a time service has set, or any."""

# A distribution is maintained for ten years. A clock without a battery starts long before, or anywhere in a century.
_LATEST_NS = EARLIEST_NS + 10 * 365 * 86_400 * SECOND_NS
_UNSYNCHRONISED = 0x40  # STA_UNSYNC of <sys/timex.h>
_TIME_ERROR = 5
_library = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class ClockSync:
    """Whether a time service adjusts the clock, and how wrong it may be, as the kernel knows."""

    synchronised: bool
    largest_error_s: float


class _TimeX(ctypes.Structure):
    """The first fields of ``struct timex``, with room for the others."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("largest_error_us", ctypes.c_long),
        ("estimated_error_us", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def clock_sync() -> ClockSync | None:
    """Ask the kernel for the state of the clock (`adjtimex(2)`); None where it does not say, as in some sandboxes."""
    answer = _TimeX()
    state = _library.adjtimex(ctypes.byref(answer))
    if state < 0:
        return None
    synchronised = state != _TIME_ERROR and not answer.status & _UNSYNCHRONISED
    return ClockSync(synchronised, answer.largest_error_us / 1e6)


def doubt(trust: ClockTrust, realtime_ns: int) -> str:
    """Return why not to believe that the wall clock is right when it reads `realtime_ns`, or an empty text."""
    if trust == "any":
        return ""
    if realtime_ns < EARLIEST_NS:
        return f"before {utc_text(EARLIEST_NS)}, when this version of ChronoStream did not exist"
    if trust == "plausible" and realtime_ns < _LATEST_NS:
        return ""
    sync = clock_sync()
    if sync is not None and sync.synchronised:
        return ""
    unknown = "the kernel does not say whether a time service has set it"
    unset = unknown if sync is None else "no time service has set it"
    return unset if trust == "synced" else f"after {utc_text(_LATEST_NS)}, and {unset}"

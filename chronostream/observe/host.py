"""Facts about this machine that decide how well time can be told on it. Each is asked for when its function is called.

What a fact means is not known here. Where the system has no such fact, the answer is None.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
import time
import zoneinfo
from dataclasses import dataclass
from pathlib import Path

from chronostream.calendar.zones import data_release
from chronostream.clock import SystemClock

__all__ = [
    "ClockSync",
    "Host",
    "Room",
    "ZoneData",
    "clock_sync",
    "may_be_realtime",
    "reading_ns",
    "realtime_limit",
    "sleeps_by",
    "zone_data",
]

_UNSYNCHRONISED = 0x40  # STA_UNSYNC of <sys/timex.h>
_TIME_ERROR = 5
_SAMPLES, _READINGS = 20, 100


@dataclass(frozen=True)
class Host:
    """Where the system tells about itself; other directories stand in for it in tests.

    Attributes:
        proc: what is mounted on ``/proc``.
        sys: what is mounted on ``/sys``.
        shm: where segments are.
    """

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    shm: Path = Path("/dev/shm")  # noqa: S108 - where shm_open keeps its files on Linux, not a temporary file

    def clocksource(self) -> str | None:
        """Return what the kernel tells the time by, such as ``tsc``."""
        return _line(self.sys / "devices/system/clocksource/clocksource0/current_clocksource")

    def timer_slack_ns(self) -> int | None:
        """Return by how much the kernel may delay this process's sleeps."""
        text = _line(self.proc / "self/timerslack_ns")
        return int(text) if text is not None and text.isdecimal() else None

    def kernel(self) -> tuple[str, str, tuple[int, ...]]:
        """Return the system's name, its release as text, and the release's first two numbers."""
        release = _line(self.proc / "sys/kernel/osrelease") or platform.release()
        numbers = release.split("-")[0].split(".")[:2]
        return platform.system(), release, tuple(int(number) for number in numbers if number.isdecimal())

    def room(self) -> Room | None:
        """Return how much shared memory there is."""
        try:
            found = os.statvfs(self.shm)
        except OSError:
            return None
        return Room(
            size=found.f_blocks * found.f_frsize,
            free=found.f_bavail * found.f_frsize,
            names_left=found.f_favail if found.f_files else None,
            writable=os.access(self.shm, os.W_OK | os.X_OK) and not found.f_flag & os.ST_RDONLY,
        )


@dataclass(frozen=True, slots=True)
class Room:
    """The file system that segments are in.

    Attributes:
        size: bytes in all.
        free: bytes that are left.
        names_left: how many files it can still hold; None if that is not limited.
        writable: whether this process may create files there.
    """

    size: int
    free: int
    names_left: int | None
    writable: bool


@dataclass(frozen=True, slots=True)
class ZoneData:
    """The releases of the IANA time zone data, such as ``2025b``; None for what is not there.

    Attributes:
        system: where the system's zone files are; those come first.
        system_release: their release, None if they do not say.
        package_release: that of the ``tzdata`` package, which is taken where the system has no files.
    """

    system: Path | None
    system_release: str | None
    package_release: str | None


@dataclass(frozen=True, slots=True)
class ClockSync:
    """What the kernel knows of the clock's error.

    Attributes:
        synchronised: whether something keeps the clock right.
        largest_error_s: how far it can be off.
    """

    synchronised: bool
    largest_error_s: float


class _TimeX(ctypes.Structure):
    """The beginning of ``struct timex``, with room for what follows."""

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
    """Ask the kernel, changing nothing, whether the clock is kept right (`adjtimex(2)`)."""
    answer = _TimeX()
    state = ctypes.CDLL(None).adjtimex(ctypes.byref(answer))
    if state < 0:
        return None  # A sandbox without the call.
    synchronised = state != _TIME_ERROR and not answer.status & _UNSYNCHRONISED
    return ClockSync(synchronised, answer.largest_error_us / 1e6)


def reading_ns() -> int:
    """Return what one look at the clock takes: the least of several measurements, as the machine may be busy."""
    least_ns = sys.maxsize
    for _ in range(_SAMPLES):
        start_ns = time.perf_counter_ns()
        for _ in range(_READINGS):
            time.time_ns()
        least_ns = min(least_ns, time.perf_counter_ns() - start_ns)
    return least_ns // _READINGS


def sleeps_by() -> str:
    """Return how `SystemClock` waits here: ``"timerfd"`` or ``"sleep"``."""
    with SystemClock() as clock:
        return clock.strategy


def may_be_realtime() -> bool | None:
    """Return whether this process may take a real-time priority: by trying, since a cgroup can forbid it too."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    if policy in (os.SCHED_FIFO, os.SCHED_RR):
        return True  # And it may not be allowed to come back to it.
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return False
    os.sched_setscheduler(0, policy, parameters)
    return True


def realtime_limit() -> int:
    """Return the highest real-time priority that the limits of this process allow."""
    return resource.getrlimit(resource.RLIMIT_RTPRIO)[0]


def zone_data() -> ZoneData:
    """Return which zone data there is; `zoneinfo` looks into its path first, then into the package."""
    system = next((Path(place) for place in zoneinfo.TZPATH if (Path(place) / "Europe/Berlin").is_file()), None)
    try:
        import tzdata  # noqa: PLC0415 - only here, and only to be asked for its release
    except ModuleNotFoundError:
        package = None
    else:
        package = tzdata.IANA_VERSION
    return ZoneData(system, None if system is None else data_release(system), package)


def _line(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline().strip() or None
    except OSError:
        return None

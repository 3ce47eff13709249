"""Facts about this machine that decide how exact time is on it; `chronostream.observe.doctor` judges them.

Each function reads the system when it is called, and returns None where the system does not have the fact.
"""

from __future__ import annotations

import os
import platform
import time
import timeit
from dataclasses import dataclass
from pathlib import Path

from chronostream._values import SECOND_NS
from chronostream.clock import SystemClock
from chronostream.clock.credibility import ClockSync, clock_sync
from chronostream.stream.config import REALTIME_PRIORITY

__all__ = [
    "ClockSync",
    "MachineFacts",
    "Room",
    "clock_sync",
    "may_be_realtime",
    "reading_ns",
    "sleeps_by",
]

_SAMPLES, _READINGS = 20, 100


@dataclass(frozen=True)
class MachineFacts:
    """Facts that the system publishes in files; tests use directories of their own.

    Attributes:
        proc: mount point of procfs.
        sys: mount point of sysfs.
        shm: directory of the segments.
    """

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    shm: Path = Path("/dev/shm")  # noqa: S108 - where shm_open keeps its files on Linux, not a temporary file

    def clocksource(self) -> str | None:
        """Return the kernel's clock source, such as ``tsc``."""
        return _line(self.sys / "devices/system/clocksource/clocksource0/current_clocksource")

    def timer_slack_ns(self) -> int | None:
        """Return by how many nanoseconds the kernel may delay this process's wake-ups."""
        text = _line(self.proc / "self/timerslack_ns")
        return int(text) if text is not None and text.isdecimal() else None

    def kernel(self) -> tuple[str, str, tuple[int, ...]]:
        """Return the system's name, its release, and the first two numbers of the release."""
        release = _line(self.proc / "sys/kernel/osrelease") or platform.release()
        numbers = release.split("-")[0].split(".")[:2]
        return platform.system(), release, tuple(int(number) for number in numbers if number.isdecimal())

    def room(self) -> Room | None:
        """Return the size and state of the shared memory."""
        try:
            stat = os.statvfs(self.shm)
        except OSError:
            return None
        return Room(
            size=stat.f_blocks * stat.f_frsize,
            free=stat.f_bavail * stat.f_frsize,
            files_left=stat.f_favail if stat.f_files else None,
            writable=os.access(self.shm, os.W_OK | os.X_OK) and not stat.f_flag & os.ST_RDONLY,
        )


@dataclass(frozen=True, slots=True)
class Room:
    """The file system of the segments.

    Attributes:
        size: bytes in total.
        free: bytes left.
        files_left: how many more files it can hold; None if it has no limit.
        writable: whether this process may create files there.
    """

    size: int
    free: int
    files_left: int | None
    writable: bool


def reading_ns() -> int:
    """Return how long one reading of the clock takes: the shortest of several, as the machine may be busy."""
    return round(min(timeit.repeat(time.time_ns, repeat=_SAMPLES, number=_READINGS)) / _READINGS * SECOND_NS)


def sleeps_by() -> str:
    """Return the strategy of a `SystemClock` here: ``"timerfd"`` or ``"sleep"``."""
    with SystemClock() as clock:
        return clock.strategy


def may_be_realtime() -> bool | None:
    """Return whether this process may take `REALTIME_PRIORITY`: it tries, because a cgroup can forbid it too."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    if policy in (os.SCHED_FIFO, os.SCHED_RR):
        return True  # Do not try: this process might be unable to get its priority back.
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
    except OSError:
        return False
    os.sched_setscheduler(0, policy, parameters)
    return True


def _line(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline().strip() or None
    except OSError:
        return None

"""Real-time scheduling, and a processor of its own, for a process that must not be late."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor

from chronostream._values import checked_int
from chronostream.errors import InvalidValueError
from chronostream.stream.config import REALTIME_PRIORITY

__all__ = ["apply_priority", "check_cpu", "realtime_problem"]

_log = logging.getLogger(__name__)


def apply_priority(*, realtime: bool = False, cpu: int | None = None, name: str = "") -> None:
    """Set the scheduling of the calling thread, and of threads that it starts later.

    Args:
        realtime: request SCHED_FIFO: the thread runs before every ordinary process. Threads and processes that it
            starts are ordinary again. Without the permission, a warning says how to get it, and nothing changes.
        cpu: the number of the only processor to run on.
        name: of the stream, for the warning.
    """
    if cpu is not None:
        os.sched_setaffinity(0, {check_cpu(cpu)})
    if realtime and (problem := _be_realtime()):
        _log.warning("%s", f"{name}: {problem}" if name else problem)


def check_cpu(cpu: int) -> int:
    """Return the number of a processor that this process may use; refuse another one."""
    cpu = checked_int("cpu", cpu)
    allowed = os.sched_getaffinity(0)
    if cpu not in allowed:
        known = ", ".join(map(str, sorted(allowed)))
        raise InvalidValueError(f"cpu is {cpu}, expected one that this process may use: {known}")
    return cpu


def realtime_problem() -> str | None:
    """Return why this process gets no real-time scheduling; None if it does. A thread of its own tries it."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_be_realtime).result()


def _be_realtime() -> str | None:
    """Request real-time scheduling of the calling thread; return why that failed, None if it did not."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(REALTIME_PRIORITY))
    except PermissionError:
        return (
            f"no real-time scheduling: this process may not have SCHED_FIFO priority {REALTIME_PRIORITY}; going on "
            f"without. Give it CAP_SYS_NICE, a limit `ulimit -r {REALTIME_PRIORITY}`, or under systemd "
            f"LimitRTPRIO={REALTIME_PRIORITY}"
        )
    return None

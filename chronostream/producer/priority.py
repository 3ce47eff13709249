"""How the system treats a process that must not be late: real-time scheduling, and a processor of its choice.

It knows nothing of what the process does.
"""

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
    """Give the calling thread, and threads that it starts later, another place in the system's scheduling.

    Without the permission for real-time scheduling it goes on as it is, and a warning says what would give it.

    Args:
        realtime: ask for SCHED_FIFO: it runs before every ordinary process, the moment it can. Threads and processes
            that it starts are ordinary again.
        cpu: the number of the only processor to run on.
        name: whose thread it is, for the warning.

    Raises:
        InvalidValueError: there is no such processor, or this process may not use it.
    """
    if cpu is not None:
        os.sched_setaffinity(0, {check_cpu(cpu)})
    if realtime and (problem := _be_realtime()):
        _log.warning("%s", f"{name}: {problem}" if name else problem)


def check_cpu(cpu: int) -> int:
    """Return the number of a processor that this process may use; refuse another one.

    Raises:
        InvalidValueError: as for `apply_priority`.
    """
    cpu = checked_int("cpu", cpu)
    allowed = os.sched_getaffinity(0)
    if cpu not in allowed:
        known = ", ".join(map(str, sorted(allowed)))
        raise InvalidValueError(f"cpu is {cpu}, expected one that this process may use: {known}")
    return cpu


def realtime_problem() -> str | None:
    """Return why this process gets no real-time scheduling; None if it does. Tried in a thread of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_be_realtime).result()


def _be_realtime() -> str | None:
    """Ask for real-time scheduling of the calling thread; return why that failed, None if it did not."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(REALTIME_PRIORITY))
    except PermissionError:
        return (
            f"no real-time scheduling: this process may not have SCHED_FIFO priority {REALTIME_PRIORITY}; going on "
            f"without. Give it CAP_SYS_NICE, a limit `ulimit -r {REALTIME_PRIORITY}`, or under systemd "
            f"LimitRTPRIO={REALTIME_PRIORITY}"
        )
    return None

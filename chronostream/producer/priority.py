"""How the system treats a process that must not be late: real-time scheduling, and a processor of its choice.

It knows nothing of what the process does.
"""

from __future__ import annotations

import logging
import os

from chronostream._values import checked_int
from chronostream.errors import InvalidValueError

__all__ = ["apply_priority"]

_log = logging.getLogger(__name__)

# Above what ordinary real-time programs take, below the kernel's own threads that serve interrupts (50).
_FIFO_PRIORITY = 40


def apply_priority(*, realtime: bool = False, cpu: int | None = None) -> None:
    """Give the calling thread, and threads that it starts later, another place in the system's scheduling.

    Without the permission for real-time scheduling it goes on as it is, and a warning says what would give it.

    Args:
        realtime: ask for SCHED_FIFO: it runs before every ordinary process, the moment it can. Threads and processes
            that it starts are ordinary again.
        cpu: the number of the only processor to run on.

    Raises:
        InvalidValueError: there is no such processor, or this process may not use it.
        InvalidTypeError: `cpu` is not an integer.
    """
    if cpu is not None:
        _pin(checked_int("cpu", cpu))
    if realtime:
        _be_realtime()


def _pin(cpu: int) -> None:
    allowed = os.sched_getaffinity(0)
    if cpu not in allowed:
        known = ", ".join(map(str, sorted(allowed)))
        raise InvalidValueError(f"cpu is {cpu}, expected one that this process may use: {known}")
    os.sched_setaffinity(0, {cpu})


def _be_realtime() -> None:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(_FIFO_PRIORITY))
    except PermissionError:
        _log.warning(
            "no real-time scheduling: this process may not have SCHED_FIFO priority %d; going on without. Give it "
            "CAP_SYS_NICE, a limit `ulimit -r %d`, or under systemd LimitRTPRIO=%d",
            _FIFO_PRIORITY,
            _FIFO_PRIORITY,
            _FIFO_PRIORITY,
        )

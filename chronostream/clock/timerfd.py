"""Linux's timerfd: a timer on the wall clock that also reports when that clock is set.

Python 3.13 and later have these calls in `os`; earlier versions call the C library through `ctypes`.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
import weakref

from chronostream._values import SECOND_NS

__all__ = ["NEVER_NS", "WallTimer"]

NEVER_NS = (1 << 63) - 1
"""The latest deadline of a timer, in Unix nanoseconds."""

_COUNT_BYTES = 8
# From <linux/timerfd.h>; `os` has them from Python 3.13 on.
_ABSTIME, _CANCEL_ON_SET = 1, 2
_library = ctypes.CDLL(None, use_errno=True)


class WallTimer:
    """A one-shot absolute timer on CLOCK_REALTIME, cancelled when that clock is set.

    After the clock was set, the next call raises `OSError` with ``errno.ECANCELED``, once.

    Raises:
        OSError: this system has no such timer (``errno.ENOSYS``, in a sandbox), or no descriptor left.
    """

    def __init__(self) -> None:
        self._fd = _create()
        self._descriptor = weakref.finalize(self, os.close, self._fd)
        # Some sandboxes have timers that cannot be cancelled: fail now, not at the first wait.
        self.arm(NEVER_NS)

    def arm(self, deadline_ns: int) -> None:
        """Make the descriptor readable at `deadline_ns`, Unix nanoseconds from 1 to `NEVER_NS`."""
        _arm(self._fd, deadline_ns)

    def fileno(self) -> int:
        """Return the descriptor: readable once the timer expired or was cancelled."""
        return self._fd

    def clear(self) -> None:
        """Acknowledge an expired timer: the descriptor is no longer readable."""
        os.read(self._fd, _COUNT_BYTES)

    def close(self) -> None:
        """Close the descriptor. A second call does nothing."""
        self._descriptor()


class _TimeSpec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("it_interval", _TimeSpec), ("it_value", _TimeSpec))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _create_with_ctypes() -> int:
    # timerfd_create takes the flags of open.
    return _checked(_library.timerfd_create(time.CLOCK_REALTIME, os.O_CLOEXEC | os.O_NONBLOCK))


def _arm_with_ctypes(fd: int, deadline_ns: int) -> None:
    spec = _TimerSpec(it_value=_TimeSpec(*divmod(deadline_ns, SECOND_NS)))
    _checked(_library.timerfd_settime(fd, _ABSTIME | _CANCEL_ON_SET, ctypes.byref(spec), None))


if sys.version_info >= (3, 13):

    def _create() -> int:
        return os.timerfd_create(time.CLOCK_REALTIME, flags=os.TFD_CLOEXEC | os.TFD_NONBLOCK)

    def _arm(fd: int, deadline_ns: int) -> None:
        os.timerfd_settime_ns(fd, flags=os.TFD_TIMER_ABSTIME | os.TFD_TIMER_CANCEL_ON_SET, initial=deadline_ns)
else:
    _create, _arm = _create_with_ctypes, _arm_with_ctypes

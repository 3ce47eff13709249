"""Linux's futex through ctypes, for the portable core, on x86-64 only.

Never with the private flag, because several processes map the word.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys

__all__ = ["AVAILABLE", "futex_wait", "futex_wake_all"]

AVAILABLE = sys.platform == "linux" and platform.machine() == "x86_64"

_SYS_FUTEX = 202
_FUTEX_WAIT, _FUTEX_WAKE = 0, 1
_ALL = 0x7FFFFFFF
_ORDINARY = frozenset({errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT})  # another value, a signal, the time is up


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_int64), ("tv_nsec", ctypes.c_int64))


_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p]


def futex_wait(address: int, expected: int, timeout_s: float) -> bool:
    """Sleep until a wake-up or a signal while the 32-bit word at `address` is `expected`; return whether time is up.

    The GIL is released meanwhile.
    """
    nanoseconds = max(0, round(timeout_s * 1e9))
    timeout = _Timespec(nanoseconds // 1_000_000_000, nanoseconds % 1_000_000_000)
    if _syscall(_SYS_FUTEX, address, _FUTEX_WAIT, expected, ctypes.addressof(timeout)) >= 0:
        return False
    error = ctypes.get_errno()
    if error not in _ORDINARY:
        raise OSError(error, os.strerror(error))
    return error == errno.ETIMEDOUT


def futex_wake_all(address: int) -> None:
    """Wake all that sleep on the 32-bit word at `address`."""
    _syscall(_SYS_FUTEX, address, _FUTEX_WAKE, _ALL, None)

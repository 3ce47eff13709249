"""Linux's futex through ctypes: for the portable core, and for threads that wait for many rings.

Never with the private flag, because several processes map the words.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
import time
from array import array
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

__all__ = ["AVAILABLE", "MOST_WORDS", "can_wait_for_many", "futex_wait", "futex_wait_any", "futex_wake_all", "now_s"]

# The numbers of futex and clock_gettime; that of futex_waitv is everywhere the same.
_NUMBERS = {"x86_64": (202, 228), "aarch64": (98, 113), "riscv64": (98, 113)}
AVAILABLE = sys.platform == "linux" and platform.machine() in _NUMBERS and sys.maxsize > 1 << 32
MOST_WORDS = 128
"""How many words `futex_wait_any` takes at most."""

_SYS_FUTEX, _SYS_CLOCK_GETTIME = _NUMBERS.get(platform.machine(), (0, 0))
_SYS_FUTEX_WAITV = 449
_FUTEX_WAIT, _FUTEX_WAKE = 0, 1
_FUTEX_32 = 2  # in the kernel's `struct futex_waitv` two numbers, flags and zeros
_ALL = 0x7FFFFFFF
_ORDINARY = frozenset({errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT})  # another value, a signal, the time is up
_NAP_S = 0.001


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_int64), ("tv_nsec", ctypes.c_int64))


_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_long]


def futex_wait(address: int, expected: int, timeout_s: float) -> bool:
    """Sleep until a wake-up or a signal while the 32-bit word at `address` is `expected`; return whether time is up.

    The GIL is released meanwhile.
    """
    timeout = _timespec(timeout_s)
    if _syscall(_SYS_FUTEX, address, _FUTEX_WAIT, expected, ctypes.addressof(timeout), 0) >= 0:
        return False
    error = ctypes.get_errno()
    if error not in _ORDINARY:
        raise OSError(error, os.strerror(error))
    return error == errno.ETIMEDOUT


def futex_wait_any(words: Sequence[tuple[int, int]], timeout_s: float) -> None:
    """Sleep as `futex_wait` does on up to `MOST_WORDS` words, each an address and what is expected there.

    Where `can_wait_for_many` is false, only the last one counts. It may return early for any reason.
    """
    if not AVAILABLE:
        time.sleep(min(timeout_s, _NAP_S))
    elif not can_wait_for_many():
        with suppress(OSError):  # Another thread unmapped the word at this moment.
            futex_wait(*words[-1], timeout_s)
    else:
        waiters = array("Q", [number for address, expected in words for number in (expected, address, _FUTEX_32)])
        deadline = _timespec(now_s() + timeout_s)
        arguments = waiters.buffer_info()[0], len(words), 0, ctypes.addressof(deadline), time.CLOCK_MONOTONIC
        if _syscall(_SYS_FUTEX_WAITV, *arguments) < 0 and ctypes.get_errno() not in _ORDINARY:
            time.sleep(min(timeout_s, _NAP_S))


def futex_wake_all(address: int) -> None:
    """Wake all that sleep on the 32-bit word at `address`."""
    if AVAILABLE:
        _syscall(_SYS_FUTEX, address, _FUTEX_WAKE, _ALL, None, 0)


@cache
def can_wait_for_many() -> bool:
    """Return whether the kernel has futex_waitv (Linux 5.16), and lets this process use it."""
    _syscall(_SYS_FUTEX_WAITV, None, 0, 0, None, 0)
    return AVAILABLE and ctypes.get_errno() == errno.EINVAL  # It takes at least one word.


def now_s() -> float:
    """Return the kernel's monotonic clock, which futex_waitv goes by, even if a test has replaced Python's."""
    if not AVAILABLE:
        return time.monotonic()
    now = _Timespec()
    _syscall(_SYS_CLOCK_GETTIME, time.CLOCK_MONOTONIC, ctypes.addressof(now), 0, None, 0)
    return float(now.tv_sec + now.tv_nsec / 1e9)


def _timespec(seconds: float) -> _Timespec:
    nanoseconds = max(0, round(seconds * 1e9))
    return _Timespec(nanoseconds // 1_000_000_000, nanoseconds % 1_000_000_000)

"""Numbers that callers hand in: what is taken for one, and what is said of anything else."""

from __future__ import annotations

import math
import operator
import threading
from typing import SupportsIndex

from chronostream.errors import InvalidTypeError, InvalidValueError

__all__ = ["INT64_MAX", "INT64_MIN", "checked_int", "checked_ns", "checked_seconds"]

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1


def checked_int(name: str, value: SupportsIndex, low: float = -math.inf, high: float = math.inf) -> int:
    """Return an integer of any kind as a plain one; a truth value is none here, though Python has it so.

    Raises:
        InvalidValueError: it is not within `low` to `high`.
        InvalidTypeError: it is not an integer.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise InvalidTypeError(f"{name} is {type(value).__name__}, expected an integer")
    if not low <= number <= high:
        raise InvalidValueError(f"{name} is {number}, expected {low} to {high}")
    return number


def checked_ns(name: str, value: SupportsIndex) -> int:
    """Return nanoseconds that an int64 holds as a plain integer; errors as for `checked_int`."""
    return checked_int(name, value, INT64_MIN, INT64_MAX)


def checked_seconds(name: str, seconds: float) -> float:
    """Return how long to wait, at most what the system can wait.

    Raises:
        InvalidValueError: it is negative, or not a number at all.
        InvalidTypeError: it is of another type than a number's.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidTypeError(f"{name} is {type(seconds).__name__}, expected seconds as a number")
    if not seconds >= 0:
        raise InvalidValueError(f"{name} is {seconds}, expected 0 or more")
    return min(seconds, threading.TIMEOUT_MAX)

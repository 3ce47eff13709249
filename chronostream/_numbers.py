"""Integers that callers hand in: what is taken for one, and what is said of anything else."""

from __future__ import annotations

import math
import operator
from typing import SupportsIndex

from chronostream.errors import InvalidTypeError, InvalidValueError

__all__ = ["INT64_MAX", "INT64_MIN", "checked_int", "checked_ns"]

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

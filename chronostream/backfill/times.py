"""Instants and speeds as people write them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

import numpy as np

from chronostream.errors import InvalidTypeError, InvalidValueError

__all__ = ["instant_ns", "speed_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[+-]?\d+", re.ASCII)
_DATE_DIGITS = 8  # 20240101: a date to ISO 8601, and 20 ms after 1970 as a number
_FINER_THAN_MICROSECONDS = re.compile(r"[.,]\d{7}")
_SPEED = re.compile(r"(\d+(?:\.\d+)?)x", re.ASCII)


def instant_ns(name: str, value: int | str) -> int:
    """Return an instant in Unix nanoseconds.

    Args:
        name: what it is called in messages.
        value: Unix nanoseconds, as a number or its digits; or ISO 8601 such as ``2024-01-31``,
            ``2024-01-31T12:00:00Z`` or ``2024-01-31T12:00+01:00``, in UTC if it names no offset.

    Raises:
        InvalidValueError: it is no instant, or could be two.
        InvalidTypeError: it is neither a string nor an integer.
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    if not isinstance(value, str):
        raise InvalidTypeError(f"{name} is {type(value).__name__}, expected Unix nanoseconds or ISO 8601")
    text = value.strip()
    if _NUMBER.fullmatch(text):
        if len(text) == _DATE_DIGITS:
            raise InvalidValueError(
                f"{name} is {text!r}, a date or {text} ns: write {text[:4]}-{text[4:6]}-{text[6:]} or 0{text}"
            )
        return int(text)
    try:
        if _FINER_THAN_MICROSECONDS.search(text):
            raise ValueError
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidValueError(
            f"{name} is {value!r}, expected ISO 8601 to the microsecond such as 2024-01-31T12:00:00Z, or Unix "
            "nanoseconds"
        ) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return (found - _EPOCH) // timedelta(microseconds=1) * 1000


def speed_of(speed: str | float) -> float:
    """Return how many times faster than time itself; infinity for ``"max"``.

    Args:
        speed: ``"max"``, a number, or one with an x such as ``"1x"`` and ``"60x"``.

    Raises:
        InvalidValueError: it is none of these, or not above 0.
        InvalidTypeError: it is neither a string nor a number.
    """
    if isinstance(speed, bool) or not isinstance(speed, str | int | float):
        raise InvalidTypeError(f"speed is {type(speed).__name__}, expected 'max' or a number")
    if speed == "max":
        return math.inf
    match = _SPEED.fullmatch(speed) if isinstance(speed, str) else None
    factor = float(match[1]) if match else speed
    if isinstance(factor, str) or not 0 < factor < math.inf:
        raise InvalidValueError(f"speed is {speed!r}, expected 'max' or such as '1x', '60x'")
    return float(factor)

"""Integers, seconds, instants and texts: what callers may pass, and how messages write them.

The whole package has one notion of each. An integer is whatever Python can index with, numpy's included. Seconds are
any real number. Bools are neither. An instant is Unix nanoseconds, an aware `datetime`, a `numpy.datetime64` or a text.
"""

from __future__ import annotations

import math
import numbers
import operator
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import SupportsIndex, TypeAlias

import numpy as np

from chronostream.errors import InvalidTypeError, InvalidValueError

__all__ = [
    "INT64_MAX",
    "INT64_MIN",
    "LONGEST_S",
    "SECOND_NS",
    "Instant",
    "check_positive",
    "checked_duration_ns",
    "checked_int",
    "checked_ns",
    "checked_seconds",
    "encode_text",
    "instant_ns",
    "instant_range",
    "instant_text",
    "open_range",
    "seconds_text",
    "utc_text",
]

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
SECOND_NS = 1_000_000_000
LONGEST_S = INT64_MAX // SECOND_NS
"""The longest duration in seconds whose nanoseconds an int64 holds: 292 years."""

Instant: TypeAlias = SupportsIndex | str | datetime | np.datetime64
"""An instant as a person gives it; `instant_ns` says what each form means."""

_PRINTABLE_BITS = 256
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS = re.compile(r"[+-]?\d+", re.ASCII)
_MOST_DIGITS = 1000  # Python does not read an integer of some thousand digits.
_DATE_DIGITS = 8  # 20240101 is a date in ISO 8601, and also 20 ms after 1970.
_FINER_THAN_MICROSECONDS = re.compile(r"[.,]\d{7}")
# Exact ratios: numpy's own conversion to nanoseconds wraps around without a word.
_UNIT_NS = {
    "W": 7 * 86_400 * SECOND_NS,
    "D": 86_400 * SECOND_NS,
    "h": 3600 * SECOND_NS,
    "m": 60 * SECOND_NS,
    "s": SECOND_NS,
    "ms": 1_000_000,
    "us": 1000,
    "ns": 1,
}
_INSTANTS = "Unix nanoseconds, an aware datetime, a numpy.datetime64, or ISO 8601 text such as 2024-01-31T12:00:00Z"


def checked_int(
    name: str, value: SupportsIndex, low: float = -math.inf, high: float = math.inf, *, kind: str = "an integer"
) -> int:
    """Return an integer of any kind as a plain one, if it is within `low` to `high`; bools are rejected."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise InvalidTypeError(f"{name} is {type(value).__name__}, expected {kind}")
    if not low <= number <= high:
        bounds = f"{low} or more" if high == math.inf else f"{low} to {high}"
        # Python itself refuses to write an integer of some thousand digits.
        found = number if number.bit_length() <= _PRINTABLE_BITS else f"an integer of {number.bit_length()} bits"
        raise InvalidValueError(f"{name} is {found}, expected {bounds}")
    return number


def checked_ns(name: str, value: SupportsIndex) -> int:
    """Return nanoseconds as a plain integer, if an int64 can hold them."""
    if type(value) is int and INT64_MIN <= value <= INT64_MAX:  # Nearly always, and each step of a scheduler asks.
        return value
    return checked_int(name, value, INT64_MIN, INT64_MAX)


def checked_seconds(name: str, seconds: float) -> float:
    """Return how long to wait: 0 or more, and at most as long as the system can wait."""
    number = _real(name, seconds)
    if not number >= 0:
        shown = number if math.isinf(number) else seconds
        raise InvalidValueError(f"{name} is {shown}, expected 0 or more")
    return min(number, threading.TIMEOUT_MAX)


def checked_duration_ns(name: str, seconds: float) -> int:
    """Return a finite number of seconds, 0 or more, in nanoseconds, if an int64 can hold them."""
    number = _real(name, seconds)
    if not 0 <= number < math.inf:
        shown = number if math.isinf(number) else seconds
        raise InvalidValueError(f"{name} is {shown}, expected a finite number of seconds from 0 on")
    if number > LONGEST_S:
        raise InvalidValueError(f"{name} is {number:g}, expected at most {LONGEST_S} seconds")
    return round(number * SECOND_NS)


def check_positive(name: str, value: float | None, high: float = math.inf) -> None:
    """Check that a value is a plain number above 0 and at most `high`, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise InvalidTypeError(f"{name} is {type(value).__name__}, expected a number or None")
    if value is not None and not 0 < value <= high:
        bounds = "more than 0" if high == math.inf else f"more than 0 and at most {high}"
        raise InvalidValueError(f"{name} is {value}, expected {bounds}")


def instant_ns(name: str, value: Instant) -> int:
    """Return an instant in Unix nanoseconds, within int64.

    Args:
        name: what messages call it.
        value: Unix nanoseconds as an integer or as digits; an aware `datetime` (of `pandas.Timestamp` the nanoseconds
            too); a `numpy.datetime64`, which counts in UTC; or ISO 8601 such as ``2024-01-31``,
            ``2024-01-31T12:00:00Z`` or ``2024-01-31T12:00+01:00``, in UTC if it names no offset.
    """
    if type(value) is int:
        return checked_ns(name, value)
    if isinstance(value, str):
        return checked_ns(name, _parsed(name, value))
    if isinstance(value, np.datetime64):
        return checked_ns(name, _datetime64_ns(name, value))
    if isinstance(value, datetime):
        if value != value:  # noqa: PLR0124 - what pandas has in place of an instant is unequal to itself
            raise InvalidValueError(f"{name} is NaT, expected an instant")
        if value.utcoffset() is None:
            raise InvalidValueError(f"{name} is {value}, which has no time zone: give it one, such as datetime.UTC")
        return checked_ns(name, _datetime_ns(value))
    try:
        return checked_ns(name, value)
    except InvalidTypeError:
        raise InvalidTypeError(f"{name} is {type(value).__name__}, expected {_INSTANTS}") from None


def instant_range(start: Instant, end: Instant) -> tuple[int, int]:
    """Return a range of time in Unix nanoseconds; messages call its sides start_ns and end_ns."""
    start_ns, end_ns = instant_ns("start_ns", start), instant_ns("end_ns", end)
    if start_ns > end_ns:
        raise InvalidValueError(
            f"the range ends at {end_ns}, before it starts at {start_ns}: start_ns is later than end_ns"
        )
    return start_ns, end_ns


def open_range(start: Instant | None, end: Instant | None) -> tuple[int | None, int | None]:
    """Return a range of time as `instant_range` does; a side that is None is open."""
    start_ns, end_ns = instant_range(INT64_MIN if start is None else start, INT64_MAX if end is None else end)
    return None if start is None else start_ns, None if end is None else end_ns


def encode_text(field: str, text: str, room: int) -> bytes:
    """Return the UTF-8 of a text for a field of `room` bytes that is padded with NUL; it is never cut."""
    if not isinstance(text, str):
        raise InvalidTypeError(f"{field} is {type(text).__name__}, expected a string")
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(f"{field} {text!r} is not valid Unicode: remove the lone surrogates") from error
    if len(encoded) > room:
        raise InvalidValueError(f"{field} {text!r} takes {len(encoded)} bytes of UTF-8, but only {room} fit")
    if b"\0" in encoded:
        raise InvalidValueError(f"{field} {text!r} holds a NUL, which is the padding of its field: remove it")
    return encoded


def utc_text(ns: int) -> str:
    """Return an instant in Unix nanoseconds as text, to the second below."""
    return f"{datetime.fromtimestamp(ns // SECOND_NS, UTC):%Y-%m-%dT%H:%M:%SZ}"


def instant_text(ns: int) -> str:
    """Return an instant in Unix nanoseconds as text, to the nanosecond if it is no whole second."""
    rest = ns % SECOND_NS
    return utc_text(ns).replace("Z", f".{rest:09}Z") if rest else utc_text(ns)


def seconds_text(ns: int) -> str:
    """Return a duration in nanoseconds as text."""
    return f"{ns / SECOND_NS:.3f} s"


def _real(name: str, seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, numbers.Real):
        raise InvalidTypeError(f"{name} is {type(seconds).__name__}, expected a number of seconds")
    try:
        return float(seconds)
    except OverflowError:  # an integer beyond every float
        return math.inf if seconds > 0 else -math.inf


def _parsed(name: str, value: str) -> int:
    text = value.strip()
    if _DIGITS.fullmatch(text):
        if len(text) == _DATE_DIGITS:
            raise InvalidValueError(
                f"{name} is {text!r}, a date or {text} ns: write {text[:4]}-{text[4:6]}-{text[6:]} or 0{text}"
            )
        if len(text) > _MOST_DIGITS:
            raise InvalidValueError(f"{name} has {len(text)} digits, expected {INT64_MIN} to {INT64_MAX}")
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
    return _datetime_ns(found if found.tzinfo else found.replace(tzinfo=UTC))


def _datetime_ns(value: datetime) -> int:
    # A subclass that counts nanoseconds (pandas.Timestamp) keeps those below the microsecond apart.
    below: int = getattr(value, "nanosecond", 0)
    plain = datetime.combine(value.date(), value.timetz())
    return (plain - _EPOCH) // timedelta(microseconds=1) * 1000 + below


def _datetime64_ns(name: str, value: np.datetime64) -> int:
    if np.isnat(value):
        raise InvalidValueError(f"{name} is NaT, expected an instant")
    unit, step = np.datetime_data(value.dtype)
    if unit in {"Y", "M"}:
        value, unit, step = value.astype("M8[D]"), "D", 1
    if unit not in _UNIT_NS:
        raise InvalidValueError(f"{name} counts in {unit}, expected nanoseconds or a longer unit")
    return int(value.astype(np.int64)) * step * _UNIT_NS[unit]

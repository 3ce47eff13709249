"""Text in fields of a fixed width, and instants and durations as text."""

from __future__ import annotations

from datetime import UTC, datetime

from chronostream.errors import InvalidTypeError, InvalidValueError

__all__ = ["encode_text", "instant_text", "seconds_text", "utc_text"]

_SECOND_NS = 1_000_000_000


def encode_text(field: str, text: str, room: int) -> bytes:
    """Return the UTF-8 of a text for a field of `room` bytes that is padded with NUL.

    Raises:
        InvalidValueError: it is longer than the field, holds a NUL, or is not valid Unicode. It is never cut.
        InvalidTypeError: it is not a string.
    """
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
    return f"{datetime.fromtimestamp(ns // _SECOND_NS, UTC):%Y-%m-%dT%H:%M:%SZ}"


def instant_text(ns: int) -> str:
    """Return an instant in Unix nanoseconds as text, to the nanosecond if it is no whole second."""
    rest = ns % _SECOND_NS
    return utc_text(ns).replace("Z", f".{rest:09}Z") if rest else utc_text(ns)


def seconds_text(ns: int) -> str:
    """Return a duration in nanoseconds as text."""
    return f"{ns / _SECOND_NS:.3f} s"

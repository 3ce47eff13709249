"""What several commands take: options that mean the same everywhere, and how their values are read."""

from __future__ import annotations

import math
import re
from enum import StrEnum
from typing import Annotated

import typer

from chronostream.errors import InvalidValueError

__all__ = [
    "AnyOwner",
    "Capacity",
    "For",
    "Format",
    "FormatOption",
    "Frequencies",
    "Group",
    "Mode",
    "Name",
    "RangeEnd",
    "RangeStart",
    "Start",
    "Wait",
    "octal",
    "seconds_of",
]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", re.ASCII)
_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Format(StrEnum):
    """How a command writes what it found."""

    TEXT = "text"
    JSON = "json"


class Start(StrEnum):
    """Where a command begins to read."""

    NEXT = "next"
    OLDEST = "oldest"


Name = Annotated[str, typer.Argument(help="The stream's name.", show_default=False)]
Frequencies = Annotated[
    list[str] | None,
    typer.Option("--frequency", "-f", help="second, minute, hour or day; give it again for more.", show_default=False),
]
FormatOption = Annotated[Format, typer.Option("--format", help="For people, or as JSON for programs.")]
AnyOwner = Annotated[bool, typer.Option("--any-owner", help="Also trust a stream that another user made.")]
Capacity = Annotated[int, typer.Option(help="Events that the ring holds, a power of two.")]
Mode = Annotated[str, typer.Option(help="Permissions of the segment, octal.")]
Group = Annotated[str | None, typer.Option(help="Group of the segment.", show_default=False)]
RangeStart = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Where the range begins: ISO 8601 such as 2024-01-31T12:00Z, or Unix nanoseconds.",
        show_default=False,
    ),
]
RangeEnd = Annotated[
    str | None, typer.Option("--to", help="Where it ends, likewise; itself not part of it.", show_default=False)
]
For = Annotated[
    str | None, typer.Option("--for", help="Stop by itself after this long, such as 10s.", show_default=False)
]
Wait = Annotated[
    str, typer.Option(help="Wait this long, such as 10s, for a stream that is not there yet.", show_default=False)
]


def seconds_of(option: str, text: str) -> float:
    """Return a duration such as ``10s``, ``500ms``, ``5m``, ``1h`` or ``2.5`` (seconds) in seconds.

    Raises:
        InvalidValueError: it is none.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _UNITS_S[match[2] or "s"] if match else math.inf
    if math.isinf(seconds):
        raise InvalidValueError(f"{option} is {text!r}, expected a duration such as 10s, 500ms, 5m or 1h")
    return seconds


def octal(option: str, text: str) -> int:
    """Return permissions such as ``640``.

    Raises:
        InvalidValueError: it is none.
    """
    try:
        return int(text, 8)
    except ValueError:
        raise InvalidValueError(f"{option} is {text!r}, expected octal permissions such as 600 or 640") from None

"""How results are printed, and how figures are written for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import click

from chronostream._stdio import print_lines
from chronostream._values import SECOND_NS

__all__ = ["NO_STREAMS", "age_text", "duration_text", "print_result", "print_streams", "rate_text", "size_text"]

NO_STREAMS = "no streams on this machine: start one with `chronostream run NAME`"

_DURATIONS = (("s", SECOND_NS), ("ms", 1_000_000), ("µs", 1000))
_AGES = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_RATES = (("G", 1e9), ("M", 1e6), ("k", 1e3))


def print_result(format_: str, plain: object, lines: Iterable[str]) -> None:
    """Print a result as one line of JSON, or as lines of text."""
    print_lines(*([json.dumps(plain)] if format_ == "json" else lines))


def print_streams(format_: str, plain: Sequence[object], lines: Iterable[str]) -> None:
    """Print a result about streams; where there are none, say how to start one."""
    if plain or format_ == "json":
        print_result(format_, plain, lines)
    else:
        click.echo(NO_STREAMS, err=True)


def duration_text(ns: float) -> str:
    """Return a duration with three figures, such as ``12.3 µs``."""
    return _scaled(ns, _DURATIONS) or f"{ns:.0f} ns"


def age_text(seconds: float) -> str:
    """Return how long something took, in whole seconds, to its two largest units, such as ``3h 5m``."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, unit_s in _AGES:
        if left >= unit_s or parts:
            parts.append(f"{left // unit_s}{unit}")
            left %= unit_s
    return " ".join(parts[:2]) or "0s"


def rate_text(per_second: float) -> str:
    """Return a rate with three figures, such as ``1.25 M/s``."""
    return f"{_scaled(per_second, _RATES) or _three_figures(per_second)}/s"


def size_text(size: int) -> str:
    """Return a number of bytes in KiB, MiB or GiB."""
    for unit, power in (("GiB", 30), ("MiB", 20)):
        if size >= 1 << power:
            return f"{size / (1 << power):.1f} {unit}"
    return f"{size >> 10} KiB"


def _scaled(value: float, units: Iterable[tuple[str, float]]) -> str:
    """Return a value with three figures in the first unit that it reaches; empty if it reaches none."""
    return next((f"{_three_figures(value / factor)} {unit}" for unit, factor in units if value >= factor), "")


def _three_figures(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"  # noqa: PLR2004

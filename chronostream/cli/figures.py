"""How figures are written for people, and what is said where there is nothing."""

from __future__ import annotations

from chronostream._values import SECOND_NS

__all__ = ["NO_STREAMS", "age_text", "duration_text", "rate_text", "size_text"]

NO_STREAMS = "no streams on this machine: start one with `chronostream run NAME`"

_DURATIONS = (("s", SECOND_NS), ("ms", 1_000_000), ("µs", 1000))
_AGES = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_RATES = (("G", 1e9), ("M", 1e6), ("k", 1e3))


def duration_text(ns: float) -> str:
    """Return a duration with three figures, such as ``12.3 µs``."""
    for unit, unit_ns in _DURATIONS:
        if ns >= unit_ns:
            return f"{_three_figures(ns / unit_ns)} {unit}"
    return f"{ns:.0f} ns"


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
    for prefix, factor in _RATES:
        if per_second >= factor:
            return f"{_three_figures(per_second / factor)} {prefix}/s"
    return f"{_three_figures(per_second)}/s"


def size_text(size: int) -> str:
    """Return a number of bytes in KiB, MiB or GiB."""
    for unit, power in (("GiB", 30), ("MiB", 20)):
        if size >= 1 << power:
            return f"{size / (1 << power):.1f} {unit}"
    return f"{size >> 10} KiB"


def _three_figures(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"  # noqa: PLR2004

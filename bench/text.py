"""Values as text."""

from __future__ import annotations

from bench.scenario import Unit

__all__ = ["value_text"]

_SCALES: dict[Unit, tuple[tuple[float, str], ...]] = {
    "ns": ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns")),
    "per s": ((1e9, "G/s"), (1e6, "M/s"), (1e3, "k/s"), (1, "/s")),
    "share": ((0.01, "%"),),
}


def value_text(value: float, unit: Unit) -> str:
    """Return a value with three significant digits and its unit; a count in full."""
    if unit == "count":
        return f"{value:,.0f}"
    scales = _SCALES[unit]
    scale, name = next(((scale, name) for scale, name in scales if abs(value) >= scale), scales[-1])
    scaled = value / scale
    return f"{scaled:.{max(0, 3 - len(str(int(abs(scaled)))))}f} {name}"

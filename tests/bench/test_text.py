from __future__ import annotations

import pytest

from bench.scenario import Unit
from bench.text import value_text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "ns", "0.00 ns"),
        (3.14159, "ns", "3.14 ns"),
        (31.4159, "ns", "31.4 ns"),
        (1234.5, "ns", "1.23 µs"),
        (99_900_000, "ns", "99.9 ms"),
        (-2500, "ns", "-2.50 µs"),
        (225e6, "per s", "225 M/s"),
        (0.0012, "share", "0.12 %"),
        (0, "share", "0.00 %"),
        (1234567, "count", "1,234,567"),
    ],
)
def test_a_value_reads_with_three_digits_and_its_unit(value: float, unit: Unit, text: str) -> None:
    assert value_text(value, unit) == text

from __future__ import annotations

import pytest

from chronostream.cli.figures import age_text, duration_text, rate_text, size_text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1000, "1.00 µs"),
        (12_345, "12.3 µs"),
        (123_456, "123 µs"),
        (7_640_000, "7.64 ms"),
        (9_996_000, "10.0 ms"),
        (1_500_000_000, "1.50 s"),
        (4400 * 10**9, "4400 s"),
    ],
)
def test_durations_have_three_figures(ns: int, text: str) -> None:
    assert duration_text(ns) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (0.9, "0s"), (59, "59s"), (60, "1m 0s"), (3725, "1h 2m"), (86400, "1d 0h"), (100 * 86400, "100d 0h")],
)
def test_ages_have_two_units(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0, "0.00/s"), (1, "1.00/s"), (999, "999/s"), (2500, "2.50 k/s"), (3e6, "3.00 M/s"), (4e9, "4.00 G/s")],
)
def test_rates_have_three_figures(rate: float, text: str) -> None:
    assert rate_text(rate) == text


@pytest.mark.parametrize(("size", "text"), [(45056, "44 KiB"), (8 << 20, "8.0 MiB"), (3 << 29, "1.5 GiB")])
def test_sizes_have_their_unit(size: int, text: str) -> None:
    assert size_text(size) == text

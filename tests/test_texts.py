from __future__ import annotations

import pytest

from chronostream._texts import instant_text, utc_text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (1_771_582_543_999_999_999, "2026-02-20T10:15:43Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
    ],
)
def test_an_instant_is_told_to_the_second_below(ns: int, text: str) -> None:
    assert utc_text(ns) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (1_771_582_543_000_000_000, "2026-02-20T10:15:43Z"),
        (1_771_582_543_000_000_007, "2026-02-20T10:15:43.000000007Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_an_exact_instant_has_its_nanoseconds(ns: int, text: str) -> None:
    assert instant_text(ns) == text

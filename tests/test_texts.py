from __future__ import annotations

import pytest

from chronostream._texts import instant_text, utc_text


@pytest.mark.parametrize(
    ("ns", "to_the_second", "exact"),
    [
        (1_771_582_543_000_000_000, "2026-02-20T10:15:43Z", "2026-02-20T10:15:43Z"),
        (1_771_582_543_000_000_007, "2026-02-20T10:15:43Z", "2026-02-20T10:15:43.000000007Z"),
        (-1, "1969-12-31T23:59:59Z", "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_an_instant_is_told_to_the_second_below_or_exactly(ns: int, to_the_second: str, exact: str) -> None:
    assert (utc_text(ns), instant_text(ns)) == (to_the_second, exact)

"""A short run of the long one: scripts/soak."""

from __future__ import annotations

import re

from tests.ring.harness import run_script


def test_ten_seconds_of_everything_that_goes_wrong_violate_nothing() -> None:
    printed = run_script("soak", "--for", "10s", "--seed", 1)
    assert printed.endswith("no violation\n")
    figures = re.search(
        r"(\d+) events published, (\d+) read, \d+ overrun, (\d+) producers and (\d+) consumers killed, "
        r"(\d+) takeovers, (\d+) clock steps",
        printed,
    )
    assert figures is not None
    assert all(int(figure) > 0 for figure in figures.groups())

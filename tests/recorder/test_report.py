from __future__ import annotations

import pytest

from chronostream.recorder.report import position_ranges, ranges_text


@pytest.mark.parametrize(
    ("positions", "text"),
    [
        ([], ""),
        ([4], "4"),
        ([4, 5, 7], "4 to 5, 7"),
        ([*range(0, 24, 2)], "0, 2, 4, 6, 8, 10, 12, 14, 16, 18 and 2 more ranges"),
    ],
)
def test_positions_are_written_as_ranges(positions: list[int], text: str) -> None:
    ranges = position_ranges(positions)
    assert [position for each in ranges for position in each] == positions
    assert ranges_text(ranges) == text

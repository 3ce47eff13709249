from __future__ import annotations

import pytest

from chronostream.cli.options import seconds_of
from chronostream.errors import InvalidValueError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("500ms", 0.5), ("5m", 300), ("1h", 3600), ("2d", 172_800), ("2.5", 2.5), (" 3 s ", 3), ("0", 0)],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert seconds_of("--for", text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1e3", "1 week", "inf", "nan", "٣s", "10s10s", "9" * 400])
def test_anything_else_is_refused_with_the_options_name(text: str) -> None:
    with pytest.raises(InvalidValueError, match=r"--for is .*, expected a duration such as 10s"):
        seconds_of("--for", text)

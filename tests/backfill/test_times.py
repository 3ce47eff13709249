from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from chronostream.backfill.times import instant_ns, speed_of
from chronostream.errors import InvalidTypeError, InvalidValueError

_NEW_YEAR_NS = 1_704_067_200_000_000_000


@pytest.mark.parametrize(
    "value",
    [
        _NEW_YEAR_NS,
        np.int64(_NEW_YEAR_NS),
        str(_NEW_YEAR_NS),
        "2024-01-01",
        "2024-01-01T00:00",
        "2024-01-01T00:00:00Z",
        "2024-01-01 01:00:00+01:00",
        " 2024-01-01T00:00:00.000000Z ",
        "2023-12-31T19:00-05:00",
    ],
)
def test_an_instant_may_be_written_in_several_ways(value: int | str) -> None:
    assert instant_ns("start", value) == _NEW_YEAR_NS


def test_microseconds_are_exact() -> None:
    assert instant_ns("start", "2024-01-01T00:00:00.000001Z") == _NEW_YEAR_NS + 1000
    assert instant_ns("start", "1969-12-31T23:59:59.999999Z") == -1000


@pytest.mark.parametrize("value", ["yesterday", "", "2024-13-01", "12:00", "1.5", "2024-01-01T00:00:00.0000001Z"])
def test_what_is_no_instant_is_refused(value: str) -> None:
    with pytest.raises(InvalidValueError, match=r"^--from is .*expected ISO 8601"):
        instant_ns("--from", value)


def test_a_date_that_is_a_number_too_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="write 2024-01-01 or 020240101"):
        instant_ns("--from", "20240101")
    assert instant_ns("--from", "020240101") == 20_240_101


@pytest.mark.parametrize("value", [1.5, None, True])
def test_an_instant_of_another_kind_is_refused(value: Any) -> None:
    with pytest.raises(InvalidTypeError, match="expected Unix nanoseconds"):
        instant_ns("start", value)


@pytest.mark.parametrize(("speed", "factor"), [("max", math.inf), ("1x", 1), ("60x", 60), ("0.5x", 0.5), (7, 7)])
def test_a_speed_is_a_factor(speed: str | float, factor: float) -> None:
    assert speed_of(speed) == factor


@pytest.mark.parametrize("speed", ["0x", 0, -1, math.nan, math.inf, "x", "fast", "60", "-1x", "infx"])
def test_what_is_no_speed_is_refused(speed: str | float) -> None:
    with pytest.raises(InvalidValueError, match="expected 'max' or such as '1x'"):
        speed_of(speed)


@pytest.mark.parametrize("speed", [None, True, [1]])
def test_a_speed_of_another_kind_is_refused(speed: Any) -> None:
    with pytest.raises(InvalidTypeError, match="expected 'max' or a number"):
        speed_of(speed)

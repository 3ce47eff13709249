from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import pytest

from chronostream import Frequency
from chronostream._numbers import INT64_MAX, INT64_MIN, checked_int, checked_ns, checked_seconds
from chronostream.errors import InvalidTypeError, InvalidValueError


@pytest.mark.parametrize("number", [1, Frequency.SECOND, np.int64(1), np.uint64(1), np.uint8(1), np.array(1)], ids=repr)
def test_an_integer_of_any_kind_becomes_a_plain_one(number: Any) -> None:
    found = checked_int("count", number)
    assert (found, type(found)) == (1, int)


@pytest.mark.parametrize(
    "value",
    [1.0, True, "1", None, 1j, int, np.float64(1), np.bool_(True), np.array([1]), np.datetime64(1, "ns")],
    ids=repr,
)
def test_what_only_looks_like_an_integer_is_none(value: Any) -> None:
    with pytest.raises(InvalidTypeError, match=f"^count is {type(value).__name__}, expected an integer$"):
        checked_int("count", value)


def test_an_integer_may_be_as_large_as_it_likes_unless_there_are_limits() -> None:
    assert checked_int("count", -(1 << 70)) == -(1 << 70)
    assert [checked_int("count", number, 1, 3) for number in (1, 3)] == [1, 3]
    for number in (0, 4):
        with pytest.raises(InvalidValueError, match=f"^count is {number}, expected 1 to 3$"):
            checked_int("count", number, 1, 3)


def test_nanoseconds_are_those_that_an_int64_holds() -> None:
    assert [checked_ns("now_ns", number) for number in (INT64_MIN, INT64_MAX)] == [INT64_MIN, INT64_MAX]
    for number in (INT64_MIN - 1, INT64_MAX + 1):
        with pytest.raises(InvalidValueError, match=f"^now_ns is {number}, expected -9223372036854775808 to 92233720"):
            checked_ns("now_ns", number)


@pytest.mark.parametrize(("seconds", "wait_s"), [(0, 0), (0.5, 0.5), (math.inf, threading.TIMEOUT_MAX)])
def test_a_wait_is_at_most_what_the_system_can_wait(seconds: float, wait_s: float) -> None:
    assert checked_seconds("wait_s", seconds) == wait_s


@pytest.mark.parametrize("seconds", [-1, math.nan])
def test_a_wait_of_less_than_nothing_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidValueError, match=f"^wait_s is {seconds}, expected 0 or more$"):
        checked_seconds("wait_s", seconds)


@pytest.mark.parametrize("seconds", ["1", True, None, 1j])
def test_a_wait_that_is_no_number_is_refused(seconds: Any) -> None:
    with pytest.raises(InvalidTypeError, match=f"^wait_s is {type(seconds).__name__}, expected seconds as a number$"):
        checked_seconds("wait_s", seconds)

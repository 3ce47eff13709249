from __future__ import annotations

import math
import re
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chronostream import Frequency
from chronostream._values import (
    INT64_MAX,
    INT64_MIN,
    LONGEST_S,
    Instant,
    check_positive,
    checked_duration_ns,
    checked_int,
    checked_ns,
    checked_seconds,
    instant_ns,
    instant_range,
    instant_text,
    open_range,
    utc_text,
)
from chronostream.errors import InvalidTypeError, InvalidValueError

_NEW_YEAR_NS = 1_704_067_200_000_000_000


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
    with pytest.raises(InvalidValueError, match=r"^count is 0, expected 1 or more$"):
        checked_int("count", 0, 1)


@pytest.mark.parametrize("digits", [400, 5000])
def test_an_integer_too_long_to_be_written_is_refused_by_its_size(digits: int) -> None:
    with pytest.raises(InvalidValueError, match=r"^count is an integer of \d+ bits, expected 1 to 3$"):
        checked_int("count", 10**digits, 1, 3)


def test_nanoseconds_are_those_that_an_int64_holds() -> None:
    assert [checked_ns("now_ns", number) for number in (INT64_MIN, INT64_MAX)] == [INT64_MIN, INT64_MAX]
    for number in (INT64_MIN - 1, INT64_MAX + 1):
        with pytest.raises(InvalidValueError, match=f"^now_ns is {number}, expected -9223372036854775808 to 92233720"):
            checked_ns("now_ns", number)


@pytest.mark.parametrize(
    ("seconds", "wait_s"),
    [(0, 0), (0.5, 0.5), (np.float32(0.5), 0.5), (np.int64(2), 2), (math.inf, threading.TIMEOUT_MAX)],
)
def test_a_wait_is_at_most_what_the_system_can_wait(seconds: float, wait_s: float) -> None:
    assert checked_seconds("wait_s", seconds) == wait_s


@pytest.mark.parametrize("seconds", [-1, math.nan])
def test_a_wait_of_less_than_nothing_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidValueError, match=f"^wait_s is {seconds}, expected 0 or more$"):
        checked_seconds("wait_s", seconds)


@pytest.mark.parametrize("seconds", ["1", True, np.True_, None, 1j])
def test_a_wait_that_is_no_number_is_refused(seconds: Any) -> None:
    with pytest.raises(InvalidTypeError, match=f"^wait_s is {type(seconds).__name__}, expected a number of seconds$"):
        checked_seconds("wait_s", seconds)


@pytest.mark.parametrize("value", [1, 0.5, math.inf, 10**400, None])
def test_a_number_above_zero_or_none_is_positive(value: float | None) -> None:
    check_positive("max_bytes", value)
    check_positive("days", None if value is None else min(value, 7), 7)


@pytest.mark.parametrize("value", [0, -1, -0.0, math.nan, -math.inf])
def test_a_number_that_is_not_above_zero_is_refused(value: float) -> None:
    with pytest.raises(InvalidValueError, match=f"^max_bytes is {value}, expected more than 0$"):
        check_positive("max_bytes", value)
    with pytest.raises(InvalidValueError, match="days is 8, expected more than 0 and at most 7"):
        check_positive("days", 8, 7)


@pytest.mark.parametrize("value", [True, False, "1", [1]], ids=str)
def test_what_is_no_plain_number_is_not_positive(value: Any) -> None:
    with pytest.raises(InvalidTypeError, match=f"^max_bytes is {type(value).__name__}, expected a number or None$"):
        check_positive("max_bytes", value)


@pytest.mark.parametrize(("seconds", "ns"), [(0, 0), (1.5, 1_500_000_000), (np.float64(1e-9), 1)])
def test_a_duration_becomes_nanoseconds(seconds: float, ns: int) -> None:
    assert checked_duration_ns("settle_s", seconds) == ns


@pytest.mark.parametrize("seconds", [math.inf, 10**400, -(10**5000)], ids=["infinite", "large", "negative"])
def test_a_duration_beyond_reckoning_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidValueError, match=r"^settle_s is .*, expected a finite number of seconds from 0 on$"):
        checked_duration_ns("settle_s", seconds)


def test_a_duration_is_at_most_what_an_int64_of_nanoseconds_holds() -> None:
    assert checked_duration_ns("settle_s", LONGEST_S) == LONGEST_S * 1_000_000_000 <= INT64_MAX
    for seconds in (LONGEST_S + 1, 1e300):
        with pytest.raises(InvalidValueError, match=rf"^settle_s is {re.escape(f'{seconds:g}')}, expected at most 92"):
            checked_duration_ns("settle_s", seconds)


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
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 1, 1, 5, 45, tzinfo=timezone(timedelta(hours=5, minutes=45))),
        pd.Timestamp("2024-01-01", tz="Europe/Berlin") + pd.Timedelta(hours=1),
        np.datetime64("2024-01-01"),
        np.datetime64("2024"),
        np.datetime64("2024-01-01T00:00:00.000000000"),
        np.datetime64(_NEW_YEAR_NS // 30_000_000_000, ("s", 30)),
    ],
)
def test_an_instant_may_be_written_in_several_ways(value: Instant) -> None:
    assert instant_ns("start", value) == _NEW_YEAR_NS


def test_microseconds_are_exact() -> None:
    assert instant_ns("start", "2024-01-01T00:00:00.000001Z") == _NEW_YEAR_NS + 1000
    assert instant_ns("start", "1969-12-31T23:59:59.999999Z") == -1000
    assert instant_ns("start", datetime(2024, 1, 1, 0, 0, 0, 1, UTC)) == _NEW_YEAR_NS + 1000


def test_nanoseconds_that_a_type_counts_are_kept() -> None:
    assert instant_ns("start", pd.Timestamp(_NEW_YEAR_NS + 1_001, tz="UTC")) == _NEW_YEAR_NS + 1_001
    assert instant_ns("start", np.datetime64(_NEW_YEAR_NS + 1, "ns")) == _NEW_YEAR_NS + 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (datetime(2024, 1, 1), "has no time zone"),  # noqa: DTZ001 - that is the fault
        (pd.Timestamp("2024-01-01"), "has no time zone"),
        (pd.NaT, "is NaT"),
        (np.datetime64("NaT"), "is NaT"),
        (np.datetime64(1, "ps"), "counts in ps"),
        (np.datetime64("9999-01-01"), "expected -9223372036854775808 to"),
        ("9999-01-01", "expected -9223372036854775808 to"),
        (1 << 63, "expected -9223372036854775808 to"),
    ],
)
def test_an_instant_that_is_ambiguous_or_beyond_int64_is_refused(value: Any, message: str) -> None:
    with pytest.raises(InvalidValueError, match=f"^start {message}|^start is .*{re.escape(message)}"):
        instant_ns("start", value)


def test_an_instant_of_too_many_digits_is_refused_by_their_number() -> None:
    with pytest.raises(InvalidValueError, match=r"^--from has 5000 digits, expected -9223372036854775808 to"):
        instant_ns("--from", "9" * 5000)


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


def test_a_range_is_given_by_two_instants_in_order() -> None:
    assert instant_range("2024-01-01", np.int64(_NEW_YEAR_NS)) == (_NEW_YEAR_NS, _NEW_YEAR_NS)
    with pytest.raises(InvalidValueError, match=r"^the range ends at 1, before it starts at 2: start_ns is later than"):
        instant_range(2, 1)


def test_a_side_of_a_range_may_be_open() -> None:
    assert open_range(None, "2024-01-01") == (None, _NEW_YEAR_NS)
    assert open_range("2024-01-01", None) == (_NEW_YEAR_NS, None)
    with pytest.raises(InvalidTypeError, match=r"^end_ns is float, expected Unix nanoseconds"):
        open_range(None, 0.5)  # type: ignore[arg-type]  # on purpose

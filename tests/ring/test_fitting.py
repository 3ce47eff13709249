from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chronostream.ring.fitting import check_fits

NESTED = np.dtype([("a", [("b", "i1"), ("c", "<U3")]), ("d", "u1", (2, 2)), ("e", [("f", "?")], 2)])


def stored(value: Any, dtype: Any) -> Any:
    """Return what numpy makes of a value, without a word about what it changed."""
    row = np.zeros(1, dtype)
    with np.errstate(all="ignore"):
        row[0] = value
    return row[0]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (127, "i1"),
        (True, "u1"),
        (3.0, "<i4"),
        (Fraction(1, 3), "<f8"),
        (Decimal("0.1"), "<f8"),
        (0.1, "<f2"),
        (-math.inf, "<f4"),
        (1 / 3 + 0.1j, "<c8"),
        (complex(math.nan, 1), "<c16"),
        ("ab", "S2"),
        (b"ab", "<U2"),
        ("ab\0", "<U2"),
        (b"ab\0\0", "S5"),
        (b"ab", "V2"),
        (np.void(b"ab"), "V5"),
        ("2026-11-24T10:00", "<M8[s]"),
        (dt.datetime(2026, 11, 24, 10), "<M8[us]"),  # noqa: DTZ001 - numpy's have no zone
        (pd.Timestamp("2026-11-24T10:00:00.000001"), "<M8[ns]"),
        (np.datetime64("2026-11-24", "D"), "<M8[ns]"),
        (np.timedelta64(5, "s"), "<m8[ms]"),
        (np.timedelta64("NaT", "ms"), "<m8[ms]"),
        (-5, "<m8[ms]"),
        (((5, "abc"), [[1, 2], [3, 4]], [(True,), (0,)]), NESTED),
        (((5, ""), 7, [(True,), (0,)]), NESTED),
        (((5, ""), np.ones((2, 2)), np.zeros(2, [("f", "?")])), NESTED),
    ],
    ids=repr,
)
def test_a_value_that_is_kept_fits(value: Any, dtype: Any) -> None:
    dtype = np.dtype(dtype)
    rows = np.array([stored(value, dtype)] * 2, dtype)
    check_fits(rows, [value] * 2)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.int64(200), "i1"),
        (np.uint64(1 << 63), "<i8"),
        (3.5, "<i4"),
        (2, "?"),
        ("5", "<i8"),
        ("5", "<f8"),
        (70000, "<f2"),
        (1e39 + 1j, "<c8"),
        (None, "<f8"),
        (np.ma.masked, "<f8"),
        ("abc", "<U2"),
        ("abc", "S2"),
        (b"abc", "S2"),
        (5, "<U2"),
        (None, "<U5"),
        (b"abc", "V2"),
        ("2026-11-24T10:00:00.5", "<M8[s]"),
        (dt.datetime(2026, 11, 24, 10), "<M8[D]"),  # noqa: DTZ001 - likewise
        (pd.Timestamp("2026-11-24T10:00:00.000000001"), "<M8[ns]"),
        (np.datetime64("9999", "Y"), "<M8[ns]"),
        (np.timedelta64(5, "ms"), "<m8[s]"),
        (((300, "abc"), 0, [(True,), (0,)]), NESTED),
        (((5, "abcd"), 0, [(True,), (0,)]), NESTED),
        (((5, "abc"), [[1, 2], [3, np.int64(260)]], [(True,), (0,)]), NESTED),
        (((5, "abc"), 0, [(True,), (2,)]), NESTED),
        ((5, 0, [(True,), (0,)]), NESTED),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore")  # numpy's own, which most do without
def test_a_value_that_numpy_changed_does_not_fit(value: Any, dtype: Any) -> None:
    dtype = np.dtype(dtype)
    try:
        found = stored(value, dtype)
    except (TypeError, ValueError, OverflowError):
        return  # This numpy refuses it itself.
    with pytest.raises(ValueError, match="does not fit"):
        check_fits(np.array([found], dtype), [value])


def test_one_that_does_not_fit_among_many_is_found() -> None:
    rows = np.zeros(3, NESTED)
    values: list[Any] = [((0, ""), [[0, 0], [0, 0]], [(False,), (False,)])] * 3
    check_fits(rows, values)
    rows["d"][2, 1, 1] = 7
    with pytest.raises(ValueError, match="does not fit"):
        check_fits(rows, values)


def test_what_does_not_fit_is_shown_but_not_at_any_length() -> None:
    with pytest.raises(ValueError, match=r"^'ab' does not fit$"):
        check_fits(np.array(["a"]), ["ab"])
    with pytest.raises(ValueError, match=r"^'a{79}… does not fit$"):
        check_fits(np.array(["a"]), ["a" * 1000])

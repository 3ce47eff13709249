from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronostream.errors import CorruptSegmentError, InvalidTypeError, InvalidValueError
from chronostream.event import EVENT_DTYPE
from chronostream.ring.dtypes import checked_dtype, dtype_from_text, dtype_to_text

FIT = [
    "?",
    "i1",
    "<u2",
    ">i4",
    "<f2",
    "<f8",
    "<c16",
    "S5",
    "<U3",
    "V7",
    "<M8[ns]",
    "<M8[25s]",
    "<m8[D]",
    "<M8[us]",
    np.longdouble,
    int,
    EVENT_DTYPE,
    [("a", "<i8"), ("b", "<f8", (2, 3)), ("c", [("d", "S3"), ("e", "<M8[ms]", 2)])],
    np.dtype([("a", "u1"), ("b", "<i8")], align=True),
    {"names": ["late", "early"], "formats": ["<i4", "<i2"], "offsets": [12, 1], "itemsize": 40},
    [("größe", "<i4"), ("\ud800", "<i4")],
    np.rec.array([(1, 2.0)], dtype=[("a", "<i8"), ("b", "<f8")]).dtype,
]


def nested(depth: int) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype("<i8")
    for _ in range(depth):
        dtype = np.dtype([("a", dtype)])
    return dtype


@pytest.mark.parametrize("dtype", FIT, ids=str)
def test_a_fixed_width_dtype_survives_the_header(dtype: Any) -> None:
    checked = checked_dtype(dtype)
    assert checked == np.dtype(dtype)
    assert dtype_from_text(dtype_to_text(checked)) == checked


@pytest.mark.parametrize(
    "dtype",
    [
        object,
        [("a", object)],
        None,
        "no dtype",
        "(2,",
        42,
        {"names": ["a"], "formats": ["<i8"], "offsets": [1 << 70]},
        ("<f8", (3,)),
        [("a", "<f8", (0,)), ("b", "<i8")],
        nested(9),
        {"names": ["a"], "formats": ["<i4"], "titles": ["A"]},
    ],
    ids=str,
)
def test_what_no_other_process_could_read_is_refused(dtype: Any) -> None:
    with pytest.raises(InvalidTypeError):
        checked_dtype(dtype)


def test_text_of_no_fixed_width_is_refused() -> None:
    string = getattr(np.dtypes, "StringDType", None)
    if string is None:
        pytest.skip("this numpy has no such dtype")
    with pytest.raises(InvalidTypeError, match="holds Python objects"):
        checked_dtype(string())


@pytest.mark.parametrize("dtype", ["S0", "V0", [], f"V{(1 << 30) + 1}"], ids=str)
def test_a_width_of_zero_or_beyond_a_gigabyte_is_refused(dtype: Any) -> None:
    with pytest.raises(InvalidValueError, match="bytes wide, expected 1 to 1073741824"):
        checked_dtype(dtype)


def test_the_deepest_nesting_is_accepted() -> None:
    assert checked_dtype(nested(8)) == nested(8)


def test_the_text_says_what_numpy_says() -> None:
    dtype = np.dtype([("a", "<i8"), ("b", "<f4", (2,))])
    assert json.loads(dtype_to_text(dtype)) == {
        "names": ["a", "b"],
        "formats": ["<i8", ["<f4", [2]]],
        "offsets": [0, 8],
        "itemsize": 16,
    }


def _structure(**changes: Any) -> bytes:
    return json.dumps({"names": ["a"], "formats": ["<i8"], "offsets": [0], "itemsize": 8} | changes).encode()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"not JSON",
        b"null",
        b"7",
        b'"<i8',
        b'"O"',
        b'"|O8"',
        b'"i8"',
        b'"<i8, <i8"',
        b'"<i3"',
        b'"|S0"',
        b'"|V9999999999"',
        b'"|V999999999999"',
        b'"<M8[parsec]"',
        b'"<M8[0s]"',
        b'"<m8[00D]"',
        b"\"__import__('os').abort()\"",
        b'["<i8",[2]]',
        b'["<i8",[-1]]',
        b'["<i8",[true]]',
        b'["<i8",[99999999999,99999999999]]',
        b"[" * 100_000,
        _structure(offsets=[-8]),
        _structure(offsets=[0.5]),
        _structure(offsets=[1 << 70]),
        _structure(offsets=[4]),
        _structure(offsets=[]),
        _structure(names=[1]),
        _structure(names=["a", "a"], formats=["<i8", "<i8"], offsets=[0, 0]),
        _structure(names=[["a", "b"]]),
        _structure(formats=[["|O8"]]),
        _structure(itemsize=1 << 40),
        _structure(itemsize=0, names=[], formats=[], offsets=[]),
        _structure(aligned=True),
        b"9" * 5000,
    ],
    ids=lambda text: str(text[:40]),
)
def test_a_text_that_is_no_dtype_is_damage(text: bytes) -> None:
    with pytest.raises(CorruptSegmentError, match="the header's dtype"):
        dtype_from_text(text)


@given(
    st.recursive(
        st.sampled_from(["<i8", "|O8", "|S0", "<M8[s]", 8, -1, None, "names", 1.5]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.fixed_dictionaries(
                {
                    "names": st.lists(st.sampled_from(["a", "b", ""]), max_size=2),
                    "formats": st.lists(inner, max_size=2),
                    "offsets": st.lists(st.integers(-1, 20), max_size=2),
                    "itemsize": st.integers(-1, 40),
                }
            )
        ),
        max_leaves=6,
    )
)
def test_any_json_is_a_dtype_without_objects_or_damage(description: Any) -> None:
    try:
        dtype = dtype_from_text(json.dumps(description).encode())
    except CorruptSegmentError:
        return
    assert not dtype.hasobject
    assert np.empty(3, dtype).dtype == dtype

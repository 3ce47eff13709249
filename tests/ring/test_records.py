from __future__ import annotations

import array
import ctypes
import datetime as dt
import math
from typing import Any

import numpy as np
import pytest

from chronostream.errors import InvalidTypeError, InvalidValueError, RecordError
from chronostream.ring.layout import Layout
from chronostream.ring.records import checked_limit, checked_out, raw_size, record_bytes, records_bytes

POINT = np.dtype([("a", "<i8"), ("b", "<f8")])
ROW = np.array((1, 2.5), POINT)
ROWS = np.array([(1, 2.5), (3, 4.5)], POINT)
PADDED = np.dtype([("a", "<i8"), ("b", "<u2")])


class Point(ctypes.Structure):
    _fields_ = (("a", ctypes.c_int64), ("b", ctypes.c_double))


def layout(dtype: Any) -> Layout:
    return Layout.plan(np.dtype(dtype), 8, 0, 1)


@pytest.mark.parametrize(
    "record",
    [
        (1, 2.5),
        ROW,
        ROW[()],
        ROWS[:1],
        ROWS[:1].reshape(1, 1),
        np.rec.array(ROWS)[0],
        ROW.tobytes(),
        bytearray(ROW.tobytes()),
        memoryview(ROW.tobytes()),
        memoryview(ROW.tobytes()).cast("Q"),
        np.frombuffer(ROW.tobytes(), np.uint8),
        np.frombuffer(ROW.tobytes(), np.uint8).reshape(2, 8),
        array.array("Q", ROW.tobytes()),
        Point(1, 2.5),
        (np.int64(1), np.float32(2.5)),
    ],
    ids=lambda record: type(record).__name__,
)
def test_a_record_is_its_bytes_however_it_is_handed_in(record: Any) -> None:
    assert bytes(record_bytes(record, layout(POINT))) == ROW.tobytes()


@pytest.mark.parametrize(
    ("record", "dtype"),
    [
        (1.5, "<f8"),
        (1, "<f8"),
        (np.float64(1.5), "<f8"),
        (np.array(1.5), "<f8"),
        (True, "?"),
        ("größe", "<U5"),
        ("2026-11-24", "<M8[s]"),
        (np.datetime64("2026-11-24", "s"), "<M8[s]"),
        (np.array([5], ">i4")[0], ">i4"),
        (np.array([5], ">i4")[:1], ">i4"),
        (np.timedelta64(5, "ns"), "<m8[ns]"),
        (1 + 2j, "<c16"),
        (b"12345678", "S8"),
        (b"123", "S8"),
        (b"", "S8"),
        (np.bytes_(b"ab"), "S5"),
        (np.array([b"ab"]), "S5"),
        (np.str_("ab"), "<U5"),
        (np.str_("ab"), ">U5"),
        (np.array("ab"), "<U5"),
        (2.0, "<i8"),
        (0.1, "<f4"),
        ((1 << 53) + 1, "<f8"),
        (math.nan, "<f4"),
        (math.inf, "<f4"),
        (1, "?"),
        (200, "u1"),
        (b"\xc8", "i1"),
        (b"\x01", "?"),
        (dt.date(2026, 11, 24), "<M8[D]"),
        (dt.timedelta(seconds=5), "<m8[us]"),
        (5, "<M8[ns]"),
        (np.void(b"123"), "V3"),
    ],
    ids=repr,
)
def test_a_scalar_is_a_record_of_a_plain_dtype(record: Any, dtype: str) -> None:
    raw = isinstance(record, bytes) and not dtype.startswith("S")
    expected = record if raw else np.array(record, dtype).tobytes()
    assert bytes(record_bytes(record, layout(dtype))) == expected


WRONG = [
    5,
    5.0,
    None,
    "text",
    [1, 2.5],
    [(1, 2.5)],
    (1,),
    (1, 2.5, 3),
    (1, "text"),
    (1 << 70, 2.5),
    ("x", object()),
    {"a": 1, "b": 2.5},
    object(),
    b"",
    ROW.tobytes()[:-1],
    ROW.tobytes() + b"\0",
    memoryview(ROW.tobytes() * 2)[::2],
    array.array("I", [1]),
    ROWS,
    ROWS[:0],
    np.array((1, 2.5), [("a", "<i8"), ("c", "<f8")]),
    np.array((1, 2.5), [("a", ">i8"), ("b", "<f8")]),
    np.float64(2.5),
    np.zeros(16, np.int8),
    np.zeros(32, np.uint8)[::2],
]


@pytest.mark.parametrize("record", WRONG, ids=lambda record: type(record).__name__)
def test_what_is_no_row_of_a_structure_is_refused(record: Any) -> None:
    with pytest.raises(RecordError):
        record_bytes(record, layout(POINT))


@pytest.mark.parametrize(
    ("record", "dtype"),
    [
        ([1.0, 2.0], "<f8"),
        ((1.0, 2.0), "<f8"),
        ((), "<f8"),
        ("text", "<f8"),
        (np.float32(1), "<f8"),
        (np.int64(1), "<f8"),
        (1j, "<f8"),
        (300, "u1"),
        (float("nan"), "<i8"),
        (b"123456789", "S8"),
        (bytearray(b"123"), "S8"),
        ("too long", "<U5"),
        (np.str_("too long"), "<U5"),
        (np.bytes_(b"too long"), "S5"),
        (5, "<U5"),
        (5, "S5"),
        ("1.5", "<f8"),
        ("no date", "<M8[s]"),
        (np.datetime64("2026-11-24T00:00:00.5"), "<M8[s]"),
        (np.datetime64("9999-01-01"), "<M8[ns]"),
        (1.5, "<i8"),
        (1e300, "<f4"),
        (200, "i1"),
        (2, "?"),
        (np.uint8(200), "i1"),
        (np.uint8(2), "?"),
        (np.array([200], np.uint8), "i1"),
        (np.array([1], np.uint8), "?"),
        (b"\x02", "?"),
        (bytearray(b"\x02"), "?"),
        (np.ma.masked, "<f8"),
        (np.ma.array(1.5), "<f8"),
        (np.ma.array([1.5]), "<f8"),
    ],
    ids=repr,
)
def test_what_is_no_scalar_of_a_plain_dtype_is_refused(record: Any, dtype: str) -> None:
    with pytest.raises(RecordError):
        record_bytes(record, layout(dtype))


def test_the_message_says_what_was_found_and_what_was_expected() -> None:
    with pytest.raises(RecordError, match=r"dtype float64 and shape \(\), expected one row of \[\('a'"):
        record_bytes(np.float64(2.5), layout(POINT))
    with pytest.raises(RecordError, match="a buffer of 3 bytes, expected 16 in one piece"):
        record_bytes(b"123", layout(POINT))


@pytest.mark.parametrize(
    "records",
    [
        ROWS,
        np.array([ROWS[0], ROWS[0], ROWS[1], ROWS[1]], POINT)[::2],
        np.rec.array(ROWS),
        list(ROWS),
        tuple(ROWS),
        [(1, 2.5), (3, 4.5)],
        [(1, 2.5), ROWS[1]],
        iter([(1, 2.5), (3, 4.5)]),
        ROWS.tobytes(),
        bytearray(ROWS.tobytes()),
        memoryview(ROWS.tobytes()),
        memoryview(ROWS.tobytes()).cast("d"),
    ],
    ids=lambda records: type(records).__name__,
)
def test_records_are_their_bytes_however_they_are_handed_in(records: Any) -> None:
    assert bytes(records_bytes(records, layout(POINT))) == ROWS.tobytes()


@pytest.mark.parametrize(
    ("records", "dtype"),
    [
        ([1, 2.5], "<f8"),
        (range(3), "<i8"),
        ((float(number) for number in range(3)), "<f8"),
        ([b"a", b"abc"], "S3"),
        (np.array(["a", "bc"], "<U3"), "<U3"),
    ],
    ids=["list", "range", "generator", "bytes", "text"],
)
def test_plain_records_come_from_any_iterable(records: Any, dtype: str) -> None:
    copies = records if isinstance(records, np.ndarray) else list(records)
    raw = bytes(records_bytes(iter(copies) if isinstance(copies, list) else copies, layout(dtype)))
    slot = layout(dtype).record_size
    assert [raw[at : at + slot] for at in range(0, len(raw), slot)] == [
        row.tobytes().ljust(slot, b"\0") for row in np.array(copies, dtype)
    ]


@pytest.mark.parametrize(
    "records", [[], (), b"", bytearray(), np.empty(0, POINT), iter(())], ids=lambda records: type(records).__name__
)
def test_no_records_are_no_bytes(records: Any) -> None:
    assert bytes(records_bytes(records, layout(POINT))) == b""


@pytest.mark.parametrize(
    "records",
    [
        5,
        None,
        "text",
        (1, 2.5),
        [1, 2.5],
        ROW[()],
        [(1,)],
        [(1, 2.5), (1, "text")],
        [(1, 2.5), 5],
        [np.array((1, 2.5), [("a", "<i8"), ("c", "<f8")])[()]],
        np.zeros(2),
        ROW,
        ROWS.reshape(2, 1),
        ROWS.tobytes()[:-1],
        memoryview(ROWS.tobytes() * 2)[::2],
    ],
    ids=lambda records: type(records).__name__,
)
def test_what_are_no_rows_is_refused(records: Any) -> None:
    with pytest.raises(RecordError):
        records_bytes(records, layout(POINT))


@pytest.mark.parametrize("records", [[[1.0]], [[1.0, 2.0], [3.0, 4.0]], [(1.0,)], [{}], 5], ids=repr)
def test_what_are_no_scalars_is_refused(records: Any) -> None:
    with pytest.raises(RecordError):
        records_bytes(records, layout("<f8"))


@pytest.mark.parametrize("records", [[(1, 2), (3, 4)], np.array([(1, 2), (3, 4)], PADDED)], ids=["tuples", "array"])
def test_records_are_padded_to_a_multiple_of_eight(records: Any) -> None:
    first, second = np.array([(1, 2), (3, 4)], PADDED)
    assert bytes(records_bytes(records, layout(PADDED))) == (first.tobytes() + bytes(6) + second.tobytes() + bytes(6))


@pytest.mark.parametrize("dtype", ["<U5", "S5", ">U3"])
def test_what_was_read_from_a_ring_of_texts_can_be_published_again(dtype: str) -> None:
    rows = np.array(["", "a", "abc"], dtype)
    for row in rows:
        assert bytes(record_bytes(row, layout(dtype))) == np.array(row, dtype).tobytes()
    padded = bytes(records_bytes(rows, layout(dtype)))
    assert bytes(records_bytes(list(rows), layout(dtype))) == padded
    assert bytes(records_bytes(rows[:2].astype(f"{dtype[:-1]}1"), layout(dtype))) == padded[: len(padded) * 2 // 3]


@pytest.mark.parametrize(
    ("records", "dtype"),
    [
        (np.array(["too long"]), "<U5"),
        (["fits", "too long"], "<U5"),
        ([b"fits", b"too long"], "S5"),
        ([1, 300], "u1"),
        ([1, 1.5], "<i8"),
        ([np.uint8(200)], "i1"),
        (b"\x00\x01\x02", "?"),
        (np.ma.array([1.0, 2.0], mask=[False, True]), "<f8"),
        (np.ma.array([1.0, 2.0]), "<f8"),
        ([(1, np.ma.masked)], POINT),
        (np.ma.array(ROWS), POINT),
        (np.ma.array(ROWS)[0], POINT),
    ],
    ids=repr,
)
def test_records_of_which_one_does_not_fit_are_refused(records: Any, dtype: Any) -> None:
    with pytest.raises(RecordError):
        records_bytes(records, layout(dtype))


def test_a_masked_record_says_what_to_do() -> None:
    for refused in (record_bytes, records_bytes):
        with pytest.raises(RecordError, match=r"came in a masked array, and a ring knows no mask: use `filled\(\)`"):
            refused(np.ma.array([1.0]), layout("<f8"))
    with pytest.raises(InvalidTypeError, match="out is MaskedArray, expected an array of float64"):
        checked_out(np.ma.zeros(3), layout("<f8"))


def test_a_bool_anywhere_in_a_buffer_is_0_or_1() -> None:
    dtype = np.dtype([("a", "<i8"), ("b", "?", (2, 2)), ("c", [("d", "u1"), ("e", "?")], 2)])
    rows = np.zeros(2, dtype)
    rows["c"]["d"] = 255
    raw = bytearray(rows.tobytes())
    assert bytes(records_bytes(raw, layout(dtype)))[: dtype.itemsize] == rows[0].tobytes()
    bools = [dtype.itemsize + at for at in (8, 9, 10, 11, 13, 15)]
    for at in range(len(raw)):
        changed = raw.copy()
        changed[at] = 2
        if at in bools or at + dtype.itemsize in bools:
            with pytest.raises(RecordError, match="a byte above 1 where"):
                records_bytes(changed, layout(dtype))
        else:
            assert bytes(records_bytes(changed, layout(dtype)))


@pytest.mark.parametrize(
    ("dtype", "size"), [("<i8", 8), ("S5", 5), ("?", -1), ([("a", "<i8"), ("b", "?")], -1)], ids=str
)
def test_bytes_are_trusted_unless_there_are_bools(dtype: Any, size: int) -> None:
    assert raw_size(layout(dtype)) == size


def test_what_stands_between_the_fields_of_a_converted_record_is_zero() -> None:
    dtype = np.dtype({"names": ["a"], "formats": ["u1"], "offsets": [3], "itemsize": 64})
    for _ in range(20):
        assert bytes(record_bytes((255,), layout(dtype))) == bytes(3) + b"\xff" + bytes(60)
        assert bytes(records_bytes([(255,)], layout(dtype))) == bytes(3) + b"\xff" + bytes(60)


@pytest.mark.parametrize(("limit", "count"), [(None, 5), (0, 0), (3, 3), (5, 5), (6, 5), (1 << 80, 5)])
def test_a_limit_lowers_what_is_available(limit: int | None, count: int) -> None:
    assert checked_limit(limit, 5) == count


def test_a_limit_below_zero_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="limit is -1, expected 0 or more"):
        checked_limit(-1, 5)


@pytest.mark.parametrize("limit", [np.int64(3), np.uint8(3)], ids=repr)
def test_a_limit_is_an_integer_of_any_kind(limit: Any) -> None:
    assert checked_limit(limit, 5) == 3


@pytest.mark.parametrize("limit", [1.0, "1", b"1", [], True, np.True_, np.float64(1)], ids=repr)
def test_a_limit_that_is_no_integer_is_refused(limit: Any) -> None:
    with pytest.raises(InvalidTypeError, match="expected an integer or None"):
        checked_limit(limit, 5)


def test_an_array_of_the_dtype_can_be_read_into() -> None:
    out = np.empty(3, POINT)
    assert checked_out(out, layout(POINT)) is out


@pytest.mark.parametrize("out", [None, [], b"", np.zeros(3), np.zeros(3, PADDED)], ids=repr)
def test_what_is_no_array_of_the_dtype_cannot_be_read_into(out: Any) -> None:
    with pytest.raises(InvalidTypeError, match=r"expected an array of \[\('a'"):
        checked_out(out, layout(POINT))


def test_an_array_that_is_not_flat_whole_and_writable_cannot_be_read_into() -> None:
    read_only = np.empty(4, POINT)
    read_only.flags.writeable = False
    for out in (np.empty((2, 2), POINT), np.empty((), POINT), np.empty(4, POINT)[::2], read_only):
        with pytest.raises(InvalidValueError, match="a writable array of one dimension in one piece"):
            checked_out(out, layout(POINT))

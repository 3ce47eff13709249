from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chronostream as cs
from chronostream.errors import (
    InvalidTypeError,
    InvalidValueError,
    MissingDependencyError,
    UnknownFrequencyError,
)
from chronostream.event import EVENT_DTYPE, build_events
from chronostream.ring import Consumer, Producer
from chronostream.tables import arrow_schema, find_rejected, to_arrow, to_pandas, to_polars
from tests.streams import NOON_NS, NS, seconds

NOON = dt.datetime.fromtimestamp(NOON_NS // NS, dt.UTC)
INT64_MIN, INT64_MAX, UINT64_MAX = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1


def column(values: list[Any], dtype: npt.DTypeLike) -> pa.Array:
    """Return what becomes of a field of `dtype` that holds `values`."""
    records = np.zeros(len(values), [("before", "u1"), ("field", dtype), ("after", "<i8")])
    for place, value in enumerate(values):
        records["field"][place] = value
    return to_arrow(records).column("field")


def test_events_become_columns_that_people_can_read() -> None:
    minute = seconds(1, 1, frequency=cs.Frequency.MINUTE, instance="hôte")
    batch = to_arrow(np.concatenate([seconds(1, 2), minute]))
    assert batch.to_pydict() == {
        "timestamp": [pd.Timestamp(NOON), pd.Timestamp(NOON) + pd.Timedelta(seconds=1), pd.Timestamp(NOON)],
        "sequence": [1, 2, 1],
        "seed": [NOON_NS ^ 1, (NOON_NS + NS) ^ 2, NOON_NS ^ 1],
        "frequency": ["second", "second", "minute"],
        "schema_version": [1, 1, 1],
        "producer_version": ["1.0", "1.0", "1.0"],
        "instance_id": ["host", "host", "hôte"],
    }


def test_events_have_the_types_that_were_promised() -> None:
    schema = to_arrow(seconds(1, 1)).schema
    assert schema == arrow_schema(EVENT_DTYPE)
    assert schema.field("timestamp").type == pa.timestamp("ns", "UTC")
    assert schema.field("sequence").type == pa.uint64()
    for name in ("frequency", "producer_version", "instance_id"):
        assert pa.types.is_dictionary(schema.field(name).type)


def test_a_text_that_comes_and_goes_stands_in_the_dictionary_once() -> None:
    batch = to_arrow(np.concatenate([seconds(1, 2), seconds(3, 1, instance="other"), seconds(4, 2)]))
    instances = batch.column("instance_id")
    assert instances.to_pylist() == ["host", "host", "other", "host", "host"]
    assert instances.dictionary.to_pylist() == ["host", "other"]


def test_every_instant_and_number_arrives() -> None:
    stamps, numbers = np.array([INT64_MIN, INT64_MAX]), np.array([0, UINT64_MAX], np.uint64)
    batch = to_arrow(build_events("day", stamps, numbers, "1", "i"))
    assert batch.column("timestamp").cast(pa.int64()).to_pylist() == [INT64_MIN, INT64_MAX]
    assert batch.column("sequence").to_pylist() == [0, UINT64_MAX]
    assert batch.column("timestamp").null_count == 0


@pytest.mark.parametrize("frequency", [0, 5, 200])
def test_a_frequency_that_is_none_of_ours_is_refused(frequency: int) -> None:
    records = seconds(1, 2)
    records["frequency"][1] = frequency
    with pytest.raises(UnknownFrequencyError, match=f"frequency {frequency} "):
        to_arrow(records)


def test_an_event_whose_text_is_none_is_refused() -> None:
    records = seconds(1, 1)
    records["instance_id"] = b"\xff"
    with pytest.raises(InvalidValueError, match="instance_id is not valid UTF-8"):
        to_arrow(records)


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("?", [True, False], pa.array([True, False])),
        ("<i2", [-1, 2], pa.array([-1, 2], pa.int16())),
        (">i4", [-1, 1 << 30], pa.array([-1, 1 << 30], pa.int32())),
        ("<u8", [UINT64_MAX], pa.array([UINT64_MAX], pa.uint64())),
        (">f8", [1.5, -2.0], pa.array([1.5, -2.0])),
        ("<f4", [1.5], pa.array([1.5], pa.float32())),
        ("<f2", [1.5], pa.array([np.float16(1.5)], pa.float16())),
        ("S4", [b"a\0b", b"", b"full"], pa.array([b"a\0b", b"", b"full"], pa.binary())),
        ("U2", ["é", "", "a\0"], pa.array(["é", "", "a"], pa.string())),
        ("V2", [b"\0\1"], pa.array([b"\0\1"], pa.binary(2))),
        ("M8[ns]", [NOON_NS, "NaT"], pa.array([NOON_NS, None], pa.timestamp("ns", "UTC"))),
        (">M8[ms]", [1000], pa.array([1000], pa.timestamp("ms", "UTC"))),
        ("m8[us]", [7, "NaT"], pa.array([7, None], pa.duration("us"))),
        ("M8[D]", ["2026-11-25"], pa.array([dt.date(2026, 11, 25)])),
        (("<i4", 2), [[1, 2], [3, 4]], pa.array([[1, 2], [3, 4]], pa.list_(pa.int32(), 2))),
        (("S2", 2), [[b"a", b"bc"]], pa.array([[b"a", b"bc"]], pa.list_(pa.binary(), 2))),
        (
            ("<f8", (2, 3)),
            [np.arange(6).reshape(2, 3), np.ones((2, 3))],
            pa.array([[[0, 1, 2], [3, 4, 5]], [[1, 1, 1], [1, 1, 1]]], pa.list_(pa.list_(pa.float64(), 3), 2)),
        ),
        (
            [("bid", "<f8"), ("sizes", "<u4", 2)],
            [(1.5, (1, 2)), (2.5, (3, 4))],
            pa.array(
                [{"bid": 1.5, "sizes": [1, 2]}, {"bid": 2.5, "sizes": [3, 4]}],
                pa.struct([("bid", pa.float64()), ("sizes", pa.list_(pa.uint32(), 2))]),
            ),
        ),
        (
            ([("x", "u1")], 2),
            [[(1,), (2,)]],
            pa.array([[{"x": 1}, {"x": 2}]], pa.list_(pa.struct([("x", pa.uint8())]), 2)),
        ),
    ],
    ids=str,
)
def test_a_field_becomes_its_counterpart(dtype: npt.DTypeLike, values: list[Any], expected: pa.Array) -> None:
    found = column(values, dtype)
    found.validate(full=True)
    assert (found.type, found.to_pylist()) == (expected.type, expected.to_pylist())
    assert column([], dtype).type == expected.type


@pytest.mark.parametrize(
    ("dtype", "complaint"),
    [
        ("c16", "'field' is complex128"),
        ("g", "'field' is .*float"),
        ("M8[h]", "expected a time in s, ms, us or ns"),
        ("M8[10ns]", "expected a time in s, ms, us or ns"),
        ("m8[D]", "expected a time in s, ms, us or ns"),
        ([("x", [("y", "c8")])], r"'field\.x\.y' is complex64"),
        (("c8", 2), "'field' is complex64"),
        ("S0", r"'field' is \|S0, which takes no bytes: leave it out"),
        ("V0", r"'field' is \|V0, which takes no bytes"),
        ("U0", "'field' is <U0, which takes no bytes"),
        (("<i4", (0,)), "'field' is .*, which takes no bytes"),
        (("<i4", (2, 0)), "'field' is .*, which takes no bytes"),
        ([], r"'field' is \[\], which takes no bytes"),
        ([("x", "u1"), ("y", [("z", "S0")])], r"'field\.y' is .*, which takes no bytes"),
        (([("x", "u1"), ("z", "V0")], 2), r"'field\.z' is \|V0, which takes no bytes"),
    ],
    ids=str,
)
def test_a_field_without_a_counterpart_is_named(dtype: npt.DTypeLike, complaint: str) -> None:
    with pytest.raises(InvalidTypeError, match=complaint):
        arrow_schema([("field", dtype)])


def test_records_with_an_empty_field_are_refused_and_end_no_interpreter() -> None:
    with pytest.raises(InvalidTypeError, match=r"'field' is .*, which takes no bytes"):
        to_arrow(np.zeros(2, [("number", "<i4"), ("field", "<i4", (0,))]))
    with pytest.raises(InvalidTypeError, match=r"'value' is .*, which takes no bytes"):
        to_arrow(np.zeros(2, []))


@pytest.mark.parametrize("dtype", ["nonsense", 5, [("x",)]], ids=str)
def test_what_is_no_dtype_has_no_schema(dtype: Any) -> None:
    with pytest.raises(InvalidTypeError, match="is not a dtype"):
        arrow_schema(dtype)


def test_numbers_of_a_ring_without_fields_are_not_copied(name: str) -> None:
    with Producer.create(name, "<f8", 8) as producer, Consumer.attach(name) as consumer:
        producer.publish_many(np.arange(5.0))
        records = consumer.read()
        values = to_arrow(records).column("value")
        assert values.to_pylist() == [0, 1, 2, 3, 4]
        assert values.buffers()[1].address == records.ctypes.data


def test_a_column_outlives_its_records() -> None:
    records = np.arange(1000)
    values = to_arrow(records).column("value")
    del records
    assert values.to_pylist() == list(range(1000))


def test_records_with_gaps_between_their_fields_are_read_field_by_field() -> None:
    dtype = np.dtype({"names": ["b", "a"], "formats": ["<i4", "u1"], "offsets": [16, 3], "itemsize": 40})
    records = np.zeros(3, dtype)
    records["a"], records["b"] = [1, 2, 3], [-1, -2, -3]
    assert to_arrow(records[::-2]).to_pydict() == {"b": [-3, -1], "a": [3, 1]}


@pytest.mark.parametrize("records", [seconds(1, 0), np.zeros(0, "S3"), np.zeros(0, [("a", "<f8", 2)])], ids=str)
def test_no_records_make_an_empty_batch_of_the_same_schema(records: npt.NDArray[Any]) -> None:
    batch = to_arrow(records)
    assert (batch.num_rows, batch.schema) == (0, arrow_schema(records.dtype))


def test_text_that_numpy_can_hold_but_nobody_can_read_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="'field' holds invalid Unicode"):
        column(["\ud800"], "U1")


@pytest.mark.parametrize("code", [0xD800, 0xDFFF, 0x110000, 0xFFFFFFFF])
@pytest.mark.parametrize("order", ["<", ">"])
def test_text_of_what_is_no_character_is_refused(code: int, order: str) -> None:
    records = np.array([ord("a"), code, 0x10FFFF, 0xE000], f"{order}u4").view(f"{order}U1")
    with pytest.raises(InvalidValueError, match="'value' holds invalid Unicode"):
        to_arrow(records)
    assert find_rejected(records).tolist() == [False, True, False, False]
    assert to_arrow(records[~find_rejected(records)]).column("value").to_pylist() == ["a", "\U0010ffff", "\ue000"]


@pytest.mark.parametrize(("dtype", "last"), [("M8[D]", (1 << 31) - 1), (">M8[s]", INT64_MAX // 1000)])
def test_a_time_that_a_table_would_change_is_refused(dtype: str, last: int) -> None:
    order = dtype[0].replace("M", "<")
    records = np.array([0, last, -last, INT64_MIN, last + 1, -last - 1, INT64_MAX], f"{order}i8").view(dtype)
    assert find_rejected(records).tolist() == [False, False, False, False, True, True, True]
    with pytest.raises(InvalidValueError, match=r"'value' holds .*, which is out of range"):
        to_arrow(records)
    held = to_arrow(records[:4]).column("value")
    assert held.is_null().to_pylist() == [False, False, False, True]
    pq.write_table(pa.Table.from_arrays([held], ["value"]), pa.BufferOutputStream())


def test_records_are_found_that_hold_what_is_rejected_deep_inside() -> None:
    dtype = np.dtype([("number", "<i8"), ("inner", [("days", "M8[D]", (2, 2)), ("texts", "U2", 3)], 2)])
    records = np.zeros(4, dtype)
    records["inner"]["days"][1, 0, 1, 1] = np.datetime64(1 << 40, "D")
    records["inner"]["texts"][3, 1, 2] = "a\ud800"
    assert find_rejected(records).tolist() == [False, True, False, True]
    assert find_rejected(records[:0]).tolist() == []
    assert to_arrow(records[~find_rejected(records)]).num_rows == 2


def test_events_are_found_that_are_none() -> None:
    events = seconds(1, 5)
    events["frequency"][1] = 0
    events["frequency"][2] = 5
    events["instance_id"][3] = b"\xff"
    events["producer_version"][4] = b"\xc3"
    assert find_rejected(events).tolist() == [False, True, True, True, True]


@given(st.lists(st.binary(min_size=24, max_size=24), min_size=1, max_size=8))
def test_what_is_rejected_is_exactly_what_cannot_be_converted(raw: list[bytes]) -> None:
    records = np.frombuffer(b"".join(raw), [("day", "<M8[D]"), ("second", "<M8[s]"), ("text", "<U2")])
    for record, rejected in zip(np.split(records, len(records)), find_rejected(records), strict=True):
        if rejected:
            with pytest.raises(InvalidValueError):
                to_arrow(record)
        else:
            to_arrow(record).validate(full=True)


def test_a_column_that_does_not_fit_is_refused() -> None:
    huge = np.broadcast_to(np.zeros(1, "S1024"), (1 << 21) + 1)
    with pytest.raises(InvalidValueError, match="take fewer records at once"):
        to_arrow(huge)


@pytest.mark.parametrize("function", [to_arrow, find_rejected])
def test_a_list_is_no_array(function: Callable[[Any], object]) -> None:
    with pytest.raises(InvalidTypeError, match="records are list, expected an array"):
        function([1, 2])


@pytest.mark.parametrize("function", [to_arrow, find_rejected])
def test_a_matrix_is_refused(function: Callable[[Any], object]) -> None:
    with pytest.raises(InvalidValueError, match="2 dimensions"):
        function(np.zeros((2, 2)))


def test_pandas_gets_times_and_categories() -> None:
    frame = to_pandas(seconds(1, 3))
    assert frame["timestamp"].dtype == pd.DatetimeTZDtype("ns", "UTC")
    assert isinstance(frame["frequency"].dtype, pd.CategoricalDtype)
    assert frame.loc[frame["frequency"] == "second", "sequence"].tolist() == [1, 2, 3]
    assert frame.set_index("timestamp").resample("2s")["sequence"].sum().tolist() == [3, 3]


def test_polars_gets_times_and_categories() -> None:
    frame = to_polars(seconds(1, 3))
    assert frame.schema["timestamp"] == pl.Datetime("ns", "UTC")
    assert frame.filter(pl.col("frequency") == "second")["sequence"].to_list() == [1, 2, 3]


def test_duckdb_reads_a_batch() -> None:
    batch = to_arrow(seconds(1, 3))
    with duckdb.connect() as database:
        database.register("events", pa.Table.from_batches([batch]))
        assert database.sql("select sum(sequence) from events where frequency = 'second'").fetchall() == [(6,)]


@pytest.mark.parametrize(
    ("convert", "package", "install"),
    [
        (to_arrow, "pyarrow", r"chronostream\[arrow\]"),
        (to_pandas, "pyarrow", r"chronostream\[arrow\]"),
        (to_pandas, "pandas", "pandas"),
        (to_polars, "polars", "polars"),
        (arrow_schema, "pyarrow", r"chronostream\[arrow\]"),
    ],
)
def test_what_is_not_installed_is_named(
    convert: Callable[[Any], object], package: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=f"pip install '{install}'"):
        convert(EVENT_DTYPE if convert is arrow_schema else seconds(1, 1))

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronostream.event import EVENT_DTYPE
from chronostream.recorder.encodings import encoding_options
from chronostream.tables import to_arrow
from tests.recorder.harness import record
from tests.streams import event_ring, seconds

DELTA, SPLIT, DICTIONARY = "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT", "RLE_DICTIONARY"
INTEGERS = ["i1", "u1", "<i2", "<u2", ">i4", "<u4", "<i8", "<u8"]
TIMES = [f"{kind}[{unit}]" for kind in ("M8", "m8") for unit in ("s", "ms", "us", "ns")] + ["M8[D]"]
FLOATS = ["<f4", ">f8"]
OTHERS = ["?", "<f2", "S4", "U3", "V3"]
KINDS: npt.DTypeLike = np.dtype([(f"f{index}", kind) for index, kind in enumerate(INTEGERS + TIMES + FLOATS + OTHERS)])


def nested(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    structures = st.lists(children, min_size=1, max_size=3).map(
        lambda each: [(f"n{at}", d) for at, d in enumerate(each)]
    )
    return structures | st.tuples(children, st.integers(1, 3).map(lambda length: (length,)))


dtypes = st.recursive(st.sampled_from(INTEGERS + TIMES + FLOATS + OTHERS), nested, max_leaves=6)


def fill(values: npt.NDArray[Any], chance: np.random.Generator) -> None:
    """Put numbers, times and texts that every reader knows into an array of any dtype."""
    if values.dtype.names is not None:
        for field in values.dtype.names:
            fill(values[field], chance)
        return
    kind, shape = values.dtype.kind, values.shape
    if kind in "iu":
        limits = np.iinfo(values.dtype)
        native = values.dtype.newbyteorder("=")
        values[...] = chance.integers(limits.min, limits.max, shape, native, endpoint=True)
    elif kind in "Mm":
        values[...] = chance.integers(-10_000, 10_000, shape).astype(values.dtype)
        values.flat[:1] = "NaT"
    elif kind == "f":
        values[...] = chance.normal(size=shape)
    else:
        values[...] = chance.integers(0, 2, shape) if kind == "b" else chance.choice([b"", b"\1\2", b"abc"], shape)


def records_of(dtype: npt.DTypeLike, count: int) -> npt.NDArray[Any]:
    records = np.zeros(count, dtype)
    fill(records, np.random.default_rng(count))
    return records


def written(path: Path, table: pa.Table, **options: Any) -> Path:
    pq.write_table(table, path, compression="zstd", **options)
    return path


def assert_read_alike(first: Path, second: Path) -> None:
    assert pq.read_table(first).equals(pq.read_table(second))
    pd.testing.assert_frame_equal(pd.read_parquet(first), pd.read_parquet(second))
    assert pl.read_parquet(first).equals(pl.read_parquet(second))
    with duckdb.connect() as database:
        rows = [database.sql(f"select * from '{path}'").fetchall() for path in (first, second)]
    assert rows[0] == rows[1]


def encodings_of(dtype: npt.DTypeLike, path: Path) -> dict[str, set[str]]:
    """Return the encodings of the values of each column; RLE marks which values are null."""
    table = pa.Table.from_batches([to_arrow(records_of(dtype, 100))])
    row_group = pq.read_metadata(written(path, table, **encoding_options(np.dtype(dtype)))).row_group(0)
    columns = [row_group.column(index) for index in range(row_group.num_columns)]
    return {column.path_in_schema: set(column.encodings) - {"RLE", "PLAIN"} for column in columns}


@pytest.mark.parametrize(
    ("kinds", "encodings"),
    [
        (INTEGERS, {DELTA}),
        (TIMES, {DELTA}),
        (FLOATS, {SPLIT}),
        (["<f2", "S4", "U3", "V3"], {DICTIONARY}),
        (["?"], set()),
    ],
    ids=str,
)
def test_the_kind_of_a_column_chooses_its_encoding(tmp_path: Path, kinds: list[str], encodings: set[str]) -> None:
    for kind in kinds:
        assert encodings_of(kind, tmp_path / "file.parquet") == {"value": encodings}


def test_nested_columns_have_encodings_of_their_own(tmp_path: Path) -> None:
    dtype = [("a.b", "<i8"), ("s", [("x", "<f4"), ("y", ("<i4", (2, 3)))]), ("l", ([("n", "S2"), ("m", "u1")], 2))]
    assert encodings_of(dtype, tmp_path / "file.parquet") == {
        "a.b": {DELTA},
        "s.x": {SPLIT},
        "s.y.list.element.list.element": {DELTA},
        "l.list.element.n": {DICTIONARY},
        "l.list.element.m": {DELTA},
    }


def test_ids_are_stored_as_what_differs_from_the_one_before() -> None:
    options, without = encoding_options(EVENT_DTYPE, ids=True), encoding_options(EVENT_DTYPE)
    assert options["column_encoding"] == without["column_encoding"] | {"id": "DELTA_BYTE_ARRAY"}
    assert options["use_dictionary"] == without["use_dictionary"]


def test_columns_of_the_same_path_are_both_written(tmp_path: Path) -> None:
    dtype = np.dtype([("a.b", "<i8"), ("a", [("b", "S2")])])
    assert encoding_options(dtype) == {"use_dictionary": ["a.b"], "column_encoding": {}}
    table = pa.Table.from_batches([to_arrow(records_of(dtype, 10))])
    assert pq.read_table(written(tmp_path / "file.parquet", table, **encoding_options(dtype))).equals(table)


def test_every_reader_reads_events_alike(name: str, tmp_path: Path) -> None:
    events = np.concatenate([seconds(1, 1000), seconds(1, 1, instance="hôte")])
    with event_ring(name, 2048) as producer:
        producer.publish_many(events)
        (file,) = record(name, tmp_path).files
    table = pa.Table.from_batches([to_arrow(events)])
    assert pq.read_table(file.path).to_pydict() == table.to_pydict()
    assert_read_alike(file.path, written(tmp_path / "plain.parquet", table))
    assert encoding_options(EVENT_DTYPE)["column_encoding"]["seed"] == SPLIT


def test_every_reader_reads_every_kind_of_column_alike(tmp_path: Path) -> None:
    table = pa.Table.from_batches([to_arrow(records_of(KINDS, 3000))])
    ours = written(tmp_path / "ours.parquet", table, **encoding_options(np.dtype(KINDS)))
    assert_read_alike(ours, written(tmp_path / "plain.parquet", table))


@settings(max_examples=30, deadline=None)
@given(dtype=dtypes, count=st.integers(0, 300))
def test_every_reader_reads_any_dtype_alike(tmp_path_factory: pytest.TempPathFactory, dtype: Any, count: int) -> None:
    directory = tmp_path_factory.mktemp("files")
    table = pa.Table.from_batches([to_arrow(records_of([("field", dtype)], count))])
    ours = written(directory / "ours.parquet", table, **encoding_options(np.dtype([("field", dtype)])))
    assert_read_alike(ours, written(directory / "plain.parquet", table))


def test_a_day_of_seconds_is_small(name: str, tmp_path: Path) -> None:
    with event_ring(name, 1 << 17) as producer:
        producer.publish_many(seconds(1, 86_400))
        files = record(name, tmp_path).files
    plain = written(tmp_path / "plain.parquet", pq.read_table([file.path for file in files]))
    assert 15 * sum(file.path.stat().st_size for file in files) < plain.stat().st_size

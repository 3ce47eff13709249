"""Records as tables: Arrow record batches, and by way of them data frames of pandas and polars.

What becomes of a dtype is decided by the dtype alone, so that all batches of a ring have one schema:

=====================================  ===========================================================================
numpy                                  Arrow
=====================================  ===========================================================================
``EVENT_DTYPE``                        timestamp as ``timestamp[ns, UTC]``, frequency by its name and version and
                                       instance as dictionaries, the numbers as they are; reserved fields left out
booleans, integers, floats             the same
``S``: bytes                           binary, without the NULs at the end
``U``: text                            string
``V``: raw bytes                       fixed_size_binary
``M8``, ``m8`` in s, ms, us, ns        timestamp in UTC, duration; ``NaT`` is null
``M8[D]``                              date32
structure                              a column for each field; a struct inside another structure
subarray                               fixed_size_list, one inside the other for each dimension
anything without fields                one column, ``value``
=====================================  ===========================================================================

A column shares the memory of the records where Arrow can: numbers and times of a ring without fields. Fields lie
apart in a record, and a column of Arrow's lies together, so those are copied, each once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chronostream._extras import require
from chronostream.errors import InvalidTypeError, InvalidValueError, UnknownFrequencyError
from chronostream.event import EVENT_DTYPE, Frequency

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ["arrow_schema", "to_arrow", "to_pandas", "to_polars"]

_ARROW = "chronostream[arrow]"
_TIME_UNITS = frozenset({"s", "ms", "us", "ns"})
_MAX_TEXT_BYTES = (1 << 31) - 1  # of a column: Arrow's offsets are 32 bits
_LABELS = [frequency.label for frequency in Frequency if frequency]


def to_arrow(records: npt.NDArray[Any]) -> pa.RecordBatch:
    """Return records as an Arrow record batch of the schema `arrow_schema` of their dtype.

    Args:
        records: shape ``(n,)``, of any dtype that the table at the top of this module names.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        InvalidTypeError: the records are no array, or a field has no counterpart in Arrow.
        InvalidValueError: the array has more dimensions than one, a text is no text, or a column is too large.
        UnknownFrequencyError: an event's frequency is none of ours.
    """
    pa = require("pyarrow", _ARROW)
    if not isinstance(records, np.ndarray):
        raise InvalidTypeError(f"records are {type(records).__name__}, expected an array")
    if records.ndim != 1:
        raise InvalidValueError(f"records have {records.ndim} dimensions, expected one")
    schema = arrow_schema(records.dtype)
    if records.dtype == EVENT_DTYPE:
        columns = [_event_column(records[name], name, schema.field(name).type) for name in schema.names]
    elif records.dtype.names is None:
        columns = [_column(records, schema.field(0).type, "value")]
    else:
        columns = [_column(records[name], schema.field(name).type, name) for name in schema.names]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def to_pandas(records: npt.NDArray[Any]) -> pd.DataFrame:
    """Return records as a pandas data frame; arguments and errors as for `to_arrow`, and pandas must be there."""
    require("pandas", "pandas")
    return to_arrow(records).to_pandas(date_as_object=False)


def to_polars(records: npt.NDArray[Any]) -> pl.DataFrame:
    """Return records as a polars data frame; arguments and errors as for `to_arrow`, and polars must be there."""
    polars = require("polars", "polars")
    frame: pl.DataFrame = polars.from_arrow(to_arrow(records))
    return frame


def arrow_schema(dtype: npt.DTypeLike) -> pa.Schema:
    """Return the schema that records of `dtype` have in Arrow.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        InvalidTypeError: it is no dtype, or a field has no counterpart in Arrow.
    """
    pa = require("pyarrow", _ARROW)
    try:
        dtype = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError) as error:
        raise InvalidTypeError(f"{dtype!r} is no dtype: {error}") from error
    if dtype == EVENT_DTYPE:
        return pa.schema(
            [
                ("timestamp", pa.timestamp("ns", "UTC")),
                ("sequence", pa.uint64()),
                ("seed", pa.int64()),
                ("frequency", pa.dictionary(pa.int8(), pa.string())),
                ("schema_version", pa.uint16()),
                ("producer_version", pa.dictionary(pa.int32(), pa.string())),
                ("instance_id", pa.dictionary(pa.int32(), pa.string())),
            ]
        )
    names = dtype.names or ("value",)
    kinds = [dtype[name] for name in names] if dtype.names else [dtype]
    return pa.schema([(name, _arrow_type(kind, name)) for name, kind in zip(names, kinds, strict=True)])


def _arrow_type(dtype: np.dtype[Any], path: str) -> Any:
    pa = require("pyarrow", _ARROW)
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        arrow_type = _arrow_type(base, path)
        for length in reversed(shape):
            arrow_type = pa.list_(arrow_type, length)
        return arrow_type
    if dtype.names is not None:
        return pa.struct([(name, _arrow_type(dtype[name], f"{path}.{name}")) for name in dtype.names])
    if dtype.kind in "Mm":
        return _time_type(dtype, path)
    if dtype.kind in "SUV":
        return {"S": pa.binary(), "U": pa.string(), "V": pa.binary(dtype.itemsize)}[dtype.kind]
    try:
        return pa.from_numpy_dtype(dtype.newbyteorder("="))
    except pa.ArrowNotImplementedError:
        raise InvalidTypeError(
            f"field {path!r} is {dtype}, which Arrow has no type for: leave it out, or use numbers that it has"
        ) from None


def _time_type(dtype: np.dtype[Any], path: str) -> Any:
    pa = require("pyarrow", _ARROW)
    unit, step = np.datetime_data(dtype)
    if dtype.kind == "M" and (unit, step) == ("D", 1):
        return pa.date32()
    if unit not in _TIME_UNITS or step != 1:
        raise InvalidTypeError(f"field {path!r} is {dtype}, and Arrow counts times in s, ms, us or ns: use one of them")
    return pa.timestamp(unit, "UTC") if dtype.kind == "M" else pa.duration(unit)


def _event_column(values: npt.NDArray[Any], name: str, arrow_type: Any) -> Any:
    pa = require("pyarrow", _ARROW)
    match name:
        case "timestamp":
            return _column(values, pa.int64(), name).view(arrow_type)  # numpy's NaT is an instant like any other here
        case "frequency":
            places = values.astype(np.int8) - np.int8(1)
            if len(odd := values[(places < 0) | (places >= len(_LABELS))]):
                raise UnknownFrequencyError(f"frequency {odd[0]} is none of ours: not a record of build_events")
            return pa.DictionaryArray.from_arrays(pa.array(places), pa.array(_LABELS))
        case "producer_version" | "instance_id":
            # They hardly ever change from one record to the next: to sort only the changes is to sort almost nothing.
            starts = np.flatnonzero(np.concatenate([np.ones(min(1, len(values)), bool), values[1:] != values[:-1]]))
            texts, places = np.unique(values[starts], return_inverse=True)
            lengths = np.diff(np.append(starts, len(values)))
            indices = np.repeat(places.astype(np.int32), lengths)
            return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), _utf8(texts, name))
    return _column(values, arrow_type, name)


def _column(values: npt.NDArray[Any], arrow_type: Any, path: str) -> Any:
    """Return `values`, shape ``(n, ...)``, as an Arrow array of `arrow_type`, of length ``n``."""
    pa = require("pyarrow", _ARROW)
    if pa.types.is_fixed_size_list(arrow_type):
        inner = values.reshape(values.shape[0] * values.shape[1], *values.shape[2:])
        items = _column(inner, arrow_type.value_type, path)
        return pa.FixedSizeListArray.from_arrays(items, type=arrow_type)
    if pa.types.is_struct(arrow_type):
        fields = [arrow_type.field(place) for place in range(arrow_type.num_fields)]
        parts = [_column(values[field.name], field.type, f"{path}.{field.name}") for field in fields]
        return pa.StructArray.from_arrays(parts, fields=fields)
    if values.dtype.kind in "SU" and values.nbytes > _MAX_TEXT_BYTES:
        raise InvalidValueError(
            f"field {path!r} of {len(values)} records takes {values.nbytes} bytes, at most {_MAX_TEXT_BYTES} fit one "
            "batch: take fewer records at once"
        )
    match values.dtype.kind:
        case "S":
            return _binary(values)
        case "U":
            try:
                return pa.array(values.tolist(), arrow_type)
            except ValueError as error:
                raise InvalidValueError(f"field {path!r} holds what is not valid Unicode: {error}") from error
        case "V":
            raw = np.ascontiguousarray(values)
            return pa.Array.from_buffers(arrow_type, len(raw), [None, pa.py_buffer(raw.view(np.uint8))])
    return pa.array(np.ascontiguousarray(values, values.dtype.newbyteorder("=")), arrow_type)


def _binary(values: npt.NDArray[np.bytes_]) -> Any:
    """Return bytes as Arrow's: cut after the last byte that is not NUL, not before the first that is."""
    pa = require("pyarrow", _ARROW)
    lengths = np.char.str_len(values)
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    width = values.dtype.itemsize
    raw = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), width)
    kept = raw[np.arange(width) < lengths[:, np.newaxis]]
    return pa.Array.from_buffers(pa.binary(), len(values), [None, pa.py_buffer(offsets), pa.py_buffer(kept)])


def _utf8(texts: npt.NDArray[np.bytes_], field: str) -> Any:
    pa = require("pyarrow", _ARROW)
    try:
        return pa.array([text.decode() for text in texts.tolist()], pa.string())
    except UnicodeDecodeError as error:
        raise InvalidValueError(f"{field} is not UTF-8: the record was not made by build_events: {error}") from error

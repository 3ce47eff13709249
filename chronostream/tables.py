"""Records as Arrow record batches, and as data frames of pandas and polars.

The schema depends on the dtype alone, so all batches of a ring have the same schema:

=====================================  ===========================================================================
numpy                                  Arrow
=====================================  ===========================================================================
``EVENT_DTYPE``                        timestamp as ``timestamp[ns, UTC]``; frequency, version and instance as
                                       dictionaries of strings; other numbers unchanged; reserved fields left out
booleans, integers, floats             the same
``S``: bytes                           binary, without trailing NULs
``U``: text                            string
``V``: raw bytes                       fixed_size_binary
``M8``, ``m8`` in s, ms, us, ns        timestamp in UTC, duration; ``NaT`` is null
``M8[D]``                              date32
structure                              a column for each field; a nested structure becomes a struct
subarray                               fixed_size_list, nested once for each dimension
any dtype without fields               one column, ``value``
anything of no bytes                   refused: ``S0``, ``U0``, ``V0``, empty subarrays and structures
=====================================  ===========================================================================

Numbers and times of a ring without fields share the memory of the records. All other columns are copied once, because
Arrow's columns are contiguous and the fields of records are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chronostream._extras import require
from chronostream._values import INT64_MAX
from chronostream.errors import InvalidTypeError, InvalidValueError, UnknownFrequencyError
from chronostream.event import EVENT_DTYPE, FREQUENCIES

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ["arrow_schema", "find_rejected", "to_arrow", "to_pandas", "to_polars"]

_ARROW = "chronostream[arrow]"
_TIME_UNITS = frozenset({"s", "ms", "us", "ns"})
# Arrow counts days in 32 bits. It has seconds, but Parquet and polars have milliseconds in their place.
_LAST_TIMES = {"D": (1 << 31) - 1, "s": INT64_MAX // 1000}
_LAST_CHARACTER = 0x10FFFF
_SURROGATES = 0xD800 >> 11
_MAX_TEXT_BYTES = (1 << 31) - 1  # of a column: Arrow's offsets have 32 bits
_LABELS = [frequency.label for frequency in FREQUENCIES]


def to_arrow(records: npt.NDArray[Any]) -> pa.RecordBatch:
    """Return records as an Arrow record batch with the schema `arrow_schema` of their dtype.

    Args:
        records: shape ``(n,)``, of a dtype in the table at the top of this module.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        InvalidTypeError: Arrow has no type for a field, or a field takes no bytes.
        InvalidValueError: a text is not valid Unicode, a time is out of range, or the bytes of a column exceed 2 GiB.
        UnknownFrequencyError: an event's frequency is unknown.
    """
    pa = require("pyarrow", _ARROW)
    _check_records(records)
    schema = arrow_schema(records.dtype)
    if records.dtype == EVENT_DTYPE:
        columns = [_event_column(records[name], name, schema.field(name).type) for name in schema.names]
    elif records.dtype.names is None:
        columns = [_column(records, schema.field(0).type, "value")]
    else:
        columns = [_column(records[name], schema.field(name).type, name) for name in schema.names]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def to_pandas(records: npt.NDArray[Any]) -> pd.DataFrame:
    """Return records as a pandas data frame: as `to_arrow`, and pandas must be installed."""
    require("pandas", "pandas")
    return to_arrow(records).to_pandas(date_as_object=False)


def to_polars(records: npt.NDArray[Any]) -> pl.DataFrame:
    """Return records as a polars data frame: as `to_arrow`, and polars must be installed."""
    polars = require("polars", "polars")
    frame: pl.DataFrame = polars.from_arrow(to_arrow(records))
    return frame


def find_rejected(records: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which of the records, shape ``(n,)``, `to_arrow` rejects for what they hold."""
    _check_records(records)
    if records.dtype != EVENT_DTYPE:
        return _rejected(records)
    rejected = _is_unknown(records["frequency"])
    for name in ("producer_version", "instance_id"):
        rejected |= np.array([not _is_utf8(text) for text in records[name].tolist()], bool)
    return rejected


def arrow_schema(dtype: npt.DTypeLike) -> pa.Schema:
    """Return the Arrow schema of records of `dtype`.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        InvalidTypeError: Arrow has no type for a field, or a field takes no bytes.
    """
    pa = require("pyarrow", _ARROW)
    try:
        dtype = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError) as error:
        raise InvalidTypeError(f"{dtype!r} is not a dtype: {error}") from error
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
    return pa.schema([(name, _arrow_type(dtype[name] if dtype.names else dtype, name)) for name in names])


def _check_records(records: npt.NDArray[Any]) -> None:
    if not isinstance(records, np.ndarray):
        raise InvalidTypeError(f"records are {type(records).__name__}, expected an array")
    if records.ndim != 1:
        raise InvalidValueError(f"records have {records.ndim} dimensions, expected one")


def _arrow_type(dtype: np.dtype[Any], path: str) -> Any:
    pa = require("pyarrow", _ARROW)
    if not dtype.itemsize:  # pyarrow divides by the length of a subarray, and the interpreter dies.
        raise InvalidTypeError(f"field {path!r} is {dtype}, which takes no bytes: leave it out")
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
            f"field {path!r} is {dtype}, for which Arrow has no type: leave it out, or use another dtype"
        ) from None


def _time_type(dtype: np.dtype[Any], path: str) -> Any:
    pa = require("pyarrow", _ARROW)
    unit, step = np.datetime_data(dtype)
    if dtype.kind == "M" and (unit, step) == ("D", 1):
        return pa.date32()
    if unit not in _TIME_UNITS or step != 1:
        raise InvalidTypeError(f"field {path!r} is {dtype}, expected a time in s, ms, us or ns, as Arrow has them")
    return pa.timestamp(unit, "UTC") if dtype.kind == "M" else pa.duration(unit)


def _event_column(values: npt.NDArray[Any], name: str, arrow_type: Any) -> Any:
    pa = require("pyarrow", _ARROW)
    match name:
        case "frequency":
            if len(unknown := values[_is_unknown(values)]):
                raise UnknownFrequencyError(
                    f"frequency {unknown[0]} of a record is unknown, expected 1 to {len(_LABELS)}: make events with "
                    "build_events"
                )
            indices = values.astype(np.int8) - np.int8(1)
            return pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(_LABELS))
        case "producer_version" | "instance_id":
            # The text rarely changes from one record to the next, so sorting only the changes is fast.
            starts = np.flatnonzero(np.concatenate([np.ones(min(1, len(values)), bool), values[1:] != values[:-1]]))
            texts, inverse = np.unique(values[starts], return_inverse=True)
            indices = np.repeat(inverse.astype(np.int32), np.diff(np.append(starts, len(values))))
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
        fields = [arrow_type.field(index) for index in range(arrow_type.num_fields)]
        parts = [_column(values[field.name], field.type, f"{path}.{field.name}") for field in fields]
        return pa.StructArray.from_arrays(parts, fields=fields)
    if values.dtype.kind in "SU" and values.nbytes > _MAX_TEXT_BYTES:
        raise InvalidValueError(
            f"field {path!r} of {len(values)} records takes {values.nbytes} bytes, expected at most "
            f"{_MAX_TEXT_BYTES} in a batch: take fewer records at once"
        )
    match values.dtype.kind:
        case "S":
            return _binary(values)
        case "U":
            if _rejected(values).any():
                raise InvalidValueError(f"field {path!r} holds invalid Unicode: a lone surrogate, or above U+10FFFF")
            return pa.array(values.tolist(), arrow_type)
        case "V":
            raw = np.ascontiguousarray(values)
            return pa.Array.from_buffers(arrow_type, len(raw), [None, pa.py_buffer(raw.view(np.uint8))])
        case "M" if len(beyond := values[_rejected(values)]):
            raise InvalidValueError(
                f"field {path!r} holds {beyond[0]}, which is out of range: days have 32 bits in a table, and "
                "seconds must fit into milliseconds of 64 bits"
            )
    return pa.array(np.ascontiguousarray(values, values.dtype.newbyteorder("=")), arrow_type)


def _rejected(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which of the values, of any shape and dtype but that of events, no Arrow array can hold."""
    rejected = np.zeros(values.shape, bool)
    for name in values.dtype.names or ():
        inner = _rejected(values[name])
        rejected |= inner.any(tuple(range(values.ndim, inner.ndim)))
    match values.dtype.kind:
        case "U":
            native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
            characters = native.view(np.uint32).reshape(*values.shape, native.itemsize // 4)
            rejected = ((characters > _LAST_CHARACTER) | (characters >> 11 == _SURROGATES)).any(-1)
        case "M" if (last := _LAST_TIMES.get(np.datetime_data(values.dtype)[0])) is not None:
            counts = values.astype(np.int64)
            rejected = ~np.isnat(values) & ((counts < -last) | (counts > last))
    return rejected


def _is_unknown(frequencies: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    return ~np.isin(frequencies, FREQUENCIES)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _binary(values: npt.NDArray[np.bytes_]) -> Any:
    """Return bytes as an Arrow array: only trailing NULs are cut, not those in the middle."""
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
        raise InvalidValueError(f"{field} is not valid UTF-8: {error}; make events with build_events") from error

"""Conversion of a caller's values into the bytes of records, for both cores, so that they accept the same values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from chronostream._values import checked_int
from chronostream.errors import InvalidTypeError, InvalidValueError, RecordError
from chronostream.ring.fitting import check_fits
from chronostream.ring.layout import Layout

__all__ = ["checked_limit", "checked_out", "raw_size", "record_bytes", "records_bytes"]


def raw_size(layout: Layout) -> int:
    """Return the size of a `bytes` that is one record, whatever its contents; -1 if the contents must be checked."""
    return -1 if _bool_offsets(layout.dtype) else layout.dtype.itemsize


def record_bytes(record: Any, layout: Layout) -> memoryview:
    """Return one record as the bytes of its dtype, without its slot's padding, or raise `RecordError`.

    It is a row, a tuple, a scalar that numpy converts, or any buffer of its size; in a ring of texts or bytes a shorter
    one, too.
    """
    dtype = layout.dtype
    if isinstance(record, np.generic) and record.dtype.newbyteorder() == dtype:
        record = np.array(record, dtype)  # An array's scalar is in the machine's byte order.
    if isinstance(record, np.ndarray | np.generic):
        _check_not_masked(record, "the record")
        if record.dtype == dtype and record.size == 1:
            return _raw(np.asarray(record)).data
        if _is_text(record, dtype) and record.size == 1:
            record = record.item()
        elif not _is_raw(record, dtype):
            raise RecordError(
                f"the record is of dtype {record.dtype} and shape {record.shape}, expected one row of {dtype}"
            )
    if not isinstance(record, tuple) and not _is_text(record, dtype):
        try:
            view = memoryview(record)
        except TypeError:
            pass
        else:
            if view.nbytes != dtype.itemsize or not view.c_contiguous:
                raise RecordError(
                    f"the record is a buffer of {view.nbytes} bytes, expected {dtype.itemsize} in one piece"
                )
            return _checked_raw(view, dtype).data
    return _raw(_converted_one(record, dtype)).data


def records_bytes(records: Any, layout: Layout) -> memoryview:
    """Return records as their bytes in the ring, padding included, or raise `RecordError`.

    They are an array of the ring's dtype, shape ``(n,)``, a sequence of rows, or a buffer of whole records.
    """
    dtype = layout.dtype
    if isinstance(records, bytes | bytearray | memoryview):
        view = memoryview(records)
        if view.nbytes % dtype.itemsize or not view.c_contiguous:
            raise RecordError(
                f"the records are a buffer of {view.nbytes} bytes, expected a multiple of {dtype.itemsize} in one piece"
            )
        raw = _checked_raw(view, dtype)
    else:
        rows = records if isinstance(records, np.ndarray) else _converted(records, dtype)
        _check_not_masked(rows, "the records")
        if _is_text(rows, dtype) and rows.dtype.itemsize < dtype.itemsize:
            rows = rows.astype(dtype)
        if rows.dtype != dtype or rows.ndim != 1:
            raise RecordError(
                f"the records are of dtype {rows.dtype} and shape {rows.shape}, expected shape (n,) of {dtype}"
            )
        raw = _raw(rows)
    if layout.record_size == dtype.itemsize:
        return raw.data
    padded = np.zeros((len(raw) // dtype.itemsize, layout.record_size), np.uint8)
    padded[:, : dtype.itemsize] = raw.reshape(-1, dtype.itemsize)
    return padded.reshape(-1).data


def checked_limit(limit: SupportsIndex | None, available: int) -> int:
    """Return how many of the `available` records to read, at most `limit` unless that is None."""
    return available if limit is None else min(checked_int("limit", limit, 0, kind="an integer or None"), available)


def checked_out(out: Any, layout: Layout) -> npt.NDArray[Any]:
    """Return `out` if records can be copied into it: of one dimension, contiguous and writable."""
    if not isinstance(out, np.ndarray) or out.dtype != layout.dtype or _is_masked(out):
        found = out.dtype if type(out) is np.ndarray else type(out).__name__
        raise InvalidTypeError(f"out is {found}, expected an array of {layout.dtype}")
    if out.ndim != 1 or not out.flags.c_contiguous or not out.flags.writeable:
        raise InvalidValueError("out must be a writable array of one dimension in one piece")
    return out


def _converted_one(value: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the value as one row, with zeros between its fields; separate from `_converted` for speed."""
    try:
        if dtype.names is not None:
            _check_rows([value], dtype)
        row = np.zeros(1, dtype)
        row[0] = value
        check_fits(row, [value])
    except (TypeError, ValueError, OverflowError, Warning) as error:
        raise RecordError(f"the record cannot be made a row of {dtype}: {error}") from error
    return row


def _converted(values: Iterable[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the values as rows, with zeros between their fields."""
    try:
        values = list(values)
        if dtype.names is not None:
            _check_rows(values, dtype)
        rows = np.zeros(len(values), dtype)
        rows[:] = values
        check_fits(rows, values)
    except (TypeError, ValueError, OverflowError, Warning) as error:
        raise RecordError(f"the records cannot be made rows of {dtype}: {error}") from error
    return rows


def _check_rows(values: list[Any], dtype: np.dtype[Any]) -> None:
    """Raise unless a structure's values are tuples or rows: numpy would copy a scalar into each field."""
    for value in values:
        if not isinstance(value, tuple) and not (isinstance(value, np.void) and value.dtype == dtype):
            raise TypeError(f"{value!r} is neither a tuple nor a row of that dtype")


def _is_text(value: Any, dtype: np.dtype[Any]) -> bool:
    """Whether it is a text for a ring of texts, or bytes of another length for a ring of bytes."""
    if isinstance(value, np.ndarray | np.generic):
        return dtype.kind in "SU" and value.dtype.kind == dtype.kind
    return dtype.kind == "S" and isinstance(value, bytes) and len(value) != dtype.itemsize


def _is_raw(array: npt.NDArray[Any] | np.generic, dtype: np.dtype[Any]) -> bool:
    """Whether its elements are the bytes of a record, and not numbers that are records of one byte."""
    return isinstance(array, np.ndarray) and array.dtype == np.uint8 and (dtype.itemsize > 1 or dtype.kind not in "bi")


def _is_masked(value: Any) -> bool:
    return isinstance(value, np.ndarray) and hasattr(type(value), "mask")


def _check_not_masked(value: Any, what: str) -> None:
    if _is_masked(value):
        raise RecordError(f"{what} came in a masked array, and a ring knows no mask: use `filled()`, or leave rows out")


def _raw(rows: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the bytes of rows, with those between their fields, which numpy's copy of rows leaves out."""
    if not rows.flags.c_contiguous:
        rows = np.ascontiguousarray(rows.view(("V", rows.dtype.itemsize)))
    return rows.reshape(-1).view(np.uint8)


def _checked_raw(view: memoryview, dtype: np.dtype[Any]) -> npt.NDArray[np.uint8]:
    """Return the bytes of whole records; a bool in them must be 0 or 1, because numpy knows no other."""
    raw = np.frombuffer(view, np.uint8) if view.nbytes else np.empty(0, np.uint8)
    offsets = _bool_offsets(dtype)
    if offsets and (raw.reshape(-1, dtype.itemsize)[:, offsets] > 1).any():
        raise RecordError(f"the buffer holds a byte above 1 where {dtype} has a bool")
    return raw


@lru_cache(maxsize=64)
def _bool_offsets(dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Return the offsets of the bools within a record."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        starts = range(0, math.prod(shape) * base.itemsize, base.itemsize)
        return tuple(start + at for at in _bool_offsets(base) for start in starts)
    if dtype.names is not None:
        fields = dtype.fields
        assert fields is not None
        return tuple(fields[name][1] + at for name in dtype.names for at in _bool_offsets(fields[name][0]))
    return (0,) if dtype.kind == "b" else ()

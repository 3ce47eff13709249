"""What a caller hands in, as the bytes of records; shared by both cores, so that they accept the same things."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from chronostream._values import checked_int
from chronostream.errors import InvalidTypeError, InvalidValueError, RecordError
from chronostream.ring.layout import Layout

__all__ = ["checked_limit", "checked_out", "record_bytes", "records_bytes"]


def record_bytes(record: Any, layout: Layout) -> memoryview:
    """Return one record as the bytes of its dtype, without the padding of its slot.

    Args:
        record: a row of the ring's dtype, a tuple (of a structure) or a scalar that numpy makes one of, or any buffer
            of its size.
        layout: the ring's layout.

    Raises:
        RecordError: it is none of these.
    """
    dtype = layout.dtype
    if isinstance(record, np.generic) and record.dtype.newbyteorder() == dtype:
        record = np.array(record, dtype)  # A number taken out of an array comes in the machine's byte order.
    if isinstance(record, np.ndarray | np.generic):
        if record.dtype == dtype and record.size == 1:
            return _raw(np.asarray(record)).data
        if record.dtype != np.uint8:
            raise RecordError(
                f"the record is of dtype {record.dtype} and shape {record.shape}, expected one row of {dtype}"
            )
    if not isinstance(record, tuple):
        try:
            view = memoryview(record)
        except TypeError:
            pass
        else:
            if view.nbytes != dtype.itemsize or not view.c_contiguous:
                raise RecordError(
                    f"the record is a buffer of {view.nbytes} bytes, expected {dtype.itemsize} in one piece"
                )
            return np.frombuffer(view, np.uint8).data
    return _raw(_converted([record], dtype, "the record")).data


def records_bytes(records: Any, layout: Layout) -> memoryview:
    """Return records as the bytes that they take in the ring, padding included.

    Args:
        records: an array of the ring's dtype, shape ``(n,)``; a sequence of rows; or a buffer of whole records.
        layout: the ring's layout.

    Raises:
        RecordError: they are none of these.
    """
    dtype = layout.dtype
    if isinstance(records, bytes | bytearray | memoryview):
        view = memoryview(records)
        if view.nbytes % dtype.itemsize or not view.c_contiguous:
            raise RecordError(
                f"the records are a buffer of {view.nbytes} bytes, expected a multiple of {dtype.itemsize} in one piece"
            )
        raw = np.frombuffer(view, np.uint8)
    else:
        rows = records if isinstance(records, np.ndarray) else _converted(records, dtype, "the records")
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
    """Return how many of the `available` records a reader asked for; `limit` is an integer of any kind, or None."""
    return available if limit is None else min(checked_int("limit", limit, 0, kind="an integer or None"), available)


def checked_out(out: Any, layout: Layout) -> npt.NDArray[Any]:
    """Return `out` as an array that records can be copied into.

    Raises:
        InvalidTypeError: it is not an array of the ring's dtype.
        InvalidValueError: it is not of one dimension, in one piece and writable.
    """
    if not isinstance(out, np.ndarray) or out.dtype != layout.dtype:
        found = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
        raise InvalidTypeError(f"out is {found}, expected an array of {layout.dtype}")
    if out.ndim != 1 or not out.flags.c_contiguous or not out.flags.writeable:
        raise InvalidValueError("out must be a writable array of one dimension in one piece")
    return out


def _converted(values: Iterable[Any], dtype: np.dtype[Any], what: str) -> npt.NDArray[Any]:
    """Return `values` as rows, the padding between fields zero."""
    try:
        values = list(values)
        # numpy would fill each field of a structure with the same scalar.
        if dtype.names is not None and (odd := [row for row in values if not _is_row(row, dtype)]):
            raise TypeError(f"{odd[0]!r} is neither a tuple nor a row of that dtype")
        rows = np.zeros(len(values), dtype)
        rows[:] = values
    except (TypeError, ValueError, OverflowError) as error:
        raise RecordError(f"{what} cannot be made rows of {dtype}: {error}") from error
    return rows


def _is_row(row: Any, dtype: np.dtype[Any]) -> bool:
    return isinstance(row, tuple) or (isinstance(row, np.void) and row.dtype == dtype)


def _raw(rows: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the bytes of rows, what stands between their fields included, which a copy as rows would leave out."""
    if not rows.flags.c_contiguous:
        rows = np.ascontiguousarray(rows.view(("V", rows.dtype.itemsize)))
    return rows.reshape(-1).view(np.uint8)

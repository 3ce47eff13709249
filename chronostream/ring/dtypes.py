"""A dtype as JSON in a segment's header, and back: parsed as data, never evaluated. docs/ring.md has the format."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from chronostream.errors import CorruptSegmentError, InvalidTypeError, InvalidValueError

__all__ = ["checked_dtype", "dtype_from_text", "dtype_to_text"]

# Bools, numbers, bytes, texts, raw bytes and times. No objects, which are pointers into one process; no times in steps
# of zero, which numpy can make but not copy.
_FORMAT = re.compile(r"[<>|=][biufcSUVmM]\d{1,9}(\[(?!0)\d{0,9}[A-Za-zμ]{1,7}\])?", re.ASCII)
_MAX_DEPTH = 8
_MAX_ITEMSIZE = 1 << 30


def checked_dtype(dtype: Any) -> np.dtype[Any]:
    """Return `dtype` as a numpy dtype, if a ring can carry it."""
    try:
        checked: np.dtype[Any] = np.dtype(dtype)
    except (TypeError, ValueError, OverflowError, SyntaxError) as error:
        raise InvalidTypeError(f"{dtype!r} is not a dtype: {error}") from error
    if dtype is None:
        raise InvalidTypeError("the dtype is None, expected a fixed-width numpy dtype")
    if checked.hasobject:
        raise InvalidTypeError(
            f"dtype {checked} holds Python objects, which no other process can read: use fixed widths"
        )
    if not 0 < checked.itemsize <= _MAX_ITEMSIZE:
        raise InvalidValueError(f"dtype {checked} is {checked.itemsize} bytes wide, expected 1 to {_MAX_ITEMSIZE}")
    try:
        described = dtype_from_text(dtype_to_text(checked))
    except CorruptSegmentError:
        described = None
    if described != checked:
        raise InvalidTypeError(
            f"dtype {checked} cannot be described to other processes: use numpy's plain fixed widths, in a structure"
        )
    return checked


def dtype_to_text(dtype: np.dtype[Any]) -> bytes:
    """Return the text of `dtype` for a header."""
    return json.dumps(_describe(dtype), separators=(",", ":")).encode()


def dtype_from_text(text: bytes) -> np.dtype[Any]:
    """Return the dtype of a header's text; raise `CorruptSegmentError` if it describes none."""
    try:
        dtype = _build(json.loads(text.decode()), depth=0)
    except (TypeError, ValueError, KeyError, RecursionError, OverflowError, MemoryError, SyntaxError) as error:
        raise CorruptSegmentError(f"the header's dtype {text[:80]!r} cannot be read: {error}") from error
    if dtype.subdtype or dtype.hasobject or not 0 < dtype.itemsize <= _MAX_ITEMSIZE:
        raise CorruptSegmentError(f"the header's dtype {text[:80]!r} has no fixed width that a ring can have")
    return dtype


def _describe(dtype: np.dtype[Any]) -> Any:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return [_describe(base), list(shape)]
    if dtype.names is None:
        return dtype.str
    fields = dtype.fields
    assert fields is not None
    return {
        "names": list(dtype.names),
        "formats": [_describe(fields[name][0]) for name in dtype.names],
        "offsets": [fields[name][1] for name in dtype.names],
        "itemsize": dtype.itemsize,
    }


def _build(description: Any, depth: int) -> np.dtype[Any]:
    if depth > _MAX_DEPTH:
        raise InvalidValueError(f"nested deeper than {_MAX_DEPTH}")
    match description:
        case str() if _FORMAT.fullmatch(description):
            return np.dtype(description)
        case [base, [*shape]] if all(type(length) is int and length > 0 for length in shape):
            return np.dtype((_build(base, depth + 1), tuple(shape)))
        case {"names": [*_], "formats": [*formats], "offsets": [*_], "itemsize": int(), **rest} if not rest:
            structure: Any = description | {"formats": [_build(entry, depth + 1) for entry in formats]}
            built: np.dtype[Any] = np.dtype(structure)
            return built
    raise InvalidValueError(f"{str(description)[:80]} is not a format")

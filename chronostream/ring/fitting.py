"""Whether numpy kept a value when it stored it in a field: it cuts texts, wraps numbers and rounds silently."""

from __future__ import annotations

import operator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["check_fits"]

_MAX_TEXT = 80


def check_fits(rows: npt.NDArray[Any], values: list[Any]) -> None:
    """Raise ValueError unless each of the rows equals the value that it was made of.

    A float may be rounded to the width of its field. Texts and bytes may end in NULs, which numpy does not keep.
    """
    if not _same(rows, values):
        for row, value in zip(rows, values, strict=True):
            if not _kept(row, value, rows.dtype):
                text = repr(value)
                raise ValueError(f"{text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + '…'} does not fit")


def _same(rows: npt.NDArray[Any], values: list[Any]) -> bool:
    """Whether they are certainly equal: the quick check, which is enough for most values."""
    dtype = rows.dtype
    times, arrays = (dtype.kind in "mM", False) if dtype.names is None else _traits(dtype)
    if times:  # numpy warns about comparing some of them.
        return False
    try:
        if arrays and dtype.names is not None:
            return all(_same_column(rows[name], [value[at] for value in values]) for at, name in enumerate(dtype.names))
        return bool(rows.tolist() == values)
    except (TypeError, ValueError):  # Some values cannot be compared.
        return False


def _same_column(column: npt.NDArray[Any], values: list[Any]) -> bool:
    return bool(column.tolist() == ([*map(list, values)] if column.ndim > 1 else values))


@lru_cache(maxsize=256)
def _traits(dtype: np.dtype[Any]) -> tuple[bool, bool]:
    """Return whether a structure holds times, and whether it holds arrays."""
    parts = [dtype[name] for name in dtype.names or ()]
    inner = [_traits(part.base) if part.base.names else (part.base.kind in "mM", False) for part in parts]
    return any(times for times, _ in inner), any(part.shape for part in parts) or any(arrays for _, arrays in inner)


def _kept(stored: Any, value: Any, dtype: np.dtype[Any]) -> bool:
    if dtype.names is not None:
        if isinstance(value, np.void) and value.dtype == dtype:
            return True  # numpy copied it field by field.
        return isinstance(value, tuple) and all(
            _kept(stored[name], part, dtype[name]) for name, part in zip(dtype.names, value, strict=True)
        )
    if dtype.subdtype is not None:
        return _array_kept(stored, value, *dtype.subdtype)
    if dtype.kind in "SUV":
        return _text_kept(stored, value)
    if dtype.kind in "mM":
        return _time_kept(stored, value)
    return _number_kept(stored, value, dtype.kind)


def _array_kept(stored: Any, value: Any, base: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    if base.names is not None:
        part = base if len(shape) == 1 else np.dtype((base, shape[1:]))
        return len(value) == len(stored) and all(map(_kept, stored, value, [part] * len(stored)))
    spread = np.empty(shape, object)
    spread[...] = value  # as numpy does: one value for all, or one for each
    return all(_kept(element, part, base) for element, part in zip(stored.flat, spread.flat, strict=True))


def _number_kept(stored: Any, value: Any, kind: str) -> bool:
    if isinstance(value, str | bytes) or value is None or hasattr(type(value), "mask"):
        return False
    if stored.item() == value:  # not `stored == value`, for which numpy rounds both
        return True
    if kind in "biu":
        return hasattr(type(value), "__index__") and operator.index(value) == stored.item()
    number = complex(value) if kind == "c" else float(value)
    return bool(np.isfinite(stored) or not np.isfinite(number))


def _text_kept(stored: Any, value: Any) -> bool:
    if isinstance(stored, np.void):
        return stored.tobytes().rstrip(b"\0") == bytes(value).rstrip(b"\0")
    if isinstance(value, str):
        given: Any = value.rstrip("\0")
        return bool(stored == (given if isinstance(stored, str) else given.encode("ascii")))
    if isinstance(value, bytes):
        given = value.rstrip(b"\0")
        return bool(stored == (given if isinstance(stored, bytes) else given.decode("ascii")))
    return False


def _time_kept(stored: Any, value: Any) -> bool:
    if value is None:
        return bool(np.isnat(stored))
    try:
        return int(stored.view("<i8")) == operator.index(value)  # a number of the field's units
    except TypeError:
        given = value.to_numpy() if hasattr(value, "to_numpy") else type(stored)(value)
    if np.isnat(stored) or np.isnat(given):
        return bool(np.isnat(stored) and np.isnat(given))
    # In the units of both, because numpy wraps if one cannot hold the other.
    return bool(stored == given and stored.astype(given.dtype) == given)

"""Whether numpy kept a value when it put it into a field: it cuts texts, wraps numbers and rounds without a word."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["check_all_fit", "check_fits"]

_SHOWN = 80


def check_fits(stored: Any, value: Any, dtype: np.dtype[Any]) -> None:
    """Raise ValueError unless `stored`, a scalar or row of `dtype`, is the value that it was made of.

    A float may be rounded to the width of its field. Texts and bytes may end in NULs, which numpy does not keep.
    """
    if not _same(stored.item(), value) and not _kept(stored, value, dtype):
        shown = repr(value)
        raise ValueError(f"{shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'} does not fit")


def check_all_fit(rows: npt.NDArray[Any], values: list[Any]) -> None:
    """Check each row and the value that it was made of as `check_fits` does."""
    if not _same(rows.tolist(), values):
        for row, value in zip(rows, values, strict=True):
            check_fits(row, value, rows.dtype)


def _same(stored: Any, value: Any) -> bool:
    """Whether they are equal beyond doubt: the quick answer, which most values get."""
    try:
        return bool(stored == value)
    except (TypeError, ValueError):  # Arrays have no single answer, and some values none for each other.
        return False


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
    spread[...] = value  # as numpy does it: one for all, or each its own
    return all(_kept(element, part, base) for element, part in zip(stored.flat, spread.flat, strict=True))


def _number_kept(stored: Any, value: Any, kind: str) -> bool:
    if isinstance(value, str | bytes) or value is None or hasattr(type(value), "mask"):
        return False
    if stored.item() == value:  # not `stored == value`, for which numpy rounds both alike
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
    # In the units of both: numpy wraps where one of them has no room for the other.
    return bool(stored == given and stored.astype(given.dtype) == given)

"""What the two sides of the portable core have in common: the memory, its release, and one step at a time."""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Callable
from copy import copy
from typing import Any, NoReturn, TypeVar

import numpy as np

from chronostream._exclusive import Exclusive
from chronostream.errors import ChronoStreamError
from chronostream.ring.layout import WAKE_SEQ, Layout

__all__ = ["Released", "Side"]

_Result = TypeVar("_Result")


class Released:
    """Stands in for the memory of a released handle: every access raises its error."""

    def __init__(self, error: ChronoStreamError) -> None:
        self._error = error

    def __getitem__(self, *_: object) -> NoReturn:
        raise copy(self._error)  # A copy: the original would keep every frame that it was raised through.

    __setitem__ = __getitem__


class Side(Exclusive):
    """The segment's words and bytes, and the error of a released handle.

    Signal handlers, finalizers and trace functions run between two lines and may use the handle: see `_exclusively`.
    Values that must change together change in one statement of plain assignments, inside which none of them runs.
    """

    def __init__(self, memory: Any, layout: Layout) -> None:
        self._layout = layout
        self._bytes: Any = memoryview(memory)
        words = self._bytes[: layout.records_offset]
        self._words: memoryview[int] | Released = words.cast("Q")
        self._halfwords: memoryview[int] | Released = words.cast("I")
        self._wake_address = np.frombuffer(memory, np.uint8, 1).ctypes.data + WAKE_SEQ
        self._release_error: ChronoStreamError | None = None

    def release(self, error: ChronoStreamError) -> None:
        self._release_error = error
        self._bytes = self._words = self._halfwords = Released(error)

    def _check(self) -> None:
        if self._release_error is not None:
            raise copy(self._release_error)

    def _exclusively(self, step: Callable[..., _Result], *arguments: Any) -> _Result:
        """Run a step of the protocol, unless another one has not ended, or the handle was released."""
        self._check()
        return super()._exclusively(step, *arguments)

    def _full_fence(self) -> None:
        allocate_lock().acquire()  # A new lock: no fork and no signal handler finds it locked.

    def _pieces(self, position: int, count: int) -> tuple[slice, slice]:
        """Return the bytes of `count` records from `position` on, in two pieces; the second may be empty."""
        base, size = self._layout.records_offset, self._layout.record_size
        slot = position & (self._layout.capacity - 1)
        first = min(count, self._layout.capacity - slot)
        return slice(base + slot * size, base + (slot + first) * size), slice(base, base + (count - first) * size)

"""What the two sides of the portable core have in common: the memory, its end, and one step at a time."""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Callable
from copy import copy
from typing import Any, TypeVar

import numpy as np

from chronostream.errors import BusyError, ChronoStreamError
from chronostream.ring.layout import WAKE_SEQ, Layout

__all__ = ["Side"]

_Result = TypeVar("_Result")


class _Gone:
    """Stands in for the memory of a handle that must not be used any more: every look raises why."""

    def __init__(self, error: ChronoStreamError) -> None:
        self._error = error

    def __getitem__(self, _: object) -> Any:
        raise copy(self._error)  # The one that is kept must not collect the frames it was raised through.

    def __setitem__(self, *_: object) -> None:
        raise copy(self._error)


class Side:
    """What both sides have: the segment's words and bytes, and the refusal once the handle is closed.

    Signal handlers, finalizers and trace functions run between our lines, and may use the handle: see `_alone`. What
    must change together changes in one statement of plain assignments, inside which none of them runs.
    """

    def __init__(self, memory: Any, layout: Layout) -> None:
        self._layout = layout
        self._bytes: Any = memoryview(memory)
        words = self._bytes[: layout.records_offset]
        self._words: Any = words.cast("Q")
        self._halfwords: Any = words.cast("I")
        self._wake_address = np.frombuffer(memory, np.uint8, 1).ctypes.data + WAKE_SEQ
        self._release_error: ChronoStreamError | None = None
        self._busy = False

    def release(self, error: ChronoStreamError) -> None:
        self._release_error = error
        self._bytes = self._words = self._halfwords = _Gone(error)

    def _check(self) -> None:
        if self._release_error is not None:
            raise copy(self._release_error)

    def _alone(self, step: Callable[..., _Result], *arguments: Any) -> _Result:
        """Take a step of the protocol; refuse any other one of this handle that begins before it has ended."""
        self._check()
        if self._busy:
            raise BusyError(
                "the handle is in the middle of another call, which a signal handler, a finalizer or a trace function "
                "interrupted: use it after that call, or use another handle"
            )
        try:
            self._busy = True  # What came in since the look at it has ended.
            return step(*arguments)
        finally:
            self._busy = False

    def _full_fence(self) -> None:
        allocate_lock().acquire()  # One of its own: neither a fork nor a signal handler comes upon it taken.

    def _pieces(self, position: int, count: int) -> tuple[slice, slice]:
        """Return where `count` records from `position` on lie, as bytes of the segment; the second may be empty."""
        base, size = self._layout.records_offset, self._layout.record_size
        slot = position & (self._layout.capacity - 1)
        first = min(count, self._layout.capacity - slot)
        return slice(base + slot * size, base + (slot + first) * size), slice(base, base + (count - first) * size)

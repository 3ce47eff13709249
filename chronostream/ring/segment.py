"""One open segment: its mapping, its locks, and its life (created, taken over, attached to, removed).

The mapping lives as long as any view of it: closing only drops this handle's own references, so that views may outlive
it in any order. The locks are on a descriptor that is never mapped, because a mapping would keep its descriptor, and
with it the lock, alive in every forked child.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from chronostream.errors import ChronoStreamError, ClosedError, ForkedError, StreamNotFoundError
from chronostream.ring import locks, shm
from chronostream.ring.layout import CONSUMER_DTYPE, FREE_TAIL, HEADER_DTYPE, HEADER_SIZE, MAGIC, Layout
from chronostream.ring.opening import (
    PRODUCER_LOCK,
    check_same,
    check_whole,
    map_segment,
    open_locked,
    open_to_attach,
    read_layout,
)

__all__ = ["Segment"]

_open_segments: weakref.WeakSet[Segment] = weakref.WeakSet()


class Segment:
    """A mapped segment, made by `own` (the producer) or `attach` (a consumer).

    Attributes:
        name: the stream's name.
        layout: where everything is; read once, because the header could change later.
        control: the control region, writable, or None when this process may only read.
        taken_over: whether `own` found an existing stream.
        release_error: why the handle cannot be used any more, or None while it can.
    """

    def __init__(self, name: str, layout: Layout, fd: int, *, owner: bool, writable: bool, populate: bool) -> None:
        self.name = name
        self.layout = layout
        self.taken_over = False
        self.release_error: ChronoStreamError | None = None
        self._memory: mmap.mmap | None
        self._memory, self.control = map_segment(name, layout, fd, owner=owner, writable=writable, populate=populate)
        self._descriptor = locks.Descriptor(fd)
        self._on_release: list[Callable[[ChronoStreamError], None]] = []
        self._records: npt.NDArray[Any] | None = None
        _open_segments.add(self)

    @classmethod
    def own(
        cls, name: str, layout: Layout, identity: bytes, *, mode: int = 0o600, group: str | int | None = None
    ) -> Segment:
        """Create the segment of the stream `name`, or take over an existing one; this process is its producer.

        A new segment has `identity` in its header, and consumers cannot attach before `write_magic`. An existing one
        is left unchanged. The steps are those of docs/ring.md, "Opening as a producer".
        """
        with ExitStack() as undo:
            fd = open_locked(name)
            undo.callback(os.close, fd)
            found = read_layout(name, fd)
            if found is None:
                undo.callback(shm.unlink, name)
                shm.clear(fd)
                shm.permit(fd, mode, group)
                shm.reserve(fd, layout.segment_size)
                shm.write(fd, layout.tail_offset(0), layout.new_table())
                shm.write(fd, 0, layout.new_header(name, identity))
            else:
                check_same(name, found, layout)
                if shm.has_holes(fd, layout.segment_size):
                    shm.reserve(fd, layout.segment_size)
            segment = cls(name, layout, fd, owner=True, writable=True, populate=True)
            undo.pop_all()
        segment.taken_over = found is not None
        return segment

    def write_magic(self) -> None:
        """Write the magic, last of all, so that consumers can attach."""
        with self._open_descriptor() as fd:
            shm.write(fd, 0, MAGIC)

    @classmethod
    def attach(cls, name: str, *, any_owner: bool = False, populate: bool = False) -> Segment:
        """Map the segment of the stream `name` for reading, and its control region for writing if that is allowed.

        With `populate` the whole is mapped at once; otherwise the first read of each page would take microseconds.
        """
        with ExitStack() as undo:
            fd, writable = open_to_attach(name, any_owner=any_owner)
            undo.callback(os.close, fd)
            layout = read_layout(name, fd)
            if layout is None:
                raise StreamNotFoundError(f"stream {name!r} is not ready: its segment is still being made")
            check_whole(name, fd, layout)
            segment = cls(name, layout, fd, owner=False, writable=writable, populate=populate)
            undo.pop_all()
        return segment

    @classmethod
    def remove(cls, name: str) -> None:
        """Delete the stream `name`, in any condition, unless its producer lives.

        Waiting consumers notice at their next liveness check, and end with `StreamRemovedError`.

        Raises:
            StreamNotFoundError: there is none.
            ProducerActiveError: its producer lives.
            AccessDeniedError: it is another user's.
        """
        fd = open_locked(name, to_remove=True)
        try:
            shm.unlink(name)
        finally:
            os.close(fd)

    @property
    def memory(self) -> mmap.mmap:
        """The whole segment; writable for its owner only."""
        memory = self._memory
        if memory is None:
            self.check()
        assert memory is not None
        return memory

    @property
    def header(self) -> np.void:
        """A copy of the header's fixed part, a row of `HEADER_DTYPE`."""
        header: np.void = np.frombuffer(self.memory[:HEADER_SIZE], HEADER_DTYPE)[0]
        return header

    @property
    def application(self) -> memoryview:
        """The application area; writable for the owner only."""
        start = self.layout.application_offset
        return memoryview(self.memory)[start : start + self.layout.application_size]

    @property
    def records(self) -> npt.NDArray[Any]:
        """All slots of the ring, shape ``(capacity,)``: position ``p`` is in slot ``p & (capacity - 1)``."""
        records = self._records
        if records is None:
            layout, strides = self.layout, (self.layout.record_size,)
            records = np.ndarray(layout.capacity, layout.dtype, self.memory, layout.records_offset, strides=strides)
            self._records = records
        return records

    @property
    def table(self) -> npt.NDArray[Any]:
        """A copy of the table of consumers: rows of `CONSUMER_DTYPE`, shape ``(max_consumers,)``."""
        start = self.layout.tail_offset(0)
        return np.frombuffer(self.memory[start : self.layout.tail_offset(self.layout.max_consumers)], CONSUMER_DTYPE)

    def check(self) -> None:
        """Raise `ClosedError` or `ForkedError` if the handle cannot be used any more."""
        if self.release_error is not None:
            raise copy(self.release_error)  # A copy: the original would keep every frame that it was raised through.

    def on_release(self, method: Callable[[ChronoStreamError], None]) -> None:
        """Call `method(error)` when the handle is closed."""
        self._on_release.append(method)

    def verify(self) -> None:
        """Do the same as `check`, and check that the descriptor, and with it the locks, still exists."""
        with self._open_descriptor():
            pass

    @contextmanager
    def _open_descriptor(self) -> Iterator[int]:
        """Give the descriptor to a block; raise if other code has closed it, or another thread closes it meanwhile."""
        self.check()
        if not self._descriptor.is_open:
            self.close(
                ClosedError(
                    f"the descriptor of the handle on stream {self.name!r} was closed by other code, and its locks "
                    "are gone: open another handle, after the code that closes descriptors (os.closerange, a daemon)"
                )
            )
            self.check()
        try:
            yield self._descriptor.fileno()
        finally:
            self.check()

    def producer_alive(self) -> bool:
        """Return whether a producer holds the lock."""
        with self._open_descriptor() as fd:
            return locks.is_locked(fd, PRODUCER_LOCK)

    def identity(self) -> tuple[int, int]:
        """Return the device and inode of the segment's file, which no other file has at the same time."""
        with self._open_descriptor() as fd:
            status = os.fstat(fd)
            return status.st_dev, status.st_ino

    def named(self) -> bool:
        """Return whether the segment still has a name, be it invisible from here."""
        with self._open_descriptor() as fd:
            return shm.has_name(fd)

    def take_slot(self) -> int | None:
        """Lock a free slot in the table of consumers and return it; None without one, or if this process only reads."""
        with self._open_descriptor() as fd:
            if self.control is None:
                return None
            for slot in range(self.layout.max_consumers):
                if locks.try_lock(fd, self.layout.tail_offset(slot)):
                    return slot
        return None

    def slot_taken(self, slot: int) -> bool:
        """Return whether a living consumer other than this handle has the slot."""
        with self._open_descriptor() as fd:
            return locks.is_locked(fd, self.layout.tail_offset(slot))

    def reclaim_slot(self, slot: int) -> bool:
        """Free the slot of a dead consumer; return whether it is free now. Only the owner may call this."""
        offset = self.layout.tail_offset(slot)
        with self._open_descriptor() as fd:
            locked = locks.try_lock(fd, offset)
            # A read lock keeps every consumer from taking the slot.
            if not locked and not locks.is_read_locked(fd, offset):
                return False
            self.memory[offset : offset + 8] = FREE_TAIL.to_bytes(8, "little")
            if locked:
                locks.unlock(fd, offset)
            return True

    def unlink(self) -> None:
        """Delete the stream's name if it still leads to this segment, with the lock held."""
        with self._open_descriptor() as fd:
            if shm.same_file(fd, self.name):
                shm.unlink(self.name)

    def close(self, error: ChronoStreamError | None = None) -> None:
        """Drop the mapping and every lock; later uses raise `error`. A second call does nothing."""
        if self.release_error is not None:
            return
        self.release_error = error or ClosedError(f"the handle on stream {self.name!r} was closed: open another one")
        self._memory = self.control = self._records = None
        _open_segments.discard(self)
        with ExitStack() as steps:
            steps.callback(self._descriptor.close)
            for method in self._on_release:
                steps.callback(method, self.release_error)


def _abandon_in_child() -> None:
    """Close the parent's handles in a forked child, whose copies of the descriptors would keep the locks alive."""
    with ExitStack() as steps:
        for segment in list(_open_segments):
            error = ForkedError(
                f"the handle on stream {segment.name!r} belongs to this process's parent: open another one here"
            )
            steps.callback(segment.close, error)


os.register_at_fork(after_in_child=_abandon_in_child)

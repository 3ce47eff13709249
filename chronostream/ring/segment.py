"""One open segment: its mapping, its locks, and who may write where.

Knows the layout and the life of a segment (made, taken over, attached to, removed); knows no positions. The
mapping lives as long as anything that looks into it: closing only lets go of this handle's own references, so that
views may outlive it in any order. Locks are on a descriptor that is never mapped, because a mapping keeps its
descriptor, and with it the lock, alive in every forked child.
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
    check_paid,
    check_same,
    map_segment,
    open_locked,
    open_to_attach,
    read_layout,
)

__all__ = ["Segment"]

_open_segments: weakref.WeakSet[Segment] = weakref.WeakSet()


class Segment:
    """A mapped segment; make one with `own` (the producer) or `attach` (everybody else).

    Attributes:
        name: the stream's name.
        layout: where everything is; read once and never again, since a header could change under us.
        control: the control region, writable, or None when this process may only read.
        taken_over: whether `own` found a stream to go on with.
        release_error: why this handle must not be used any more, or None.
    """

    def __init__(
        self,
        name: str,
        layout: Layout,
        fd: int,
        *,
        owner: bool = False,
        writable: bool = False,
        populate: bool = False,
    ) -> None:
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
        cls,
        name: str,
        layout: Layout,
        identity: bytes,
        *,
        mode: int = 0o600,
        group: str | int | None = None,
    ) -> Segment:
        """Create the segment of the stream `name`, or take over the one that is there; this process is its producer.

        A new segment has `identity` in its header, and nobody can attach to it until it is told to `show`; one that is
        taken over is left as it is. The steps are those of docs/ring.md, "Opening as a producer".

        Raises:
            ProducerActiveError: a living producer holds the name.
            LayoutMismatchError: the segment that is there has another layout, dtype or capacity.
            CorruptSegmentError: what is there is no ring of ours.
            AccessDeniedError: it belongs to another user, or this user may not create it.
            OutOfSharedMemoryError: there is no room; nothing is left behind.
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
        """Let others attach to it: the magic goes in last."""
        with self._asking() as fd:
            shm.write(fd, 0, MAGIC)

    @classmethod
    def attach(cls, name: str, *, any_owner: bool = False, populate: bool = False) -> Segment:
        """Map the segment of the stream `name` for reading; its control region for writing where that is allowed.

        With `populate` all of it at once, so that no page is mapped, which takes microseconds, when it is first read.

        Raises:
            StreamNotFoundError: there is none, or it is still being made.
            CorruptSegmentError: what is there is no ring of ours, or is damaged.
            LayoutMismatchError: it was made by another version of the layout.
            AccessDeniedError: it belongs to another user and `any_owner` is false, or its mode keeps us out.
        """
        with ExitStack() as undo:
            fd, writable = open_to_attach(name, any_owner=any_owner)
            undo.callback(os.close, fd)
            layout = read_layout(name, fd)
            if layout is None:
                raise StreamNotFoundError(f"stream {name!r} is not ready: its segment is still being made")
            check_paid(name, fd, layout)
            segment = cls(name, layout, fd, writable=writable, populate=populate)
            undo.pop_all()
        return segment

    @classmethod
    def remove(cls, name: str) -> None:
        """Delete the stream `name`, in whatever condition it is, unless its producer lives.

        Who waits for it finds out at the next liveness check, and ends with `StreamRemovedError`.

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
        """The fixed part of the header as it is now, a copy of `HEADER_DTYPE`."""
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
        slots = self._records
        if slots is None:
            of = self.layout
            slots = np.ndarray(of.capacity, of.dtype, self.memory, of.records_offset, strides=(of.record_size,))
            self._records = slots
        return slots

    @property
    def table(self) -> npt.NDArray[Any]:
        """The table of consumers as it is now, a copy: rows of `CONSUMER_DTYPE`, shape ``(max_consumers,)``."""
        start = self.layout.tail_offset(0)
        return np.frombuffer(self.memory[start : self.layout.tail_offset(self.layout.max_consumers)], CONSUMER_DTYPE)

    def check(self) -> None:
        """Raise what keeps this handle from being used: `ClosedError` or `ForkedError`."""
        if self.release_error is not None:
            raise copy(self.release_error)  # The one that is kept must not collect the frames it was raised through.

    def on_release(self, method: Callable[[ChronoStreamError], None]) -> None:
        """Have `method(error)` called when this handle must not be used any more."""
        self._on_release.append(method)

    def verify(self) -> None:
        """Do the same as `check`, and ask the system whether the descriptor, and with it the locks, is still there."""
        with self._asking():
            pass

    @contextmanager
    def _asking(self) -> Iterator[int]:
        """Give the descriptor to a block that asks the system something.

        The refusal is raised if the descriptor is gone: closed behind our back, or by another thread during the block.
        """
        self.check()
        if not self._descriptor.is_open:
            self.close(
                ClosedError(
                    f"the descriptor of the handle on stream {self.name!r} was closed behind its back, and its locks "
                    "are gone with it: open another handle, after what closes descriptors (os.closerange, a daemon)"
                )
            )
            self.check()
        try:
            yield self._descriptor.fileno()
        finally:
            self.check()

    def producer_alive(self) -> bool:
        """Return whether a producer holds the lock; a name that a closed producer left counts as not alive."""
        with self._asking() as fd:
            return locks.is_locked(fd, PRODUCER_LOCK)

    def named(self) -> bool:
        """Return whether the segment still has a name, wherever that is visible."""
        with self._asking() as fd:
            return shm.has_name(fd)

    def take_slot(self) -> int | None:
        """Take a slot in the table of consumers, by the lock on its line, and return it; None if there is none."""
        with self._asking() as fd:
            if self.control is None:
                return None
            for slot in range(self.layout.max_consumers):
                if locks.try_lock(fd, self.layout.tail_offset(slot)):
                    return slot
        return None

    def slot_taken(self, slot: int) -> bool:
        """Return whether a living consumer other than this handle has that slot in the table."""
        with self._asking() as fd:
            return locks.is_locked(fd, self.layout.tail_offset(slot))

    def reclaim_slot(self, slot: int) -> bool:
        """Free the slot of a consumer that died: true if it is free now. Only the owner may call this."""
        offset = self.layout.tail_offset(slot)
        with self._asking() as fd:
            locked = locks.try_lock(fd, offset)
            # As long as somebody holds a read lock, no consumer can take the slot.
            if not locked and not locks.is_read_locked(fd, offset):
                return False
            self.memory[offset : offset + 8] = FREE_TAIL.to_bytes(8, "little")
            if locked:
                locks.unlock(fd, offset)
            return True

    def unlink(self) -> None:
        """Take the stream's name away, if it still leads to this segment; the lock is held meanwhile."""
        with self._asking() as fd:
            if shm.same_file(fd, self.name):
                shm.unlink(self.name)

    def close(self, why: ChronoStreamError | None = None) -> None:
        """Let go of the mapping and of every lock; twice is fine."""
        if self.release_error is not None:
            return
        self.release_error = why or ClosedError(f"the handle on stream {self.name!r} was closed: open another one")
        self._memory = self.control = self._records = None
        _open_segments.discard(self)
        with ExitStack() as steps:
            steps.callback(self._descriptor.close)
            for method in self._on_release:
                steps.callback(method, self.release_error)


def _abandon_in_child() -> None:
    """Make a forked child let go of its parent's handles: a copy of a descriptor would keep its lock alive."""
    with ExitStack() as steps:
        for segment in list(_open_segments):
            error = ForkedError(
                f"the handle on stream {segment.name!r} belongs to this process's parent: open another one here"
            )
            steps.callback(segment.close, error)


os.register_at_fork(after_in_child=_abandon_in_child)

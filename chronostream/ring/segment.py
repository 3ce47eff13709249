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
from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from chronostream.errors import (
    ChronoStreamError,
    ClosedError,
    CorruptSegmentError,
    ForkedError,
    LayoutMismatchError,
    ProducerActiveError,
    StreamError,
    StreamNotFoundError,
)
from chronostream.ring import shm
from chronostream.ring.layout import (
    CONSUMER_DTYPE,
    FREE_TAIL,
    HEADER_DTYPE,
    HEADER_SIZE,
    MAGIC,
    MAX_HEADER_SIZE,
    Layout,
)

__all__ = ["Segment"]

_PRODUCER_LOCK = 0  # the byte whose lock says that the producer lives
_BLOCK = 512  # what `st_blocks` counts
_POPULATED = mmap.MAP_SHARED | mmap.MAP_POPULATE
_open_segments: weakref.WeakSet[Segment] = weakref.WeakSet()


class Segment:
    """A mapped segment; make one with `own` (the producer) or `attach` (everybody else).

    Attributes:
        name: the stream's name.
        layout: where everything is; read once and never again, since a header could change under us.
        memory: the whole segment; writable for its owner only.
        control: the control region, writable, or None when this process may only read.
        taken_over: whether `own` found a stream to go on with.
        refusal: why this handle must not be used any more, or None.
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
        self.refusal: ChronoStreamError | None = None
        self.memory, self.control = _map(name, layout, fd, owner=owner, writable=writable, populate=populate)
        # A file object, so that a forgotten handle closes its descriptor, and says so as any file does.
        self._file = os.fdopen(fd, "rb", buffering=0)
        self._on_refusal: list[Callable[[ChronoStreamError], None]] = []
        self._slots: npt.NDArray[Any] | None = None
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
        fd = _lock_exclusively(name)
        made = _read_header(fd)[:8]
        foreign = made != MAGIC and bool(made.strip(b"\0"))
        try:
            if made == MAGIC:
                found = Layout.from_header(_read_header(fd), os.fstat(fd).st_size)
                _check_same(name, found, layout)
            elif foreign:
                raise CorruptSegmentError(
                    f"the segment of stream {name!r} begins with {made!r}, not with ChronoStream's mark: "
                    "another program's? Remove it, or use another stream name"
                )
            else:
                shm.clear(fd)
                shm.permit(fd, mode, group)
                shm.reserve(fd, layout.segment_size)
                shm.write(fd, layout.tail_offset(0), layout.new_table())
                shm.write(fd, 0, layout.new_header(name, identity))
            segment = cls(name, layout, fd, owner=True, writable=True, populate=True)
            segment.taken_over = made == MAGIC
        except BaseException:
            if made != MAGIC and not foreign:
                shm.unlink(name)
            os.close(fd)
            raise
        return segment

    def show(self) -> None:
        """Let others attach to it: the magic goes in last."""
        shm.write(self._file.fileno(), 0, MAGIC)

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
        try:
            fd, writable = _open_to_attach(name, any_owner=any_owner)
        except FileNotFoundError:
            raise _not_found(name) from None
        try:
            header = _read_header(fd)
            if not header[:8].strip(b"\0"):
                raise StreamNotFoundError(f"stream {name!r} is not ready: its segment is still being made")
            if header[:8] != MAGIC:
                raise CorruptSegmentError(
                    f"the segment of stream {name!r} begins with {header[:8]!r}, not with ChronoStream's mark"
                )
            layout = Layout.from_header(header, os.fstat(fd).st_size)
            return cls(name, layout, fd, writable=writable, populate=populate)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def remove(cls, name: str) -> None:
        """Delete the stream `name`, in whatever condition it is, unless its producer lives.

        Who waits for it finds out at the next liveness check, and ends with `StreamRemovedError`.

        Raises:
            StreamNotFoundError: there is none.
            ProducerActiveError: its producer lives.
            AccessDeniedError: it is another user's.
        """
        try:
            fd = _lock_exclusively(name, make=False)
        except FileNotFoundError:
            raise _not_found(name) from None
        try:
            shm.unlink(name)
        finally:
            os.close(fd)

    @property
    def header(self) -> np.void:
        """The fixed part of the header as it is now, a copy of `HEADER_DTYPE`."""
        self.check()
        header: np.void = np.frombuffer(self.memory[:HEADER_SIZE], HEADER_DTYPE)[0]
        return header

    @property
    def application(self) -> memoryview:
        """The application area; writable for the owner only."""
        self.check()
        start = self.layout.application_offset
        return memoryview(self.memory)[start : start + self.layout.application_size]

    @property
    def slots(self) -> npt.NDArray[Any]:
        """All slots of the ring, shape ``(capacity,)``: position ``p`` is in slot ``p & (capacity - 1)``."""
        self.check()
        if self._slots is None:
            of = self.layout
            self._slots = np.ndarray(of.capacity, of.dtype, self.memory, of.records_offset, strides=(of.record_size,))
        return self._slots

    @property
    def table(self) -> npt.NDArray[Any]:
        """The table of consumers as it is now, a copy: rows of `CONSUMER_DTYPE`, shape ``(max_consumers,)``."""
        self.check()
        start = self.layout.tail_offset(0)
        return np.frombuffer(self.memory[start : self.layout.tail_offset(self.layout.max_consumers)], CONSUMER_DTYPE)

    def check(self) -> None:
        """Raise what keeps this handle from being used: `ClosedError` or `ForkedError`."""
        if self.refusal is not None:
            raise copy(self.refusal)  # The one that is kept must not collect the frames it was raised through.

    def on_refusal(self, method: Callable[[ChronoStreamError], None]) -> None:
        """Have `method(error)` called when this handle must not be used any more."""
        self._on_refusal.append(method)

    def producer_alive(self) -> bool:
        """Return whether a producer holds the lock; a name that a closed producer left counts as not alive."""
        self.check()
        return shm.is_locked(self._file.fileno(), _PRODUCER_LOCK)

    def named(self) -> bool:
        """Return whether the stream's name still leads to this segment."""
        self.check()
        return shm.same_file(self._file.fileno(), self.name)

    def take_place(self) -> int | None:
        """Take a place in the table of consumers, by the lock on its line, and return it; None if there is none."""
        self.check()
        if self.control is None:
            return None
        for place in range(self.layout.max_consumers):
            if shm.try_lock(self._file.fileno(), self.layout.tail_offset(place)):
                return place
        return None

    def place_taken(self, place: int) -> bool:
        """Return whether a living consumer other than this handle has that place in the table."""
        self.check()
        return shm.is_locked(self._file.fileno(), self.layout.tail_offset(place))

    def reclaim_place(self, place: int) -> bool:
        """Free the place of a consumer that died: true if it is free now. Only the owner may call this."""
        self.check()
        offset = self.layout.tail_offset(place)
        if not shm.try_lock(self._file.fileno(), offset):
            return False
        self.memory[offset : offset + 8] = FREE_TAIL.to_bytes(8, "little")
        shm.unlock(self._file.fileno(), offset)
        return True

    def unlink(self) -> None:
        """Take the stream's name away, if it still leads to this segment; the lock is held meanwhile."""
        if self.named():
            shm.unlink(self.name)

    def close(self, why: ChronoStreamError | None = None) -> None:
        """Let go of the mapping and of every lock; twice is fine."""
        if self.refusal is not None:
            return
        self.refusal = why or ClosedError(f"the handle on stream {self.name!r} was closed: open another one")
        for method in self._on_refusal:
            method(self.refusal)
        del self.memory
        self.control = self._slots = None
        self._file.close()
        _open_segments.discard(self)


def _abandon_in_child() -> None:
    """Make a forked child let go of its parent's handles: a copy of a descriptor would keep its lock alive."""
    for segment in list(_open_segments):
        segment.close(
            ForkedError(
                f"the handle on stream {segment.name!r} belongs to this process's parent: open another one here"
            )
        )


os.register_at_fork(after_in_child=_abandon_in_child)


def _map(
    name: str, layout: Layout, fd: int, *, owner: bool, writable: bool, populate: bool
) -> tuple[mmap.mmap, memoryview | mmap.mmap | None]:
    """Map the segment, through a descriptor of its own: mmap keeps a copy, which must not be one with a lock."""
    try:
        mapped_fd = shm.open_existing(name, writable=writable, any_owner=True)
    except FileNotFoundError:
        raise StreamNotFoundError(f"stream {name!r} was removed at this moment: start its producer again") from None
    try:
        found = os.fstat(mapped_fd)
        if not os.path.samestat(found, os.fstat(fd)):
            raise StreamNotFoundError(f"stream {name!r} was removed and made anew at this moment: try again")
        size = layout.segment_size
        # Ours has all its pages from the start; where some are absent, this would make them, however many they were.
        flags = _POPULATED if populate and found.st_blocks * _BLOCK >= size else mmap.MAP_SHARED
        with shm.system_errors(f"the {size} bytes of stream {name!r} cannot be mapped"):
            if owner:
                memory = mmap.mmap(mapped_fd, size, flags, mmap.PROT_READ | mmap.PROT_WRITE)
                start = layout.control_offset
                return memory, memoryview(memory)[start : layout.application_offset]
            memory = mmap.mmap(mapped_fd, size, flags, mmap.PROT_READ)
            if not writable:
                return memory, None
            control = mmap.mmap(
                mapped_fd,
                layout.application_offset - layout.control_offset,
                mmap.MAP_SHARED,
                mmap.PROT_READ | mmap.PROT_WRITE,
                offset=layout.control_offset,
            )
            return memory, control
    except ValueError as error:  # mmap's, for a file that is too short
        raise CorruptSegmentError(f"the segment of stream {name!r} was cut off at this moment: {error}") from error
    finally:
        os.close(mapped_fd)


def _lock_exclusively(name: str, *, make: bool = True) -> int:
    """Open the segment, or make it, take the producer's lock, and return the descriptor that holds it."""
    while True:
        try:
            fd = shm.open_existing(name, writable=True)
        except FileNotFoundError:
            if not make:
                raise
            try:
                fd = _create_locked(name)
            except FileExistsError:
                continue
        try:
            if not shm.try_lock(fd, _PRODUCER_LOCK):
                raise _active(name, fd)
            if shm.same_file(fd, name):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # its owner removed it between our opening and our lock


def _create_locked(name: str) -> int:
    fd = shm.create(name)
    try:
        shm.try_lock(fd, _PRODUCER_LOCK)
    except ChronoStreamError:  # No system without such locks may keep a file that nobody can own.
        shm.unlink(name)
        os.close(fd)
        raise
    return fd


def _not_found(name: str) -> StreamNotFoundError:
    return StreamNotFoundError(
        f"there is no stream {name!r} on this machine: start its producer, or see `chronostream status`"
    )


def _active(name: str, fd: int) -> ProducerActiveError:
    header = _read_header(fd)
    if header[:8] != MAGIC:
        return ProducerActiveError(f"stream {name!r} is live: another process is making it at this moment")
    pid = int(np.frombuffer(header, HEADER_DTYPE, count=1)[0]["pid"])
    return ProducerActiveError(
        f"stream {name!r} is live: process {pid} is its producer; stop that one first, or use another name", pid
    )


def _read_header(fd: int) -> bytes:
    return shm.read(fd, MAX_HEADER_SIZE).ljust(HEADER_SIZE, b"\0")


def _check_same(name: str, found: Layout, wanted: Layout) -> None:
    for what in ("dtype", "capacity", "application_size", "max_consumers"):
        if getattr(found, what) != getattr(wanted, what):
            raise LayoutMismatchError(
                f"stream {name!r} exists with {what} {getattr(found, what)}, asked for was {getattr(wanted, what)}: "
                f"use the same, or remove it first (`chronostream remove {name}`)"
            )


def _open_to_attach(name: str, *, any_owner: bool) -> tuple[int, bool]:
    try:
        return shm.open_existing(name, writable=True, any_owner=any_owner), True
    except StreamError:  # Whatever the reason: a mode, a file system that is mounted read-only, a sandbox.
        return shm.open_existing(name, writable=False, any_owner=any_owner), False

"""How a segment is found or created, locked, checked and mapped, by the rules of docs/ring.md, "Life of a segment".

The public methods list the errors: `Producer.create`, `Consumer.attach` and `remove`.
"""

from __future__ import annotations

import mmap
import os
from contextlib import ExitStack

import numpy as np

from chronostream.errors import (
    AccessDeniedError,
    ChronoStreamError,
    CorruptSegmentError,
    LayoutMismatchError,
    ProducerActiveError,
    StreamError,
    StreamNotFoundError,
)
from chronostream.ring import locks, shm
from chronostream.ring.layout import HEADER_DTYPE, HEADER_SIZE, MAGIC, MAX_HEADER_SIZE, Layout

__all__ = ["PRODUCER_LOCK", "check_same", "check_whole", "map_segment", "open_locked", "open_to_attach", "read_layout"]

PRODUCER_LOCK = 0
"""The byte that a living producer locks."""

_ATTEMPTS = 1000  # while other processes create and remove the same stream


def open_locked(name: str, *, to_remove: bool = False) -> int:
    """Open or create the segment, take the producer's lock, and return the descriptor that holds it.

    With `to_remove` no segment is created. A read lock of another process is then no obstacle: it keeps producers out.
    """
    for _ in range(_ATTEMPTS):
        with ExitStack() as undo:
            try:
                fd = shm.open_existing(name, writable=True)
            except FileNotFoundError:
                if to_remove:
                    raise _not_found(name) from None
                try:
                    fd = _create_locked(name)
                except FileExistsError:
                    continue
            undo.callback(os.close, fd)
            if not locks.try_lock(fd, PRODUCER_LOCK):
                if locks.is_locked(fd, PRODUCER_LOCK):
                    raise _active(name, fd)
                if not locks.is_read_locked(fd, PRODUCER_LOCK):
                    continue  # The process that held it is gone.
                if not to_remove:
                    raise _read_locked(name)
            if shm.same_file(fd, name):  # If not, its owner removed it before we had the lock.
                undo.pop_all()
                return fd
    raise StreamError(f"stream {name!r} is made and removed all the time by other processes: use another name")


def open_to_attach(name: str, *, any_owner: bool) -> tuple[int, bool]:
    """Open the segment to read it; return the descriptor and whether the control region can be written."""
    try:
        try:
            return shm.open_existing(name, writable=True, any_owner=any_owner), True
        except StreamError:  # For any reason: its mode, a read-only mount, a sandbox.
            return shm.open_existing(name, writable=False, any_owner=any_owner), False
    except FileNotFoundError:
        raise _not_found(name) from None


def read_layout(name: str, fd: int) -> Layout | None:
    """Return the layout in a segment's header; None if the segment is still being made."""
    header = _read_header(fd)
    if not header[:8].strip(b"\0"):
        return None
    if header[:8] != MAGIC:
        raise CorruptSegmentError(
            f"the segment of stream {name!r} begins with {header[:8]!r}, not with ChronoStream's mark: it may be "
            "another program's; remove it, or use another stream name"
        )
    remedy = f"remove it (`chronostream remove {name}`)"
    try:
        return Layout.from_header(header, os.fstat(fd).st_size)
    except LayoutMismatchError as error:
        raise LayoutMismatchError(f"stream {name!r}: {error}, or {remedy}") from error
    except CorruptSegmentError as error:
        raise CorruptSegmentError(f"stream {name!r}: {error}; {remedy}") from error


def check_whole(name: str, fd: int, layout: Layout) -> None:
    """Raise `CorruptSegmentError` if a segment has holes, because reading them would allocate memory."""
    if shm.has_holes(fd, layout.segment_size):
        raise CorruptSegmentError(
            f"the segment of stream {name!r} is damaged: not all of its {layout.segment_size} bytes have memory, as in "
            f"a sparse copy; start its producer, or remove it (`chronostream remove {name}`)"
        )


def check_same(name: str, found: Layout, requested: Layout) -> None:
    """Raise `LayoutMismatchError` if an existing stream has another layout than requested."""
    for what in ("dtype", "capacity", "application_size", "max_consumers"):
        if getattr(found, what) != getattr(requested, what):
            raise LayoutMismatchError(
                f"stream {name!r} exists with {what} {getattr(found, what)}, requested was {getattr(requested, what)}: "
                f"use the same, or remove it first (`chronostream remove {name}`)"
            )


def map_segment(
    name: str, layout: Layout, fd: int, *, owner: bool, writable: bool, populate: bool
) -> tuple[mmap.mmap, memoryview | mmap.mmap | None]:
    """Map the segment; return all of it, writable for the owner only, and the control region if it may be written.

    The mapping gets a descriptor of its own, because mmap keeps a copy, which must not hold a lock.
    """
    try:
        mapped_fd = shm.open_existing(name, writable=writable, any_owner=True)
    except FileNotFoundError:
        raise StreamNotFoundError(f"stream {name!r} was removed at this moment: start its producer again") from None
    try:
        if not os.path.samestat(os.fstat(mapped_fd), os.fstat(fd)):
            raise StreamNotFoundError(f"stream {name!r} was removed and created again at this moment: try again")
        size = layout.segment_size
        flags = mmap.MAP_SHARED | (mmap.MAP_POPULATE if populate else 0)
        with shm.system_errors(f"the {size} bytes of stream {name!r} cannot be mapped"):
            if owner:
                memory = mmap.mmap(mapped_fd, size, flags)
                return memory, memoryview(memory)[layout.control_offset : layout.application_offset]
            memory = mmap.mmap(mapped_fd, size, flags, mmap.PROT_READ)
            start, end = layout.control_offset, layout.application_offset
            return memory, mmap.mmap(mapped_fd, end - start, offset=start) if writable else None
    except ValueError as error:  # from mmap, if the file is too short
        raise CorruptSegmentError(f"the segment of stream {name!r} was cut off at this moment: {error}") from error
    finally:
        os.close(mapped_fd)


def _create_locked(name: str) -> int:
    fd = shm.create(name)
    try:
        locks.try_lock(fd, PRODUCER_LOCK)
    except ChronoStreamError:  # On a system without such locks no process could own the file.
        shm.unlink(name)
        os.close(fd)
        raise
    return fd


def _read_header(fd: int) -> bytes:
    return shm.read(fd, MAX_HEADER_SIZE).ljust(HEADER_SIZE, b"\0")


def _not_found(name: str) -> StreamNotFoundError:
    return StreamNotFoundError(
        f"there is no stream {name!r} on this machine: start its producer, or see `chronostream status`"
    )


def _active(name: str, fd: int) -> ProducerActiveError:
    header = _read_header(fd)
    if header[:8] != MAGIC:
        return ProducerActiveError(f"stream {name!r} is live: another process is making it at this moment")
    fixed = np.frombuffer(header, HEADER_DTYPE, count=1)[0]
    pid = int(fixed["pid"])
    if int(fixed["pid_namespace"]) == shm.pid_namespace() and not shm.runs(pid):
        return ProducerActiveError(
            f"process {pid}, the last producer of stream {name!r}, no longer runs, but another process holds its "
            f"lock: end it (`fuser {shm.path_of(name)}` lists the processes that have it open), or use another name"
        )
    return ProducerActiveError(
        f"stream {name!r} is live: process {pid} is its producer; stop that one first, or use another name", pid
    )


def _read_locked(name: str) -> AccessDeniedError:
    return AccessDeniedError(
        f"stream {name!r} has no producer, but a process that may read it holds a read lock, and keeps producers out: "
        f"remove the stream (`chronostream remove {name}`), or end that process (`fuser {shm.path_of(name)}` lists the "
        "processes that have it open)"
    )

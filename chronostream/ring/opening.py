"""How a segment is opened: found or made, locked or only looked at, checked, and mapped.

Knows the layout and the rules of docs/ring.md, "Life of a segment"; knows no handles.
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

__all__ = ["PRODUCER_LOCK", "check_paid", "check_same", "map_segment", "open_locked", "open_to_attach", "read_layout"]

PRODUCER_LOCK = 0
"""The byte whose lock says that the producer lives."""

_ATTEMPTS = 1000  # to open what others remove at this moment


def open_locked(name: str, *, to_remove: bool = False) -> int:
    """Open the segment, or make it, take the producer's lock, and return the descriptor that holds it.

    To remove a stream, none is made, and a read lock is no hindrance: no producer can come as long as it is held.

    Raises:
        StreamNotFoundError: there is none to remove.
        ProducerActiveError: its producer lives.
        AccessDeniedError: it is another user's, this user may not create it, or a read lock keeps producers out.
        OutOfSharedMemoryError: there is no room for one more.
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
                    continue  # Whoever held it is gone.
                if not to_remove:
                    raise _kept_out(name)
            if shm.same_file(fd, name):  # If not, its owner removed it between our opening and our lock.
                undo.pop_all()
                return fd
    raise StreamError(f"stream {name!r} is made and removed all the time by others: use another name")


def open_to_attach(name: str, *, any_owner: bool) -> tuple[int, bool]:
    """Open the segment to look at it; return the descriptor and whether the control region may be written.

    Raises:
        StreamNotFoundError: there is none.
        AccessDeniedError: it belongs to another user and `any_owner` is false, or its mode keeps us out.
    """
    try:
        try:
            return shm.open_existing(name, writable=True, any_owner=any_owner), True
        except StreamError:  # Whatever the reason: a mode, a file system that is mounted read-only, a sandbox.
            return shm.open_existing(name, writable=False, any_owner=any_owner), False
    except FileNotFoundError:
        raise _not_found(name) from None


def read_layout(name: str, fd: int) -> Layout | None:
    """Return the layout of a segment as its header tells it; None if it is still being made.

    Raises:
        CorruptSegmentError: what is there is no ring of ours, or is damaged.
        LayoutMismatchError: it was made by another version of the layout.
    """
    header = _read_header(fd)
    if not header[:8].strip(b"\0"):
        return None
    if header[:8] != MAGIC:
        raise CorruptSegmentError(
            f"the segment of stream {name!r} begins with {header[:8]!r}, not with ChronoStream's mark: "
            "another program's? Remove it, or use another stream name"
        )
    remedy = f"remove it (`chronostream remove {name}`)"
    try:
        return Layout.from_header(header, os.fstat(fd).st_size)
    except LayoutMismatchError as error:
        raise LayoutMismatchError(f"stream {name!r}: {error}, or {remedy}") from error
    except CorruptSegmentError as error:
        raise CorruptSegmentError(f"stream {name!r}: {error}; {remedy}") from error


def check_paid(name: str, fd: int, layout: Layout) -> None:
    """Raise `CorruptSegmentError` if a segment has holes: whoever reads them makes the system fill them with memory."""
    if shm.has_holes(fd, layout.segment_size):
        raise CorruptSegmentError(
            f"the segment of stream {name!r} is damaged: not all of its {layout.segment_size} bytes have memory, as in "
            f"a sparse copy; start its producer, or remove it (`chronostream remove {name}`)"
        )


def check_same(name: str, found: Layout, wanted: Layout) -> None:
    """Raise `LayoutMismatchError` if a stream is there with another layout than is wanted."""
    for what in ("dtype", "capacity", "application_size", "max_consumers"):
        if getattr(found, what) != getattr(wanted, what):
            raise LayoutMismatchError(
                f"stream {name!r} exists with {what} {getattr(found, what)}, requested was {getattr(wanted, what)}: "
                f"use the same, or remove it first (`chronostream remove {name}`)"
            )


def map_segment(
    name: str, layout: Layout, fd: int, *, owner: bool, writable: bool, populate: bool
) -> tuple[mmap.mmap, memoryview | mmap.mmap | None]:
    """Map the segment; return all of it, writable for the owner only, and the control region if that may be written.

    Through a descriptor of its own: mmap keeps a copy, which must not be one with a lock.

    Raises:
        StreamNotFoundError: it was removed at this moment.
        CorruptSegmentError: it was cut off at this moment.
        OutOfSharedMemoryError: this process may not map so much.
    """
    try:
        mapped_fd = shm.open_existing(name, writable=writable, any_owner=True)
    except FileNotFoundError:
        raise StreamNotFoundError(f"stream {name!r} was removed at this moment: start its producer again") from None
    try:
        if not os.path.samestat(os.fstat(mapped_fd), os.fstat(fd)):
            raise StreamNotFoundError(f"stream {name!r} was removed and made anew at this moment: try again")
        size = layout.segment_size
        flags = mmap.MAP_SHARED | (mmap.MAP_POPULATE if populate else 0)
        with shm.system_errors(f"the {size} bytes of stream {name!r} cannot be mapped"):
            if owner:
                memory = mmap.mmap(mapped_fd, size, flags, mmap.PROT_READ | mmap.PROT_WRITE)
                return memory, memoryview(memory)[layout.control_offset : layout.application_offset]
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


def _create_locked(name: str) -> int:
    fd = shm.create(name)
    try:
        locks.try_lock(fd, PRODUCER_LOCK)
    except ChronoStreamError:  # No system without such locks may keep a file that nobody can own.
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
            f"lock: end that one (`fuser {shm.path_of(name)}` lists who has it open), or use another name"
        )
    return ProducerActiveError(
        f"stream {name!r} is live: process {pid} is its producer; stop that one first, or use another name", pid
    )


def _kept_out(name: str) -> AccessDeniedError:
    return AccessDeniedError(
        f"stream {name!r} has no producer, but a process that may read it holds a read lock, and keeps producers out: "
        f"remove the stream (`chronostream remove {name}`), or end that process (`fuser {shm.path_of(name)}` lists who "
        "has it open)"
    )

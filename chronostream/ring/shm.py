"""Named shared memory and the locks on it: the only module of the ring that knows the operating system.

A segment is a file in ``/dev/shm`` under the name that `multiprocessing.shared_memory` uses, opened here and not
through that class, which maps everything writable, hides its descriptor, and tells a resource tracker that deletes
live segments.

A lock is an open-file-description lock on one byte: the kernel drops it when the last copy of the descriptor is
closed, however its owner died, and it holds across containers that share the files.
"""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import re
import stat
import struct
from contextlib import suppress
from pathlib import Path

from chronostream.errors import AccessDeniedError, InvalidNameError, InvalidValueError, OutOfSharedMemoryError

__all__ = [
    "PREFIX",
    "create",
    "is_locked",
    "list_names",
    "open_existing",
    "permit",
    "pid_namespace",
    "read",
    "reserve",
    "same_file",
    "segment_name",
    "try_lock",
    "unlink",
    "unlock",
    "write",
]

PREFIX = "chronostream."
"""What every segment's name begins with, before the stream's own name."""

_DIRECTORY = Path("/dev/shm")  # noqa: S108 - where shm_open keeps its files, not a temporary file
_MAX_NAME = 64
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_FLOCK = struct.Struct("@hhqqi4x")  # type, whence, start, length, pid


def segment_name(name: str) -> str:
    """Return the name of the segment that carries the stream `name`: the one `SharedMemory(name=...)` takes.

    Raises:
        InvalidNameError: it is empty, too long, or has characters that could lead out of the directory.
    """
    if not _is_name(name):
        raise InvalidNameError(
            f"{name!r} is not a stream name: expected 1 to {_MAX_NAME} letters, digits, '.', '_' or '-', "
            "the first a letter, a digit or '_'"
        )
    return PREFIX + name


def list_names() -> list[str]:
    """Return the names of all streams that have a segment, sorted."""
    if not _DIRECTORY.is_dir():
        return []
    names = (entry.removeprefix(PREFIX) for entry in os.listdir(_DIRECTORY) if entry.startswith(PREFIX))
    return sorted(filter(_is_name, names))


def create(name: str) -> int:
    """Create the segment of the stream `name`, empty and for its owner only, and return a descriptor.

    Raises:
        FileExistsError: there is one already.
        AccessDeniedError: the system does not let this user create segments, or has no place for them.
        OutOfSharedMemoryError: there is no room for one more.
    """
    try:
        return _open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    except FileNotFoundError as error:
        raise AccessDeniedError(
            f"there is no {_DIRECTORY} here, where segments are made: mount a tmpfs there"
        ) from error


def open_existing(name: str, *, writable: bool, any_owner: bool = False) -> int:
    """Open the segment of the stream `name` and return a descriptor.

    Raises:
        FileNotFoundError: there is none.
        AccessDeniedError: it is another user's and `any_owner` is false, its mode keeps this user out, or what
            has its name is no regular file.
    """
    fd = _open(name, os.O_RDWR if writable else os.O_RDONLY)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise _irregular(name)
    if found.st_uid != os.geteuid() and not any_owner:
        os.close(fd)
        raise AccessDeniedError(
            f"the segment of stream {name!r} belongs to user {found.st_uid}, this process is user {os.geteuid()}: "
            "only a reader that says any_owner=True may trust it"
        )
    return fd


def permit(fd: int, mode: int, group: str | int | None) -> None:
    """Give a segment its mode and group.

    Raises:
        InvalidValueError: there is no such group, or the mode is not one.
        AccessDeniedError: this user may not give it to that group.
    """
    if not isinstance(mode, int) or mode & ~0o777:
        raise InvalidValueError(f"mode is {mode!r}, expected permissions from 0 to 0o777")
    if group is not None:
        try:
            gid = group if isinstance(group, int) else grp.getgrnam(group).gr_gid
        except (KeyError, TypeError, ValueError):
            raise InvalidValueError(f"there is no group {group!r} on this machine") from None
        try:
            os.fchown(fd, -1, gid)
        except OverflowError:
            raise InvalidValueError(f"group {group} is out of the range of group numbers") from None
        except OSError as error:
            raise AccessDeniedError(f"the segment cannot be given to group {group!r}: {error.strerror}") from error
    os.fchmod(fd, mode)


def reserve(fd: int, size: int) -> None:
    """Reserve `size` bytes for a segment now: a full system is an error here, never a SIGBUS later.

    Raises:
        OutOfSharedMemoryError: there is no room.
    """
    try:
        os.ftruncate(fd, size)
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG, errno.EINVAL):
            raise
        room = os.fstatvfs(fd)
        raise OutOfSharedMemoryError(
            f"no room for a segment of {size} bytes, {room.f_bavail * room.f_frsize} are free in shared memory: "
            "use a smaller capacity, remove streams that nobody needs, or enlarge /dev/shm"
        ) from error


def read(fd: int, size: int) -> bytes:
    """Return the first `size` bytes of a segment, or as many as it has."""
    return os.pread(fd, size, 0)


def write(fd: int, offset: int, data: bytes) -> None:
    """Write `data` into a segment that is large enough for it."""
    os.pwrite(fd, data, offset)


def unlink(name: str) -> None:
    """Take a segment's name away; whoever has it mapped keeps the memory. No error if it has none."""
    with suppress(FileNotFoundError):
        os.unlink(_path(name))


def same_file(fd: int, name: str) -> bool:
    """Return whether the stream's name still leads to the segment that `fd` is open on."""
    try:
        return os.path.samestat(os.stat(_path(name), follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False


def try_lock(fd: int, offset: int) -> bool:
    """Lock the byte at `offset` for this open file description, unless another one holds it."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK, offset))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def unlock(fd: int, offset: int) -> None:
    """Give the lock on the byte at `offset` back."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, offset))


def is_locked(fd: int, offset: int) -> bool:
    """Return whether another open file description holds the byte at `offset`; takes nothing itself."""
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, offset))
    assert isinstance(answer, bytes)
    lock_type: int = _FLOCK.unpack(answer)[0]
    return lock_type != fcntl.F_UNLCK


def pid_namespace() -> int:
    """Return a number that tells apart the namespaces in which a pid means something; 0 where there are none."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


def _flock(lock_type: int, offset: int) -> bytes:
    return _FLOCK.pack(lock_type, os.SEEK_SET, offset, 1, 0)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and len(name) <= _MAX_NAME and _NAME.fullmatch(name) is not None


def _path(name: str) -> str:
    return os.path.join(_DIRECTORY, segment_name(name))


def _open(name: str, flags: int) -> int:
    try:
        # Not blocking: a FIFO under our name would keep us waiting for its other end.
        return os.open(_path(name), flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except (PermissionError, IsADirectoryError) as error:
        raise AccessDeniedError(f"the segment of stream {name!r} cannot be opened: {error.strerror}") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise AccessDeniedError(f"{_path(name)} is a symbolic link: remove it") from error
        if error.errno == errno.ENOSPC:
            raise OutOfSharedMemoryError("no room for another segment: remove streams that nobody needs") from error
        if error.errno == errno.ENXIO:
            raise _irregular(name) from error  # a socket, or a FIFO
        raise


def _irregular(name: str) -> AccessDeniedError:
    return AccessDeniedError(f"{_path(name)} is not a regular file: remove it, or use another stream name")

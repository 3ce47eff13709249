"""Named shared memory. With locks.py, this is the only module of the ring that calls the operating system's files.

A segment is a file in ``/dev/shm`` under the name that `multiprocessing.shared_memory` uses. That class itself maps
everything writable, hides its descriptor, and tells a resource tracker that deletes live segments.

`FileNotFoundError` and `FileExistsError` pass unchanged, because callers test for them. `system_errors` makes every
other error of the system one of ours.
"""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from chronostream.errors import (
    AccessDeniedError,
    ChronoStreamError,
    InvalidNameError,
    InvalidValueError,
    OutOfSharedMemoryError,
    StreamError,
)

__all__ = [
    "PREFIX",
    "clear",
    "create",
    "has_holes",
    "has_name",
    "list_names",
    "open_existing",
    "path_of",
    "permit",
    "pid_namespace",
    "read",
    "reserve",
    "runs",
    "same_file",
    "segment_name",
    "system_errors",
    "unlink",
    "write",
]

PREFIX = "chronostream."
"""Prefix of every segment's name, before the stream's name."""

_DIRECTORY = Path("/dev/shm")  # noqa: S108 - where shm_open keeps its files, not a temporary file
_MAX_NAME = 64
_OWNER = 0o600
_BLOCK = 512  # what `st_blocks` counts
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)

_KINDS = (
    (stat.S_ISDIR, "directory"),
    (stat.S_ISLNK, "symbolic link"),
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
)
_IRREGULAR = (errno.EISDIR, errno.ELOOP, errno.ENXIO)  # a directory, a symbolic link, a socket or a FIFO
_ERRORS: dict[int | None, tuple[type[ChronoStreamError], str]] = {
    errno.EACCES: (AccessDeniedError, "Permission denied"),
    errno.EPERM: (AccessDeniedError, "Operation not permitted"),
    errno.EROFS: (AccessDeniedError, "it is mounted read-only: mount /dev/shm writable where producers run"),
    errno.ENOSPC: (OutOfSharedMemoryError, "use a smaller capacity, remove unused streams, or enlarge /dev/shm"),
    errno.EDQUOT: (OutOfSharedMemoryError, "this user's quota is used up: remove streams, or raise it"),
    errno.EFBIG: (OutOfSharedMemoryError, "a file may not be so large: use a smaller capacity, or raise `ulimit -f`"),
    errno.ENOMEM: (OutOfSharedMemoryError, "out of memory: use a smaller capacity, or raise `ulimit -v`"),
    errno.EAGAIN: (OutOfSharedMemoryError, "too much memory is locked: raise `ulimit -l`"),
    errno.EMFILE: (StreamError, "too many files are open: close some, or raise `ulimit -n`"),
    errno.ENFILE: (StreamError, "too many files are open on this machine: raise `sysctl fs.file-max`"),
}


@contextmanager
def system_errors(what: str, path: Path | None = None) -> Iterator[None]:
    """Turn an `OSError` inside the block into an error of our tree.

    Args:
        what: the beginning of the message: what cannot be done.
        path: the file whose owner and mode the message names if access is denied.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        kind, reason = _ERRORS.get(error.errno, (StreamError, error.strerror))
        denied = error.errno in (errno.EACCES, errno.EPERM)
        raise kind(f"{what}: {reason}{_owner_of(path) if denied and path is not None else ''}") from error


def segment_name(name: str) -> str:
    """Return the name of the segment of the stream `name`, as `SharedMemory(name=...)` takes it.

    Raises:
        InvalidNameError: it is empty, too long, or has characters that could lead out of the directory.
    """
    if not _is_name(name):
        raise InvalidNameError(
            f"{name!r} is not a stream name: expected 1 to {_MAX_NAME} letters, digits, '.', '_' or '-', "
            "the first a letter, a digit or '_'"
        )
    return PREFIX + name


def path_of(name: str) -> Path:
    """Return the file of the segment of the stream `name`."""
    return _DIRECTORY / segment_name(name)


def list_names() -> list[str]:
    """Return the names of all streams that have a segment, sorted.

    Raises:
        AccessDeniedError: this user may not list them.
    """
    try:
        with system_errors(f"{_DIRECTORY} cannot be listed", _DIRECTORY):
            entries = os.listdir(_DIRECTORY)
    except FileNotFoundError:
        return []
    return sorted(filter(_is_name, (entry.removeprefix(PREFIX) for entry in entries if entry.startswith(PREFIX))))


def create(name: str) -> int:
    """Create the segment of the stream `name`, empty and for its owner only, and return a descriptor."""
    path = path_of(name)
    with system_errors(f"the segment of stream {name!r} cannot be created", _DIRECTORY):
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileNotFoundError as error:
            raise AccessDeniedError(
                f"there is no {_DIRECTORY} here, where segments are made: mount a tmpfs there"
            ) from error
        except OSError as error:
            if error.errno == errno.ENOSPC:  # no room for another file
                raise OutOfSharedMemoryError("no room for another segment: remove unused streams") from error
            raise


def open_existing(name: str, *, writable: bool, any_owner: bool = False) -> int:
    """Open the segment of the stream `name`, a regular file of this user, or of any user with `any_owner`."""
    path = path_of(name)
    # Not blocking, or a FIFO of that name would wait for its other end.
    flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with system_errors(f"the segment of stream {name!r} cannot be opened", path):
        try:
            fd = os.open(path, flags)
        except OSError as error:
            if error.errno in _IRREGULAR:
                raise _irregular(path) from error
            raise
    with ExitStack() as undo:
        undo.callback(os.close, fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _irregular(path)
        if not any_owner and (owner := _other_owner(fd)) is not None:
            raise AccessDeniedError(
                f"the segment of stream {name!r} belongs to {owner}, this process is user {os.geteuid()}: "
                "only a reader can trust it, with any_owner=True"
            )
        undo.pop_all()
    return fd


def permit(fd: int, mode: int, group: str | int | None) -> None:
    """Give a segment its mode and group."""
    if not isinstance(mode, int) or mode & ~0o777:
        raise InvalidValueError(f"mode is {mode!r}, expected permissions from 0 to 0o777")
    if mode & _OWNER != _OWNER:
        raise InvalidValueError(
            f"mode is {mode:#o}, expected permissions by which the owner reads and writes, such as 0o600 or 0o640: the "
            "producer opens its segment by the same permissions"
        )
    if group is not None:
        try:
            gid = group if isinstance(group, int) else grp.getgrnam(group).gr_gid
            with system_errors(f"the segment cannot be given to group {group!r}"):
                os.fchown(fd, -1, gid)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise InvalidValueError(f"there is no group {group!r} on this machine") from None
    with system_errors(f"the segment cannot be given mode {mode:#o}"):
        os.fchmod(fd, mode)


def reserve(fd: int, size: int) -> None:
    """Reserve the memory of a segment of `size` bytes: a lack of memory is an error here, never a later SIGBUS."""
    room = os.fstatvfs(fd)
    free = room.f_bavail * room.f_frsize
    with system_errors(f"no room for a segment of {size} bytes, {free} are free in shared memory"):
        os.posix_fallocate(fd, 0, size)


def has_holes(fd: int, size: int) -> bool:
    """Return whether some of a segment's first `size` bytes have no memory yet; changes the offset of the open file."""
    if os.fstat(fd).st_blocks * _BLOCK >= size:
        return False
    # Fewer blocks prove nothing: a file system may compress.
    with system_errors("a segment cannot be searched for holes"):
        return os.lseek(fd, 0, os.SEEK_HOLE) < size


def clear(fd: int) -> None:
    """Truncate a segment to nothing."""
    with system_errors("a segment cannot be emptied"):
        os.ftruncate(fd, 0)


def read(fd: int, size: int) -> bytes:
    """Return the first `size` bytes of a segment, or as many as it has."""
    with system_errors("a segment cannot be read"):
        return os.pread(fd, size, 0)


def write(fd: int, offset: int, data: bytes) -> None:
    """Write `data` into a segment that is large enough for it."""
    with system_errors("a segment cannot be written"):
        os.pwrite(fd, data, offset)


def unlink(name: str) -> None:
    """Delete a segment's name, if it has one; processes that have it mapped keep the memory."""
    path = path_of(name)
    with suppress(FileNotFoundError), system_errors(f"the segment of stream {name!r} cannot be deleted", path):
        os.unlink(path)


def same_file(fd: int, name: str) -> bool:
    """Return whether the stream's name still leads to the segment that `fd` is open on."""
    path = path_of(name)
    try:
        with system_errors(f"the status of the segment of stream {name!r} cannot be read", _DIRECTORY):
            return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False


def has_name(fd: int) -> bool:
    """Return whether the segment that `fd` is open on still has a name, be it invisible from here."""
    return os.fstat(fd).st_nlink > 0


def pid_namespace() -> int:
    """Return the number of this process's pid namespace; 0 if the system does not tell."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


def runs(pid: int) -> bool:
    """Return whether a process with this pid exists in this pid namespace."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _is_name(name: object) -> bool:
    return isinstance(name, str) and len(name) <= _MAX_NAME and _NAME.fullmatch(name) is not None


def _other_owner(fd: int) -> str | None:
    """Return the owner of an open file, or None if that is this user."""
    owner = os.fstat(fd).st_uid
    if owner != os.geteuid():
        return f"user {owner}"
    # In a user namespace all unknown users have the same number, which may be this user's number, too. The kernel
    # knows better: it grants this flag to the owner only.
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NOATIME)
    except PermissionError:
        return f"a user that this namespace does not know and reports as {owner}"
    return None


def _irregular(path: Path) -> AccessDeniedError:
    """Return the error for a `path` that is not a regular file: its kind and its owner."""
    found = ""
    with suppress(OSError):
        status = path.lstat()
        kind = next((kind for is_kind, kind in _KINDS if is_kind(status.st_mode)), "device")
        found = f" but a {kind} of user {status.st_uid}"
    return AccessDeniedError(f"{path} is not a regular file{found}: remove it, or use another stream name")


def _owner_of(path: Path) -> str:
    """Return the end of a message about a file that this user may not use: its owner and mode, if they are known."""
    try:
        found = path.lstat()
    except OSError:
        return ""
    facts = f": {path} belongs to user {found.st_uid} and has mode {stat.S_IMODE(found.st_mode):04o}"
    if not stat.S_ISREG(found.st_mode):
        return facts
    if found.st_uid == os.geteuid():
        return f"{facts}; give it mode 0600 (`chmod 600 {path}`)"
    return f"{facts}; ask that user, or use another stream name"

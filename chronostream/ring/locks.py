"""The locks on a segment: they tell whether its producer and its consumers live.

A lock is an open-file-description lock on one byte. The kernel drops it when the last copy of the descriptor is closed,
however its owner died, and it works across containers that share the files. Producers and consumers take write locks,
which need write permission. A read lock needs only read permission, so it proves nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import warnings

from chronostream.errors import CoreUnavailableError
from chronostream.ring.shm import system_errors

__all__ = ["Descriptor", "is_locked", "is_read_locked", "try_lock", "unlock"]

_FLOCK = struct.Struct("@hhqqi4x")  # type, whence, start, length, pid


class Descriptor:
    """A descriptor that notices when other code has closed its number, and never closes a file that reuses it.

    Each open file has an offset, which the ring does not use: a random offset identifies this one.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._mark = 1 + int.from_bytes(os.urandom(5), "little")
        os.lseek(fd, self._mark, os.SEEK_SET)

    @property
    def is_open(self) -> bool:
        """Whether the number still belongs to this file, so that its locks are held."""
        try:
            return os.lseek(self._fd, 0, os.SEEK_CUR) == self._mark
        except OSError:
            return False

    def fileno(self) -> int:
        """Return the number; -1 once it is closed."""
        return self._fd

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        if self.is_open:
            os.close(self._fd)
        self._fd = -1

    def __del__(self) -> None:
        if self._fd >= 0:
            warnings.warn(f"unclosed file {self._fd} of a stream", ResourceWarning, stacklevel=2, source=self)
            self.close()


def try_lock(fd: int, offset: int) -> bool:
    """Take a write lock on the byte at `offset`; return whether that succeeded."""
    return _lock(fd, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, offset) is not None


def unlock(fd: int, offset: int) -> None:
    """Release the lock on the byte at `offset`."""
    _lock(fd, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, offset)


def is_locked(fd: int, offset: int) -> bool:
    """Return whether another open file has a write lock on the byte at `offset`."""
    return _lock(fd, fcntl.F_OFD_GETLK, fcntl.F_RDLCK, offset) != fcntl.F_UNLCK


def is_read_locked(fd: int, offset: int) -> bool:
    """Return whether another open file has a read lock on the byte at `offset`."""
    return _lock(fd, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, offset) == fcntl.F_RDLCK


def _lock(fd: int, command: int, kind: int, offset: int) -> int | None:
    """Take, release or query the lock on one byte; return its type, or None if another open file holds it."""
    with system_errors("a segment cannot be locked"):
        try:
            answer = fcntl.fcntl(fd, command, _FLOCK.pack(kind, os.SEEK_SET, offset, 1, 0))
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return None
            if error.errno in (errno.EINVAL, errno.ENOSYS):
                raise CoreUnavailableError(
                    "this system has no open-file-description locks, which a stream needs: use Linux 3.15 or newer, "
                    "outside of sandboxes that lack them"
                ) from error
            raise
    assert isinstance(answer, bytes)
    found: int = _FLOCK.unpack(answer)[0]
    return found

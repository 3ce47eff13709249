"""The locks on a segment: who is its producer, and which consumers live.

A lock is an open-file-description lock on one byte: the kernel drops it when the last copy of the descriptor is
closed, however its owner died, and it holds across containers that share the files. Producers and consumers lock a byte
for themselves alone, which only who may write can do.
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
    """A descriptor that notices when others closed its number, and never closes what has that number since.

    Nothing here uses the offset of an open file, which every opening has for itself: a random one is its mark.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._mark = 1 + int.from_bytes(os.urandom(5), "little")
        os.lseek(fd, self._mark, os.SEEK_SET)

    @property
    def is_open(self) -> bool:
        """Whether the number still leads to what was opened, and its locks are held."""
        try:
            return os.lseek(self._fd, 0, os.SEEK_CUR) == self._mark
        except OSError:
            return False

    def fileno(self) -> int:
        """Return the number; -1 once it is closed."""
        return self._fd

    def close(self) -> None:
        """Close the descriptor; twice is fine."""
        if self.is_open:
            os.close(self._fd)
        self._fd = -1

    def __del__(self) -> None:
        if self._fd >= 0:
            warnings.warn(f"unclosed file {self._fd} of a stream", ResourceWarning, stacklevel=2, source=self)
            self.close()


def try_lock(fd: int, offset: int) -> bool:
    """Lock the byte at `offset` for this open file description, unless another one holds it."""
    return _lock(fd, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, offset) is not None


def unlock(fd: int, offset: int) -> None:
    """Give the lock on the byte at `offset` back."""
    _lock(fd, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, offset)


def is_locked(fd: int, offset: int) -> bool:
    """Return whether another open file description holds the byte at `offset` for itself alone; takes nothing itself.

    Only who may write can hold a byte so. A read lock, which whoever may read can take, counts for nothing here.
    """
    return _lock(fd, fcntl.F_OFD_GETLK, fcntl.F_RDLCK, offset) != fcntl.F_UNLCK


def is_read_locked(fd: int, offset: int) -> bool:
    """Return whether another open file description has a read lock on the byte at `offset`."""
    return _lock(fd, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, offset) == fcntl.F_RDLCK


def _lock(fd: int, command: int, lock_type: int, offset: int) -> int | None:
    """Take, give back or ask for the lock on one byte; return the type in the answer, None if another one holds it."""
    with system_errors("a segment cannot be locked"):
        try:
            answer = fcntl.fcntl(fd, command, _FLOCK.pack(lock_type, os.SEEK_SET, offset, 1, 0))
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return None
            if error.errno in (errno.EINVAL, errno.ENOSYS):
                raise CoreUnavailableError(
                    "this system has no open-file-description locks, which say who owns a stream: use Linux 3.15 or "
                    "newer, and no sandbox that leaves them out"
                ) from error
            raise
    assert isinstance(answer, bytes)
    found: int = _FLOCK.unpack(answer)[0]
    return found

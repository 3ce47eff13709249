"""A stop flag that a signal handler may set and that ends a wait at once."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Self

from chronostream.errors import ClosedError

__all__ = ["Stop"]


class Stop:
    """A flag that is set once and stays set, with a descriptor that is readable from then on.

    A `threading.Event` must not be set from a signal handler: the interrupted code may hold its lock. A `Stop` may be
    set from a signal handler or any thread, any number of times, also after `close`. It belongs to the process that
    made it: a forked child shares the descriptor but not the flag.
    """

    def __init__(self) -> None:
        self._set = False
        # Re-entrant: a signal handler may interrupt the thread that holds it.
        self._lock = threading.RLock()
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)
        self._descriptors = weakref.finalize(self, _close, self._read_fd, self._write_fd)

    def set(self) -> None:
        """Set the flag and end every wait on it."""
        with self._lock:
            if not self._set:
                self._set = True
                if self._descriptors.alive:
                    os.write(self._write_fd, b"\0")

    def is_set(self) -> bool:
        """Return whether the flag is set."""
        return self._set

    def fileno(self) -> int:
        """Return the descriptor that is readable once the flag is set, for `select` or `poll`."""
        if not self._descriptors.alive:
            raise ClosedError("this Stop was closed, and a wait needs an open one: make a new Stop")
        return self._read_fd

    def wakeup_fileno(self) -> int:
        """Return the descriptor for `signal.set_wakeup_fd`: a byte in it ends every wait, as the flag does.

        Python runs a handler in the main thread, after a wait there. Without this descriptor, a signal that comes to
        another thread, or just before the wait, does not end it. The handler must set the flag.
        """
        self.fileno()
        return self._write_fd

    def close(self) -> None:
        """Close the descriptor while nothing waits on it; the flag itself keeps working."""
        with self._lock:
            self._descriptors()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)

"""A stop flag that a signal handler may set and that ends a wait at once. It knows nothing of clocks."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Self

from chronostream.errors import ClosedError

__all__ = ["Stop"]


class Stop:
    """A flag that is set once and stays set, with a descriptor that is readable from then on.

    A `threading.Event` must not be set from a signal handler: its lock may be held by the very code that the handler
    interrupted. This may, as often as wanted, from any thread, and after `close` too. It belongs to the process that
    made it: a forked child shares the descriptor, but not the flag.
    """

    def __init__(self) -> None:
        self._set = False
        # Re-entrant, for the handler that interrupts the thread which holds it.
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
        """Return the descriptor that is readable once the flag is set, for `select` and its like.

        Raises:
            ClosedError: the flag was closed.
        """
        if not self._descriptors.alive:
            raise ClosedError("this Stop was closed, so that nothing can wait on it: make a new one")
        return self._read_fd

    def close(self) -> None:
        """Close the descriptor; the flag itself goes on working. No wait on it may be under way."""
        with self._lock:
            self._descriptors()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)

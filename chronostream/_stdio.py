"""The standard streams of a process: what to do with one that is closed, or that cannot be used any more."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

__all__ = ["discard_unwritten", "open_closed", "silence"]

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_closed() -> None:
    """Open the null device on each of the descriptors 0, 1 and 2 that is closed.

    Otherwise the next file that is opened gets that number, and with it what is meant for a standard stream. Call this
    before anything else is opened.
    """
    for fd, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(fd)
        except OSError:
            # The system takes the lowest number that is free, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, closefd=False))


def silence(fd: int) -> None:
    """Let whatever is still written to a descriptor go nowhere, such as what Python flushes at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, fd)
    os.close(nowhere)


def discard_unwritten(fd: int) -> None:
    """Drop what is buffered for an output that cannot be written to, so that flushing it at exit reports nothing."""
    stream = sys.stdout if fd == 1 else sys.stderr
    with suppress(OSError, ValueError):  # It may be closed.
        before = os.dup(fd)
        silence(fd)
        stream.flush()
        os.dup2(before, fd)
        os.close(before)

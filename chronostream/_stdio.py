"""The standard streams of a process: what to do with one that cannot be used."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

__all__ = ["discard_unwritten", "silence"]


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

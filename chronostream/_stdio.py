"""The standard streams of a process: what to do with one that cannot be used."""

from __future__ import annotations

import os

__all__ = ["silence"]


def silence(fd: int) -> None:
    """Let whatever is still written to a descriptor go nowhere, such as what Python flushes at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, fd)
    os.close(nowhere)

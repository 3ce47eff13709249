"""The standard streams of a process: one that is closed, one that takes no more, and text that a terminal can show."""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress

__all__ = ["discard_unwritten", "open_closed", "print_lines", "printable_text", "silence", "write_all"]

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


def write_all(fd: int, data: bytes) -> None:
    """Write all of the data, in as many parts as it takes; wait for room also where the descriptor does not."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()


def print_lines(*lines: str) -> None:
    """Print lines on stdout. Text from a segment can neither begin a line nor command the terminal."""
    print("\n".join(map(printable_text, lines)), flush=True)  # noqa: T201 - where the command line prints


def printable_text(text: str) -> str:
    """Return one line of text with line ends, escapes and other invisible characters replaced."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)

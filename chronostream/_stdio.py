"""The standard streams of a process: closed ones, full ones, and text that is safe for a terminal."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

__all__ = [
    "discard_unwritten",
    "open_closed",
    "print_lines",
    "printable_text",
    "silence",
    "waiting_stdout",
    "write_all",
]

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_closed() -> None:
    """Open the null device on each of the descriptors 0, 1 and 2 that is closed.

    Otherwise the next file that is opened gets that number, and the output of the standard stream. Call this before
    anything else is opened.
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
    """Discard all later output to a descriptor, such as the output that Python flushes at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, fd)
    os.close(null)


def discard_unwritten(stream: TextIO) -> None:
    """Drop the buffered text of an output that cannot be written to, so that Python's flush at exit does not fail."""
    with suppress(OSError, ValueError):  # It may be closed.
        fd = stream.fileno()
        before = os.dup(fd)
        silence(fd)
        stream.flush()
        os.dup2(before, fd)
        os.close(before)


def write_all(fd: int, data: bytes) -> None:
    """Write all of the data, and wait for room where necessary, also on a non-blocking descriptor."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            _wait_for_room(fd)


@contextmanager
def waiting_stdout() -> Iterator[None]:
    """Let stdout wait for room, and escape what its encoding cannot spell, while the block runs.

    A shell or a program that shares its terminal or pipe may have made it non-blocking, and Python then drops what does
    not fit.
    """
    stream = sys.stdout
    if not isinstance(stream, io.TextIOWrapper):
        yield
        return
    with suppress(OSError):
        stream.flush()
    errors, out = stream.errors, stream
    if not _is_blocking(stream):
        # Only then: Ctrl-C just behind a write of Python's own would have the buffer write the same again.
        raw = _Waiting(getattr(stream.buffer, "raw", None) or stream.buffer)
        out = io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, line_buffering=stream.line_buffering)
    out.reconfigure(errors="backslashreplace")
    sys.stdout = out
    try:
        yield
    finally:
        sys.stdout = stream
        if out is stream:
            try:
                stream.flush()
            except (OSError, ValueError):
                discard_unwritten(stream)
            if not stream.closed:
                stream.reconfigure(errors=errors)
        else:
            with suppress(OSError):  # What could not be written was reported when it was printed.
                out.close()


def _is_blocking(stream: io.TextIOWrapper) -> bool:
    try:
        return os.get_blocking(stream.fileno())
    except (OSError, ValueError):  # It is no file, or closed.
        return True


class _Waiting(io.RawIOBase):
    """Writes to a file, and waits while it takes nothing. Closing this leaves the file open."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return self._file.isatty()

    def write(self, data: Any) -> int:
        while (count := self._file.write(data)) is None:
            _wait_for_room(self.fileno())
        return count


def _wait_for_room(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll()


def print_lines(*lines: str) -> None:
    """Print lines on stdout. Text from a segment cannot start a new line or send escapes to the terminal."""
    print("\n".join(map(printable_text, lines)), flush=True)  # noqa: T201 - all commands print here


def printable_text(text: str) -> str:
    """Return one line of text with line ends, escapes and other invisible characters replaced."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)

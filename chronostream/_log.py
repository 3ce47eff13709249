"""The log of a process on stderr. A reader that stops reading never blocks a thread that logs."""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from queue import SimpleQueue

from chronostream._stdio import discard_unwritten, printable_text, write_all

__all__ = ["flush_log", "log_to_stderr", "print_error"]

_MAX_LINES = 1000
_FLUSH_S = 0.25


def log_to_stderr(level: int = logging.INFO) -> None:
    """Log ChronoStream's records from `level` on, and those of other packages from WARNING on: one line each, in UTC.

    A thread writes the lines. While it cannot write, it keeps a thousand of them; later ones are dropped and counted. A
    program that has a log already keeps it.
    """
    if not logging.root.handlers:
        logging.root.addHandler(_Stderr())
    logging.getLogger("chronostream").setLevel(level)


def flush_log() -> None:
    """Wait a moment for the log to be written, so that a result appears after it."""
    for handler in logging.root.handlers:
        handler.flush()


def print_error(line: str) -> None:
    """Print an error on stderr, after the log if that goes there too."""
    for handler in logging.root.handlers:
        if isinstance(handler, _Stderr):
            handler.put(line)
            return
    try:
        _write_stderr(line)
        sys.stderr.flush()
    except OSError:
        discard_unwritten(sys.stderr)


def _write_stderr(line: str) -> None:
    """Write to what stderr is now: a progress bar stays below the lines only if they go through it."""
    if sys.stderr is sys.__stderr__:
        # Not through Python's buffer: a thread that waits there keeps the interpreter from ending.
        write_all(2, f"{line}\n".encode(errors="backslashreplace"))
    else:
        sys.stderr.write(f"{line}\n")


class _Formatter(logging.Formatter):
    """Makes one printable line of a message; a traceback keeps its own lines."""

    converter = staticmethod(time.gmtime)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable_text(super().formatMessage(record))


class _Stderr(logging.Handler):
    """Passes lines to a thread, which writes them to stderr. At exit it has a moment to write the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"))
        self._dropped = 0
        self._began_s = math.inf  # when the current write began
        # Each line with the number of lines dropped before it; or an event to set once all lines before it are written.
        self._lines: SimpleQueue[tuple[int, str | threading.Event]] = SimpleQueue()
        threading.Thread(target=self._write_lines, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.put(self.format(record))
        except Exception as error:  # noqa: BLE001 - as in every handler: a bad log call must not end the program
            self.put(f"{record.name} logs {record.msg!r}, which cannot be formatted: {error!r}")

    def put(self, line: str) -> None:
        if self._lines.qsize() < _MAX_LINES:
            self._lines.put((self._dropped, line))
        else:
            self._dropped += 1

    def flush(self) -> None:
        now_s = time.monotonic()
        # A write that has been stuck for that long gets no more time.
        self._mark().wait(max(0.0, min(self._began_s, now_s) + _FLUSH_S - now_s))

    def _mark(self) -> threading.Event:
        """Return an event that is set once all lines up to now are written and the dropped ones reported."""
        written = threading.Event()
        self._lines.put((self._dropped, written))
        return written

    def _write_lines(self) -> None:
        reported = 0
        while True:
            dropped, line = self._lines.get()
            if dropped > reported and self._write(self._report(dropped - reported)):
                reported = dropped
            if isinstance(line, threading.Event):
                line.set()
            elif not self._write(line):
                reported -= 1  # This line is dropped too.
            elif self._dropped > reported and self._lines.empty():
                self._mark()

    def _report(self, dropped: int) -> str:
        text = f"log lines dropped, as stderr took no more: {dropped}"
        return self.format(logging.makeLogRecord({"levelname": "WARNING", "msg": text}))

    def _write(self, line: str) -> bool:
        self._began_s = time.monotonic()
        try:
            _write_stderr(line)
        except Exception:  # noqa: BLE001 - the reader is gone, or the disk is full: both may change
            return False
        finally:
            self._began_s = math.inf
        return True

"""The terminal of a program that takes it over: keys one by one, signals in between, and afterwards all as it was.

It knows nothing of what is shown.
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Self

__all__ = ["Screen"]

_QUIT, _RESIZE, _SUSPEND = "quit", "resize", "suspend"
_SIGNALS = {
    signal.SIGINT: _QUIT,
    signal.SIGTERM: _QUIT,
    signal.SIGHUP: _QUIT,
    signal.SIGWINCH: _RESIZE,
    signal.SIGTSTP: _SUSPEND,
}
_SEQUENCES = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
}
_KEY = re.compile(rb"\x1b\[[0-9;]*[A-Za-z~]|\x1bO.|.", re.DOTALL)
_AT_ONCE = 256


class Screen:
    """Turns keys and signals into words, one at a time. Main thread only; use it as a context manager.

    A signal that would end or suspend the program becomes ``"quit"`` or ``"suspend"`` instead, so that the program can
    tidy up the terminal first. Keys come without Enter and are not echoed, if standard input is a terminal.
    """

    def __init__(self) -> None:
        self._open = ExitStack()
        self._signals_fd = -1
        self._words: deque[str] = deque()
        # Not the one that is shown on: a program whose input is a pipe has no keys, and runs all the same.
        self._keys_fd = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None

    def next(self, timeout_s: float) -> str | None:
        """Return the next key or signal; None when the time is up.

        Returns:
            A printable ASCII key as itself; ``"up"``, ``"down"``, ``"page up"`` or ``"page down"``; ``"quit"``,
            ``"resize"`` or ``"suspend"`` for a signal; ``"quit"`` too when the terminal is gone.
        """
        deadline_s = time.monotonic() + timeout_s
        fds = [fd for fd in (self._signals_fd, self._keys_fd) if fd is not None]
        while not self._words:
            ready = select.select(fds, [], [], max(0.0, deadline_s - time.monotonic()))[0]
            if not ready:
                return None
            self._words.extend(self._signals() if self._signals_fd in ready else self._keys())
        return self._words.popleft()

    def suspend(self) -> None:
        """Stop this process as Ctrl-Z does, with the terminal as it was; return when it is continued."""
        self._open.close()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._enter()

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _enter(self) -> None:
        with ExitStack() as undo:
            self._signals_fd = undo.enter_context(_signal_pipe())
            if self._keys_fd is not None:
                undo.enter_context(_keys_one_by_one(self._keys_fd))
            self._open = undo.pop_all()

    def _signals(self) -> Iterator[str]:
        for number in os.read(self._signals_fd, _AT_ONCE):
            if number in _SIGNALS:
                yield _SIGNALS[signal.Signals(number)]

    def _keys(self) -> Iterator[str]:
        assert self._keys_fd is not None
        try:
            typed = os.read(self._keys_fd, _AT_ONCE)
        except OSError:
            typed = b""
        if not typed:
            yield _QUIT  # The terminal is gone.
        for key in _KEY.findall(typed):
            if key in _SEQUENCES:
                yield _SEQUENCES[key]
            elif len(key) == 1 and key.isascii() and key.decode().isprintable():
                yield key.decode()


@contextmanager
def _signal_pipe() -> Iterator[int]:
    """Have signals written into a pipe, by number, instead of doing what they do; yield the end to read."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    with ExitStack() as undo:
        undo.callback(os.close, write_fd)
        undo.callback(os.close, read_fd)
        undo.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False))
        for number in _SIGNALS:
            # Without a handler Python does not write the number either.
            undo.callback(signal.signal, number, signal.signal(number, _nothing))
        yield read_fd


@contextmanager
def _keys_one_by_one(fd: int) -> Iterator[None]:
    settings = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield
    finally:
        with suppress(termios.error):  # It may be gone, which is why this ends.
            termios.tcsetattr(fd, termios.TCSADRAIN, settings)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    pass

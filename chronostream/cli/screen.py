"""The terminal of a program that takes it over: reads keys and signals, and restores the terminal afterwards."""

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
from typing import Self

__all__ = ["Screen"]

_SIGNALS = {
    **dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), "quit"),
    signal.SIGWINCH: "resize",
    signal.SIGTSTP: "suspend",
}
_ARROWS = {b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down"}
_SEQUENCES = _ARROWS | {b"\x1b[5~": "page up", b"\x1b[6~": "page down"}
_KEY = re.compile(rb"\x1b\[[0-9;]*[A-Za-z~]|\x1bO.|.", re.DOTALL)
_AT_ONCE = 256


class Screen:
    """Turns keys and signals into words, one at a time. Main thread only; use it as a context manager.

    Signals that would end or suspend the program become ``"quit"`` and ``"suspend"``, so that it can restore the
    terminal first. If standard input is a terminal, keys come without Enter and are not echoed.
    """

    def __init__(self) -> None:
        self._open = ExitStack()
        self._signals_fd = -1
        self._words: deque[str] = deque()
        self._keys_fd = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None

    def next(self, timeout_s: float) -> str | None:
        """Return the next key or signal; None when the time is up.

        It is a printable ASCII key; ``"up"``, ``"down"``, ``"page up"`` or ``"page down"``; or ``"resize"``,
        ``"suspend"`` or ``"quit"``, which also means that the terminal is gone.
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
        """Stop this process as Ctrl-Z does, with the terminal restored; return when it is continued."""
        self._open.close()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.__enter__()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self._signals_fd = undo.enter_context(_signal_pipe())
            if self._keys_fd is not None:
                undo.enter_context(_single_keys(self._keys_fd))
            self._open = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

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
            yield "quit"  # The terminal is gone.
        for key in _KEY.findall(typed):
            if key in _SEQUENCES:
                yield _SEQUENCES[key]
            elif len(key) == 1 and key.isascii() and key.decode().isprintable():
                yield key.decode()


@contextmanager
def _signal_pipe() -> Iterator[int]:
    """Write the numbers of signals into a pipe instead of handling them; yield the end to read."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    with ExitStack() as undo:
        undo.callback(os.close, write_fd)
        undo.callback(os.close, read_fd)
        undo.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False))
        for number in _SIGNALS:
            # Python writes the number only of a signal that has a handler.
            undo.callback(signal.signal, number, signal.signal(number, lambda *_: None))
        yield read_fd


@contextmanager
def _single_keys(fd: int) -> Iterator[None]:
    settings = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield
    finally:
        with suppress(termios.error):  # It may be gone, which is why this ends.
            termios.tcsetattr(fd, termios.TCSADRAIN, settings)

from __future__ import annotations

import os
import pty
import signal
import subprocess
import termios
from collections.abc import Iterator

import pytest

from tests.process_harness import Program, Programs

WORDS = """
from chronostream.cli.screen import Screen
with Screen() as screen:
    print("ready", screen.next(0), flush=True)
    while True:
        print(word := screen.next(20), flush=True)
        if word == "quit":
            break
"""


class Typist:
    """Types at the terminal that is a program's standard input."""

    def __init__(self, programs: Programs) -> None:
        self.terminal, self._slave = pty.openpty()
        self.before = self.settings()
        self.program: Program = programs.python("-c", WORDS, stdin=self._slave)
        assert self.program.out.line() == "ready None"

    def settings(self) -> list[object]:
        return list(termios.tcgetattr(self._slave))

    def words(self, typed: bytes, count: int = 1) -> list[str]:
        os.write(self.terminal, typed)
        return [self.program.out.line() for _ in range(count)]

    def close(self) -> None:
        for fd in (self.terminal, self._slave):
            if fd >= 0:
                os.close(fd)

    def hang_up(self) -> None:
        self.close()
        self.terminal = self._slave = -1


@pytest.fixture
def typist(programs: Programs) -> Iterator[Typist]:
    typist = Typist(programs)
    yield typist
    typist.close()


def test_keys_come_one_by_one_without_enter(typist: Typist) -> None:
    assert typist.words(b"q") == ["q"]
    assert typist.words(b" jk", 3) == [" ", "j", "k"]


def test_cursor_keys_have_names_in_both_of_their_forms(typist: Typist) -> None:
    assert typist.words(b"\x1b[A\x1bOA\x1b[B\x1bOB\x1b[5~\x1b[6~", 6) == [
        *["up", "up", "down", "down", "page up", "page down"]
    ]


def test_what_means_nothing_is_passed_over(typist: Typist) -> None:
    assert typist.words(b"\x1b[15~\x1b\x01\xc3\xa4\tx") == ["x"]


@pytest.mark.parametrize(
    ("number", "word"),
    [(signal.SIGWINCH, "resize"), (signal.SIGTSTP, "suspend"), (signal.SIGTERM, "quit"), (signal.SIGHUP, "quit")],
)
def test_signals_are_words_too(typist: Typist, number: signal.Signals, word: str) -> None:
    typist.program.send_signal(number)
    assert typist.program.out.line() == word


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_afterwards_the_terminal_is_as_it_was(typist: Typist, number: signal.Signals) -> None:
    assert typist.settings() != typist.before
    assert typist.program.stop(number)[0] == 0
    assert typist.settings() == typist.before
    assert typist.program.err.rest() == ""


def test_a_terminal_that_is_gone_is_the_end(typist: Typist) -> None:
    typist.hang_up()
    assert typist.program.out.line() == "quit"
    assert typist.program.wait() == 0


def test_without_a_terminal_there_are_signals_only(programs: Programs) -> None:
    program = programs.python("-c", WORDS, stdin=subprocess.DEVNULL)
    assert program.out.line() == "ready None"
    program.send_signal(signal.SIGINT)
    assert program.out.line() == "quit"
    assert program.wait() == 0

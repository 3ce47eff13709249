"""Help as it is on a terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Callable

import click
import pytest

from chronostream.cli.app import app
from chronostream.cli.examples import EXAMPLES
from chronostream.cli.options import Argument, Option
from tests.process_harness import Programs

COMMANDS = app.commands
PAGES = f"""
import sys
from chronostream.cli import main
for arguments in [], *([name] for name in {list(COMMANDS)!r}):
    main([*arguments, "--help"])
    print("=====", flush=True)
"""
Pages = dict[str, str]


def pages_at(programs: Programs, columns: int) -> Pages:
    """Return the help of each command, and of all under an empty name, without colours."""
    terminal, slave = pty.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environment = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES", "NO_COLOR"}}
        environment |= {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        programs.python("-c", PAGES, stdin=slave, stdout=slave, stderr=slave, env=environment)
        os.close(slave)
        shown = b""
        try:
            while part := os.read(terminal, 65536):
                shown += part
        except OSError:
            pass  # It has ended.
    finally:
        os.close(terminal)
    text = shown.decode().replace("\r\n", "\n")
    assert "\x1b[" in text
    *pages, rest = re.sub(r"\x1b\[[0-9;]*m", "", text).split("=====\n")
    assert rest == ""
    return dict(zip(["", *COMMANDS], pages, strict=True))


@pytest.fixture(params=[80, 120])
def shown(request: pytest.FixtureRequest, programs: Programs) -> tuple[int, Pages]:
    return request.param, pages_at(programs, request.param)


def columns_of(page: str, row: Callable[[str], str]) -> str:
    return " ".join(" ".join(row(line) for line in page.splitlines() if line.startswith("│")).split())


def test_nothing_is_cut_and_choices_are_shown(shown: tuple[int, Pages]) -> None:
    columns, pages = shown
    for name, command in COMMANDS.items():
        page = pages[name]
        lines = page.splitlines()
        assert max(map(len, lines)) == columns
        assert "..." not in page.replace("[NAME]...", "")
        border = next(line for line in lines if line.startswith("│ --help"))
        left = border.index("Show this")
        terms = columns_of(page, lambda line, left=left: line[1:left])  # type: ignore[misc]
        meanings = columns_of(page, lambda line, left=left: line[left:-1])  # type: ignore[misc]
        for param in command.get_params(click.Context(command)):
            assert isinstance(param, Argument | click.Option)
            assert param.help
            assert param.help in meanings
            if isinstance(param, Option):
                assert all(flag in terms for flag in {*param.opts, *param.secondary_opts} - {*param.former})
                assert not any(flag in terms.split() for flag in param.former)
                assert f"[default: {param.default_text}]" in meanings or param.default_text is None
                choices = getattr(param.type, "choices", ())
                assert f"[{'|'.join(choices)}]" in terms or not choices
        for arguments, meaning in EXAMPLES[name]:
            assert f" chronostream {arguments} " in page
            assert f" # {meaning} " in page


def test_all_commands_are_shown_with_their_first_sentence(shown: tuple[int, Pages]) -> None:
    columns, pages = shown
    assert max(map(len, pages[""].splitlines())) == columns
    for name, command in COMMANDS.items():
        sentence = (command.help or "").split("\n\n")[0]
        assert re.search(rf"(?m)^│ {name} +{re.escape(sentence)} +│$", pages[""])


def test_the_options_of_run_fit_two_screens_and_are_in_sections(programs: Programs) -> None:
    page = pages_at(programs, 80)["run"]
    assert re.findall(r"(?m)^╭─ (.*?) ─", page) == [
        "The stream",
        "When the clock misbehaves",
        "Who may read",
        "The process",
    ]
    assert sum(line[0] in "╭│╰" for line in page.splitlines() if line) <= 48

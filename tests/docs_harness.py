"""Documents as their tests see them: blocks that are programs and commands, and what those print.

A document is followed as a reader would, block by block, in a directory of its own; our scripts in a copy of the
repository with an environment of its own, for they install into that::

    ```python    a program, independent of the others; a ```text block right behind it is exactly what it prints
    ```console   commands behind `$`, each with what it prints; numbers may differ, and `…` stands for anything
    ```sh        a script without output that would matter
    ```text      not looked at; nor are ini files, while toml must be such

A comment in the line before a block says what else there is to know about it:

    <!-- until Ctrl-C -->            it runs until the document ends, and then takes Ctrl-C for an ordinary end
    <!-- ends with the stream -->    likewise, but it ends by itself once those have ended
    <!-- numbers differ -->          this output is compared as that of commands is
    <!-- run by tests/… -->          another test runs it
    <!-- not run: … -->              nothing does, and why
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 30.0

# What documents call their streams; here each has a name of the test's own instead.
STREAMS = ("market-clock", "my-clock", "test-clock", "ticks")
ALONE = {stream: f"{stream}-docs-{os.getpid()}" for stream in STREAMS}

BLOCK = re.compile(r"(?ms)^(?:<!-- (?P<remark>[^\n]*) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$")
HEADING = re.compile(r"(?m)^#+ +(.*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block; with `output`, what it is said to print."""

    line: int
    language: str
    text: str
    remark: str
    output: Block | None = None

    @property
    def exact(self) -> bool:
        return self.language not in {"console", "sh"} and self.remark != "numbers differ"


class Started:
    """A command under way, and whether it prints what it should."""

    def __init__(self, where: str, command: list[str], expected: str, directory: Path, *, exact: bool) -> None:
        self.where = where
        self._expected = expected if exact else _loose(expected)
        self._exact = exact
        self._printed = directory / f"output-{where.rpartition(':')[2]}-{time.monotonic_ns()}"
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        if command[-1].startswith("scripts/"):
            directory = make_checkout(directory / "checkout")
            environment.pop("PYTHON", None)  # Its environment is made already.
            # Pip reads the 0 as "without": setuptools is here, and the network is not needed.
            environment |= {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1"}
        with self._printed.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for_output(self) -> None:
        """Return once it has printed what it should so far, though it goes on."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while not self._agrees():
            assert self._process.poll() is None, f"{self.where} ended early, and printed:\n{self._output()}"
            assert time.monotonic() < deadline_s, f"{self.where} printed only:\n{self._output()}"
            time.sleep(0.02)

    def finish(self) -> None:
        """Return once it has ended as it should."""
        try:
            status = self._process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.where} does not end; it printed:\n{self._output()}")
        assert status == 0, f"{self.where} ended with status {status}, and printed:\n{self._output()}"
        if self._exact:
            assert self._output() == self._expected, self.where
        assert self._agrees(), f"{self.where} printed:\n{self._output()}"

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.killpg(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        """Leave nothing of it, after a chance to clean up."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                os.killpg(self._process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(5)

    def _agrees(self) -> bool:
        return self._output() == self._expected if self._exact else bool(re.match(self._expected, self._output()))

    def _output(self) -> str:
        return self._printed.read_text()


def make_checkout(directory: Path) -> Path:
    """Make a copy of the repository, and in it an environment that takes from this one all but ChronoStream itself."""
    built = shutil.ignore_patterns("*.so", "__pycache__")
    for name in ("chronostream", "scripts"):
        shutil.copytree(ROOT / name, directory / name, ignore=built)
    for name in ("LICENSE", "README.md", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, directory)
    venv.create(directory / ".venv", symlinks=True)
    (packages,) = (directory / ".venv").glob("lib/python*/site-packages")
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return directory


def blocks_of(document: Path) -> list[Block]:
    text = document.read_text()
    blocks: list[Block] = []
    end = 0
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        block = Block(line, found["language"], found["text"], found["remark"] or "")
        follows = blocks and blocks[-1].language == "python" and not text[end : found.start()].strip()
        if follows and block.language == "text":
            blocks[-1] = replace(blocks[-1], output=block)
        else:
            blocks.append(block)
        end = found.end()
    assert len(re.findall(r"(?m)^```", text)) == 2 * len(BLOCK.findall(text)), f"{document.name}: an odd fence"
    return blocks


def commands_of(document: Path) -> Iterator[tuple[Block, list[str], str]]:
    """Yield each thing to run, with the block that it is from and what it is to print."""
    for block in filter(is_run, blocks_of(document)):
        if block.language == "python":
            code = re.sub(f'"({"|".join(STREAMS)})"', lambda found: f'"{ALONE[found[1]]}"', block.text)
            printed = block.output.text if block.output else ""
            yield block, [sys.executable, "-W", "error", "-c", code], renamed(printed)
        elif block.language == "sh":
            yield block, ["bash", "-ec", renamed(block.text)], "…\n"
        else:
            for command, printed in re.findall(r"(?m)^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text):
                yield block, ["bash", "-c", renamed(command)], renamed(printed)


def is_run(block: Block) -> bool:
    return block.language in {"python", "console", "sh"} and not block.remark.startswith(("run by ", "not run: "))


def renamed(text: str) -> str:
    return re.sub("|".join(STREAMS), lambda found: ALONE[found[0]], text)


def prose_of(document: Path) -> str:
    return BLOCK.sub(lambda found: "\n" * found[0].count("\n"), document.read_text())


def _loose(expected: str) -> str:
    """Return a regular expression for what a command prints; the last `…` may be any number of lines."""
    pattern = re.escape(expected.removesuffix("…\n"))
    for written, meant in (
        (r"none\\ yet\\ \\ missed\\ 0", r"(none yet  missed \\d+|last .* missed .*)"),
        (r"\d+(\\\.\d+)?", r"[\\d.]+"),
        (r"(second|minute|hour|day)(\\ )", r"(second|minute|hour|day) "),
        (r"(native|portable)(\\ )core", r"(native|portable) core"),
        (r"(\\ )+", r" +"),
        ("…", ".*"),
    ):
        pattern = re.sub(written, meant, pattern)
    return pattern if expected.endswith("…\n") else pattern + r"\Z"

"""A real terminal for programs that take one over: a shell in tmux, typed into and looked at from outside."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Self

import pytest

from tests.ring.harness import ROOT, TIMEOUT_S, wait_until

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

CHRONOSTREAM = f"{shlex.quote(sys.executable)} -W error -m chronostream"
_PROMPT = "ready> "


class Terminal:
    """A terminal of 120 columns and 30 lines, with a shell in it; gone at the end of the block."""

    def __init__(self, directory: Path) -> None:
        self._socket = str(directory / "tmux")

    def type(self, *keys: str) -> None:
        """Press keys, by tmux's names: ``"q"``, ``"Enter"``, ``"C-c"``, ``"Down"``."""
        self._tmux("send-keys", "-t", "0", *keys)

    def run(self, command: str) -> None:
        """Type a command at the shell's prompt."""
        self._tmux("send-keys", "-t", "0", "-l", command)
        self.type("Enter")

    def resize(self, columns: int, lines: int) -> None:
        self._tmux("resize-window", "-t", "0", "-x", str(columns), "-y", str(lines))

    def screen(self) -> str:
        """Return what is to be seen."""
        return self._tmux("capture-pane", "-p", "-t", "0")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until something is to be seen, and return it."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            match = re.search(pattern, self.screen(), re.MULTILINE)
            found.extend([match] if match else [])
            return match is not None

        wait_until(look)
        return found[-1]

    def wait_for_prompt(self) -> None:
        """Wait until the shell has the terminal again, its own screen and a cursor that is to be seen."""
        wait_until(lambda: self.screen().rstrip().rpartition("\n")[2] == _PROMPT.strip())
        assert self._tmux("display", "-p", "-t", "0", "#{alternate_on} #{cursor_flag}") == "0 1\n"

    def settings(self) -> str:
        """Return the line discipline's settings as they are now, whatever runs."""
        device = self._tmux("display", "-p", "-t", "0", "#{pane_tty}").strip()
        return subprocess.run(
            ["stty", "-F", device, "-g"], capture_output=True, text=True, check=True, timeout=TIMEOUT_S
        ).stdout

    def __enter__(self) -> Self:
        # As separate words, tmux starts it without the user's own shell in between.
        shell = ["env", f"PS1={_PROMPT}", "TERM=screen-256color", "bash", "--norc", "--noprofile"]
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "30", "-c", str(ROOT), *shell)
        self.wait_for_prompt()
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")

    def _tmux(self, *arguments: str) -> str:
        # In UTF-8, whatever the tests' own locale is.
        command = ["tmux", "-u", "-S", self._socket, *arguments]
        outer = ("TMUX", "COLUMNS", "LINES")
        environment = {key: value for key, value in os.environ.items() if key not in outer} | {"LC_ALL": "C.UTF-8"}
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S, env=environment, encoding="utf-8"
        ).stdout

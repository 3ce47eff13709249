from __future__ import annotations

import os
import subprocess
import sys

import pytest

from chronostream.cli import main
from chronostream.ring import Producer
from chronostream.stream.status import stream_status
from tests.ring.harness import TIMEOUT_S

SHELLS = ["bash", "zsh", "fish"]


def completions(*words: str) -> list[str]:
    """Return what the shell would offer for the last of these words."""
    environment = os.environ | {
        "_CHRONOSTREAM_COMPLETE": "zsh_complete",
        "COMP_WORDS": " ".join(["chronostream", *words]),
        "COMP_CWORD": str(len(words)),
    }
    command = [sys.executable, "-m", "chronostream"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    assert ended.stderr == ""
    return ended.stdout.splitlines()[1::3]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["re"], ["record", "replay", "relay", "remove"]),
        (["run", "x", "--max-"], ["--max-step", "--max-hold"]),
        (["run", "x", "--coalesce", ""], ["earliest", "latest", "all"]),
        (["run", "x", "--sequencer", "b"], ["boundary"]),
        (["tail", "x", "-f", "m"], ["minute"]),
        (["tail", "x", "--from", ""], ["next", "oldest"]),
        (["list", "--format", "j"], ["json"]),
        (["relay", "x", "--encoding", ""], ["json", "record"]),
    ],
    ids=" ".join,
)
def test_commands_options_and_choices_are_completed(words: list[str], offered: list[str]) -> None:
    assert completions(*words) == offered


@pytest.mark.parametrize(
    "command", [["run"], ["tail"], ["status"], ["top"], ["top", "other"], ["remove", "--force"]], ids=" ".join
)
def test_names_of_streams_are_completed(name: str, command: list[str]) -> None:
    with Producer.create(name, "<i8", 8):
        assert completions(*command, name[:-1]) == [name]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_is_given_its_script(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setenv("_CHRONOSTREAM_COMPLETE", f"{shell}_source")
    assert main([]) == 0
    assert f"_CHRONOSTREAM_COMPLETE={shell}_complete" in capfd.readouterr().out


def test_flags_and_variables_of_an_earlier_release_are_understood(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["run", name, "--sequence", "boundary", "--for", "10ms"]) == 0
    description = stream_status(name).description
    assert description is not None
    assert description.sequencer == "boundary"
    monkeypatch.setenv("CHRONOSTREAM_SEQUENCE", "boundary")
    assert main(["run", name, "--for", "10ms"]) == 0

"""The command as a whole: what it answers to wrong input, and what its exit statuses mean."""

from __future__ import annotations

import io
import os
import shlex
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import pytest

from chronostream import ring
from chronostream.cli import app, main
from chronostream.cli.examples import EXAMPLES
from chronostream.event import EVENT_DTYPE
from chronostream.producer.engine import Engine
from chronostream.ring import Producer
from chronostream.stream.config import StreamConfig
from chronostream.version import __version__
from tests.process_harness import Programs
from tests.ring.harness import TIMEOUT_S, path_of

Capture = pytest.CaptureFixture[str]
DAY = ["--from", "2024-01-01", "--to", "2024-01-02"]
COMMANDS = app.app.commands


def refused(capfd: Capture, *arguments: str) -> tuple[int, str]:
    """Run a command that fails; return its status and the one line that says why."""
    status = main(arguments)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("chronostream: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return status, err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command 'frobnicate'. (see `chronostream --help`)"),
        (["run"], "Missing argument 'name'"),
        (["run", "../etc"], "'../etc' is not a stream name"),
        (["run", "NAME", "--capacity", "100"], "capacity is 100, expected a power of two"),
        (["run", "NAME", "--capacity", "many"], "Invalid value for '--capacity'"),
        (
            ["run", "NAME", "--frequency", "weekly"],
            "unknown frequency 'weekly': choose one of second, minute, hour, day",
        ),
        (["run", "NAME", "--timezone", "Mars/Olympus"], "Mars/Olympus"),
        (["run", "NAME", "--sequencer", "random"], "sequencer is 'random', expected one of counting, boundary"),
        (["run", "NAME", "--coalesce", "some"], "coalesce is 'some', expected one of earliest, latest, all"),
        (["run", "NAME", "--instance-id", "x" * 65], "instance_id"),
        (["run", "NAME", "--for", "soon"], "--for is 'soon', expected a duration such as 10s"),
        (["run", "NAME", "--max-step", "1 week"], "--max-step is '1 week', expected a duration"),
        (["run", "NAME", "--mode", "rw"], "--mode is 'rw', expected octal permissions"),
        (["run", "NAME", "--mode", "1777"], "expected permissions"),
        (["run", "NAME", "--group", "no-such-group"], "there is no group 'no-such-group'"),
        (["run", "NAME", "--no-such-option"], "(see `chronostream run --help`)"),
        (["tail"], "Missing argument 'name'"),
        (["tail", "NAME", "--from", "middle"], "Invalid value for '--from'"),
        (["tail", "NAME", "--count", "0"], "Invalid value for '--count'"),
        (["tail", "NAME", "--wait", "long"], "--wait is 'long', expected a duration"),
        (["tail", "NAME", "--frequency", "weekly"], "unknown frequency 'weekly'"),
        (["tail", "NAME", "--format", "xml"], "Invalid value for '--format'"),
        (["tail", "a/b"], "'a/b' is not a stream name"),
        (["status", ""], "'' is not a stream name"),
        (["status", "NAME", "OTHER"], "unexpected extra argument"),
        (["record", "NAME"], "Missing option '--to'"),
        (["record", "NAME", "--to", "/none", "--from", "newest"], "Invalid value for '--from'"),
        (["record", "NAME", "--to", "/none", "--every", "often"], "--every is 'often', expected a duration"),
        (["record", "NAME", "--to", "/none", "--every", "0s"], "every_s is 0"),
        (["record", "NAME", "--to", "/none", "--max-size", "big"], "--max-size is 'big', expected a size such as 64MB"),
        (["record", "NAME", "--to", "/none", "--max-size", "0"], "max_bytes is 0"),
        (["top", "--interval", "10ms"], "--interval is '10ms', expected 0.05s or more"),
        (["top", "--interval", "often"], "--interval is 'often', expected a duration"),
        (["top", "--window", "long"], "--window is 'long', expected a duration"),
        (["top", "NAME", "a/b"], "'a/b' is not a stream name"),
        (["replay", "NAME", "--from", "2024-01-01"], "Missing option '--to'"),
        (["replay", "NAME", "--from", "then", "--to", "2024-01-01"], "--from is 'then', expected ISO 8601"),
        (["replay", "NAME", "--from", "2024-01-02", "--to", "2024-01-01"], "is later than end_ns"),
        (["replay", "NAME", "--from", "1969-12-31", "--to", "2024-01-01"], "lies before 1970"),
        (["replay", "NAME", *DAY, "--speed", "fast"], "speed is 'fast'"),
        (["replay", "NAME", *DAY, "-f", "week"], "unknown frequency 'week'"),
        (["replay", "NAME", *DAY, "--mode", "rw"], "--mode is 'rw'"),
        (["verify", "NAME", "--to", "then"], "--to is 'then', expected ISO 8601"),
        (["remove"], "Missing argument 'name'"),
        (["remove", ".."], "'..' is not a stream name"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_wrong_input_is_one_clear_line_and_status_2(
    name: str, capfd: Capture, arguments: list[str], message: str
) -> None:
    status, line = refused(capfd, *(name if argument == "NAME" else argument for argument in arguments))
    assert status == 2
    assert message in line
    assert not path_of(name).exists()


def test_a_command_alone_shows_what_there_is(capfd: Capture) -> None:
    assert main([]) == 2
    out, err = capfd.readouterr()
    assert all(command in out for command in COMMANDS)
    assert err == "chronostream: Missing command. (see `chronostream --help`)\n"


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=str)
def test_help_is_status_0(capfd: Capture, command: list[str]) -> None:
    assert main([*command, "--help"]) == 0
    out, err = capfd.readouterr()
    assert "Usage: chronostream" in out
    assert err == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_examples_that_mean_something_to_it(
    capfd: Capture, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main([name, "--help"]) == 0
    text = capfd.readouterr().out
    command = COMMANDS[name]
    for arguments, meaning in EXAMPLES[name]:
        assert f"# {meaning}" in text
        assert f"chronostream {arguments}" in text
        own_name, *rest = shlex.split(arguments)
        assert own_name == name
        command.make_context(name, rest)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_first_sentence_of_a_command_fits_on_its_line(name: str) -> None:
    first = (COMMANDS[name].help or "").split("\n\n")[0]
    assert first.endswith(".")
    assert len(first) <= 68


def test_the_version_is_shown(capfd: Capture) -> None:
    assert main(["--version"]) == 0
    assert capfd.readouterr().out == f"chronostream {__version__}\n"


@pytest.mark.parametrize("command", [["tail"], ["status"], ["verify"], ["remove"], ["remove", "--force"]], ids=str)
def test_a_stream_that_is_not_there_is_status_1(name: str, capfd: Capture, command: list[str]) -> None:
    status, line = refused(capfd, *command, name)
    assert status == 1
    assert f"there is no stream '{name}' on this machine" in line


@pytest.mark.parametrize("command", ["list", "status"])
def test_without_streams_it_is_told_how_to_start_one(
    capfd: Capture, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(ring, "list_names", list)
    assert main([command]) == 0
    assert capfd.readouterr() == ("", "no streams on this machine: start one with `chronostream run NAME`\n")
    assert main([command, "--format", "json"]) == 0
    assert capfd.readouterr() == ("[]\n", "")


@pytest.mark.parametrize("command", ["run", "remove"])
def test_a_name_that_is_live_is_status_3_and_told_with_its_owner(name: str, capfd: Capture, command: str) -> None:
    with Producer.create(name, EVENT_DTYPE, 8):
        status, line = refused(capfd, command, name)
    assert status == 3
    assert f"stream '{name}' is live: process {os.getpid()} is its producer" in line


def test_a_stream_of_another_kind_is_status_1(name: str, capfd: Capture) -> None:
    Engine(StreamConfig(name=name, timezone="Asia/Tokyo")).close()
    status, line = refused(capfd, "run", name)
    assert status == 1
    assert "Asia/Tokyo" in line
    assert f"`chronostream remove {name}`" in line


def test_what_the_output_cannot_spell_is_escaped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", out)
    with Producer.create(name, EVENT_DTYPE, 8, instance_id="łódź"):
        assert main(["status", name]) == 0
    out.seek(0)
    assert "\\u0142ód\\u017a" in out.read()


def test_the_outputs_of_the_program_are_as_they_were(programs: Programs, name: str) -> None:
    """It may be a notebook, or a test, that calls it."""
    program = programs.python(
        "-c",
        f"""
import os, sys
from chronostream._stdio import discard_unwritten
from chronostream.cli import main
def outputs():
    return [(os.fstat(fd).st_dev, os.fstat(fd).st_ino) for fd in (1, 2)], sys.stdout.errors, sys.stderr.errors
before, open_before, stdout = outputs(), len(os.listdir("/proc/self/fd")), sys.stdout
for arguments in ["--version"], ["nonsense"], ["status", "{name}"], ["list"]:
    main(arguments)
discard_unwritten(sys.stdout)
discard_unwritten(sys.stderr)
assert (outputs(), len(os.listdir("/proc/self/fd"))) == (before, open_before)
assert sys.stdout is stdout
print("still here")
""",
    )
    assert program.wait() == 0
    assert program.out.rest().endswith("still here\n")


def test_without_an_output_nothing_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["top", "--once", "--interval", "50ms"]) == 0
    sys.stdout.close()


def test_an_output_that_takes_nothing_is_status_1(capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert refused(capfd, "--version") == (1, "chronostream: [Errno 28] No space left on device\n")
        assert sys.stdout is full


def test_any_output_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["--version"]) == 0
    assert __version__ in out.getvalue()


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 1, "interrupted"),
        (click.Abort(), 1, "interrupted"),
        (OSError(28, "No space left on device"), 1, "[Errno 28] No space left on device"),
    ],
    ids=repr,
)
def test_what_the_system_does_to_a_command_is_no_traceback(
    capfd: Capture, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, message: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(app.app, "invoke", fail)
    assert refused(capfd, "list") == (status, f"chronostream: {message}\n")


def test_ctrl_c_within_a_command_is_status_1(capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "list_names", lambda: signal.raise_signal(signal.SIGINT))
    assert refused(capfd, "status") == (1, "chronostream: interrupted\n")


def test_a_mistake_of_our_own_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(app.app, "invoke", fail)
    with pytest.raises(ZeroDivisionError):
        main(["list"])


def test_a_failure_that_nobody_can_be_told_of_has_its_status(programs: Programs) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        assert programs.chronostream("frobnicate", stderr=full).wait() == 2


@pytest.mark.parametrize(
    "arguments", [["--version"], [], ["--help"], ["run", "--help"], ["top", "--once"]], ids=" ".join
)
def test_a_full_disk_is_one_line(programs: Programs, arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        program = programs.chronostream(*arguments, stdout=full)
    assert program.wait() == 1
    assert program.err.rest() == "chronostream: [Errno 28] No space left on device\n"


def test_the_module_and_the_installed_command_are_this_function(name: str) -> None:
    (installed,) = entry_points(group="console_scripts", name="chronostream")
    assert installed.load() is main
    ended = subprocess.run(
        [sys.executable, "-m", "chronostream", "status", name], capture_output=True, timeout=TIMEOUT_S, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert ended.stderr.startswith(b"chronostream: there is no stream")

"""`chronostream replay` and `verify` as a shell sees them."""

from __future__ import annotations

import itertools
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chronostream import ring
from chronostream.backfill import expected, replay
from chronostream.cli import main
from chronostream.errors import StreamNotFoundError
from chronostream.ring import Consumer
from tests.ring.harness import TIMEOUT_S, path_of, wait_until

_COMMAND = [sys.executable, "-m", "chronostream"]
_NS = 1_000_000_000
_START_NS = 1_704_067_200 * _NS
_numbers = itertools.count()


@pytest.fixture
def name() -> Iterator[str]:
    """A stream name of the test's own; its segment is gone afterwards, whatever happened."""
    name = f"test-replay-{os.getpid()}-{next(_numbers)}"
    yield name
    path_of(name).unlink(missing_ok=True)


def _run(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run([*_COMMAND, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    return done.returncode, done.stdout, done.stderr


@contextmanager
def _running(name: str, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a command until it has published something, and kill it at the end of the block if it still runs."""
    process = subprocess.Popen([*_COMMAND, *arguments], stdout=subprocess.PIPE, text=True, **options)
    try:
        wait_until(lambda: _head(name) >= 2)
        yield process
    finally:
        process.kill()
        process.communicate(timeout=TIMEOUT_S)


def _head(name: str) -> int:
    try:
        return ring.inspect(name).head
    except StreamNotFoundError:
        return 0


def test_a_range_is_replayed_and_verified(name: str) -> None:
    range_ = ["--from", "2024-01-01T00:00Z", "--to", str(_START_NS + 7200 * _NS)]
    options = ["-f", "second", "-f", "hour", "--timezone", "Asia/Kathmandu", "--instance-id", "me"]
    assert _run("replay", name, *range_, *options) == (
        0,
        f"stream '{name}': 7202 of 7202 events, closed and kept\n",
        "",
    )
    with Consumer.attach(name) as consumer:
        wanted = expected(("second", "hour"), _START_NS, _START_NS + 7200 * _NS, "Asia/Kathmandu", instance="me")
        assert consumer.read().tobytes() == wanted.tobytes()
    assert _run("verify", name) == (
        0,
        "ok: 2024-01-01T00:00:00Z to 2024-01-01T02:00:00Z, 7202 of 7202 events\n",
        "",
    )


def test_what_is_absent_is_named_with_exit_status_1(name: str) -> None:
    assert _run("replay", name, "--from", "2024-01-01", "--to", "2024-01-01T00:01Z")[0] == 0
    status, out, err = _run("verify", name, "--to", "2024-01-01T00:01:02Z")
    assert (status, err) == (1, "")
    assert out.splitlines() == [
        (
            "absent second 2 events, 2024-01-01T00:01:00Z to 2024-01-01T00:01:01Z: "
            "1-1704067260000000000-1704067260 to 1-1704067261000000000-1704067261"
        ),
        "FAILED: 2024-01-01T00:00:00Z to 2024-01-01T00:01:02Z, 60 of 62 events, 2 absent",
    ]
    status, out, _ = _run("verify", name, "--to", "2024-01-01T00:01:02Z", "--format", "json")
    assert status == 1
    report = json.loads(out)
    assert (report["ok"], report["counts"]["absent"], len(report["faults"])) == (False, 2, 1)


def test_a_live_stream_of_another_process_is_verified(name: str) -> None:
    with _running(name, "run", name, "--sequence", "boundary", stderr=subprocess.DEVNULL):
        status, out, _ = _run("verify", name, "--allow-missed")
    assert (status, out[:3]) == (0, "ok:")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "then", "--to", "2024-01-01"], "--from is 'then', expected ISO 8601"),
        (["--from", "2024-01-02", "--to", "2024-01-01"], "is later than end_ns"),
        (["--from", "1969-12-31", "--to", "2024-01-01"], "lies before 1970"),
        (["--from", "2024-01-01", "--to", "2024-01-02", "--speed", "fast"], "speed is 'fast'"),
        (["--from", "2024-01-01", "--to", "2024-01-02", "-f", "week"], "unknown frequency 'week'"),
        (["--from", "2024-01-01", "--to", "2024-01-02", "--mode", "rw"], "--mode is 'rw'"),
        (["--from", "2024-01-01"], "Missing option '--to'"),
    ],
)
def test_wrong_usage_of_replay_is_one_line_and_exit_status_2(
    name: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", name, *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert name not in ring.list_names()


@pytest.mark.parametrize("arguments", [["--sequence", "other"], ["--from", "then"], ["--timezone", "Mars"]])
def test_wrong_usage_of_verify_is_one_line_and_exit_status_2(
    name: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    replay(name, _START_NS, _START_NS + _NS)
    assert main(["verify", name, *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_a_replay_onto_a_kept_stream_fails_and_onto_a_live_one_with_exit_status_3(name: str) -> None:
    arguments = ["replay", name, "--from", "2024-01-01", "--to", "2024-01-01T00:01Z"]
    assert main(arguments) == 0
    assert main(arguments) == 1
    ring.remove(name)
    with ring.Producer.create(name, "<i8", 8):
        assert main(arguments) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_paced_replay_and_closes_the_stream(name: str, number: int) -> None:
    range_ = ["--from", "2024-01-01", "--to", "2024-01-02"]
    with _running(name, "replay", name, *range_, "--speed", "20x") as process:
        process.send_signal(number)
        out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "of 86400 events, closed and kept" in out
    assert ring.inspect(name).state == "closed"
    assert _run("verify", name)[0] == 0


def test_a_bar_is_shown_on_a_terminal(name: str) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        command = [*_COMMAND, "replay", name, "--from", "2024-01-01", "--to", "2024-01-01T00:00:20Z", "--speed", "20x"]
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
            os.close(theirs)
            shown = b""
            try:
                while part := terminal.read(4096):
                    shown += part
            except OSError:
                pass  # How Linux says that nobody has the other side open any more.
            process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert b"100%" in shown

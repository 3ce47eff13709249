"""Standard streams that were closed when a program began: real ones, closed by a real shell."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from chronostream._stdio import print_lines, printable_text
from chronostream.backfill import replay
from chronostream.cli import app
from chronostream.producer.process import stop_producer
from chronostream.ring import inspect
from chronostream.stream.events import subscribe
from tests.process_harness import Feed, Program, Programs, events_of, gone, state
from tests.ring.harness import TIMEOUT_S, path_of, wait_until

ALL = "<&- >&- 2>&-"
CLOSED = [ALL, "2>&-", ">&-", "<&-"]
PYTHON = [sys.executable, "-W", "error"]
START_NS = 1_700_000_000_000_000_000

ONE_SHOT = {
    "tail": "tail NAME --from oldest --count 3 --format json",
    "list": "list",
    "status": "status NAME",
    "top": "top NAME --interval 50ms",
    "record": "record NAME --to TO",
    "replay": "replay NAME-past --from 2024-01-01 --to 2024-01-01T00:01:00Z --remove",
    "verify": "verify NAME",
    "doctor": "doctor",
    "remove": "remove NAME",
}
UNTIL_SIGTERM = {"run", "metrics", "relay", "mirror"}  # The last two have their tests in tests/bridges.


def closed(programs: Programs, streams: str, *command: str) -> Program:
    """Start a program with some of its standard streams closed."""
    return programs.start("/bin/sh", "-c", f"exec {shlex.join(command)} {streams}")


def chronostream(programs: Programs, streams: str, *arguments: str) -> Program:
    return closed(programs, streams, *PYTHON, "-m", "chronostream", *arguments)


def files_of(pid: int) -> list[str]:
    """Return what the standard streams of a process are."""
    return [str(Path(f"/proc/{pid}/fd/{fd}").readlink()) for fd in range(3)]


def check_producer(name: str, pid: int) -> None:
    """A producer emits, and uses next to nothing of a processor meanwhile."""
    process = psutil.Process(pid)
    with subscribe(name) as events:
        next(events)
        before = process.cpu_times()
        next(events)
        after = process.cpu_times()
    assert after.user + after.system - before.user - before.system < 0.3


def check_files(pid: int, streams: str) -> None:
    """Those that were closed are the null device."""
    for file, redirection in zip(files_of(pid), ["<&-", ">&-", "2>&-"], strict=True):
        assert (file == os.devnull) == (redirection in streams.split())


def started(name: str) -> int:
    """Return the producer of a stream once it is live."""
    subscribe(name, wait_s=TIMEOUT_S).close()
    pid = inspect(name).pid
    assert pid is not None
    return pid


@pytest.fixture
def past(name: str) -> str:
    """The name of a closed stream of a minute."""
    replay(name, START_NS, START_NS + 60 * 10**9)
    return name


def test_every_command_is_tried() -> None:
    assert app.app.commands.keys() == {*ONE_SHOT, *UNTIL_SIGTERM}


@pytest.mark.parametrize("streams", CLOSED)
@pytest.mark.parametrize("command", ONE_SHOT)
def test_a_command_does_what_it_does_with_them_open(
    programs: Programs, past: str, tmp_path: Path, command: str, streams: str
) -> None:
    status = programs.chronostream("doctor").wait() if command == "doctor" else 0
    arguments = ONE_SHOT[command].replace("NAME", past).replace("TO", str(tmp_path)).split()
    program = chronostream(programs, streams, *arguments)
    assert program.wait() == status
    out, err = program.out.rest(), program.err.rest()
    assert bool(out) == (">&-" not in streams.split())
    if command == "tail":
        printed = [event["sequence"] - START_NS // 10**9 for event in events_of(out)]
        assert printed == ([0, 1, 2] if out else [])
    assert bool(err) == (command == "record" and "2>&-" not in streams)
    assert len(list(tmp_path.glob("*.parquet"))) == (command == "record")
    assert path_of(past).exists() == (command != "remove")


def test_an_error_has_its_status_and_is_no_data(programs: Programs, name: str) -> None:
    program = chronostream(programs, "2>&-", "status", name)
    assert (program.wait(), program.out.rest()) == (1, "")


def test_what_a_reader_lost_is_no_data(programs: Programs, name: str) -> None:
    feed = Feed(name)
    feed.publish()
    reader = chronostream(programs, "2>&-", "tail", name, "--from", "oldest", "--format", "json")
    [before] = events_of(reader.out.line())
    reader.send_signal(signal.SIGSTOP)
    wait_until(lambda: psutil.Process(reader.pid).status() == psutil.STATUS_STOPPED)
    feed.publish(20)
    feed.ring.close(remove=False)
    reader.send_signal(signal.SIGCONT)
    assert reader.wait() == 0
    assert [event["sequence"] for event in [before, *events_of(reader.out.rest())]] == [0, *range(13, 21)]


@pytest.mark.parametrize("streams", CLOSED)
def test_a_producer_has_no_file_of_its_own_among_them(programs: Programs, name: str, streams: str) -> None:
    program = chronostream(programs, streams, "run", name)
    check_producer(name, started(name))
    assert inspect(name).pid == program.pid
    check_files(program.pid, streams)
    assert program.stop()[0] == 0
    assert state(name) == "closed"


def test_nor_have_the_producers_of_several_streams(programs: Programs, name: str, tmp_path: Path) -> None:
    names = [f"{name}-a", f"{name}-b"]
    (tmp_path / "streams.toml").write_text("".join(f"[streams.{each}]\nremove = true\n" for each in names))
    program = chronostream(programs, ALL, "run", "--config", str(tmp_path / "streams.toml"))
    for each in names:
        check_producer(each, started(each))
        assert files_of(started(each))[1:] == [os.devnull] * 2
    assert files_of(program.pid) == [os.devnull] * 3
    assert program.stop()[0] == 0
    assert not any(path_of(each).exists() for each in names)


START = """
import chronostream as cs
with open({path!r}, "w") as file:
    file.write(str(cs.start(cs.StreamConfig(name={name!r}), detach={detach}).pid))
import time
time.sleep({sleep_s})
"""


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("streams", CLOSED)
def test_nor_has_one_that_a_program_without_them_starts(
    programs: Programs, name: str, tmp_path: Path, streams: str, detach: bool
) -> None:
    path = tmp_path / "pid"
    code = START.format(name=name, path=str(path), detach=detach, sleep_s=0 if detach else 60)
    program = closed(programs, streams, *PYTHON, "-c", code)
    pid = started(name)
    try:
        check_producer(name, pid)
        assert files_of(pid)[1] == os.devnull
        if detach or "2>&-" in streams:
            assert files_of(pid)[2] == os.devnull
    finally:
        if detach:
            assert program.wait() == 0
            stop_producer(name)
    program.end()
    wait_until(lambda: gone(pid))
    assert state(name) == "closed"


@pytest.mark.parametrize("streams", CLOSED)
def test_metrics_answer_without_them(programs: Programs, streams: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = chronostream(programs, streams, "metrics", "--port", str(port))

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    wait_until(answers)
    check_files(program.pid, streams)
    assert program.stop()[0] == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("Zürich 東京 ½", "Zürich 東京 ½"),
        ("\x1b[31mred", "�[31mred"),
        ("a\nb\r\tc", "a�b��c"),
        ("\x9b2J\x07", "�2J�"),
        ("left \u202e right", "left � right"),
        ("\ud800", "�"),
    ],
)
def test_what_is_not_to_be_seen_is_replaced(text: str, shown: str) -> None:
    assert printable_text(text) == shown


def test_lines_stay_as_many_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines("one\ntwo", "", "three")
    assert capsys.readouterr().out == "one�two\n\nthree\n"

from __future__ import annotations

import fcntl
import json
import mmap
import os
import shlex
import signal
import sys
import termios
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from chronostream import ring
from chronostream.cli import main
from chronostream.cli import tail as tails
from chronostream.event import Frequency
from chronostream.ring import Producer, inspect
from chronostream.ring import consumer as consumers
from chronostream.stream.events import EventStream, subscribe
from tests.process_harness import Feed, Program, Programs, events_of
from tests.ring.harness import wait_until

Capture = pytest.CaptureFixture[str]
FIELDS = ["id", "timestamp", "frequency", "sequence", "seed", "schema_version", "producer_version", "instance_id"]


@pytest.fixture
def feed(name: str) -> Iterator[Feed]:
    feed = Feed(name)
    yield feed
    feed.ring.close()


def tail(capfd: Capture, *arguments: str) -> tuple[int, list[str], str]:
    """Run the command here; return its status, the lines that it printed, and what it said on stderr."""
    status = main(["tail", *arguments])
    out, err = capfd.readouterr()
    return status, out.splitlines(), err


def ids(lines: list[str]) -> list[str]:
    return [json.loads(line)["id"] for line in lines]


def test_json_is_one_object_a_line_with_exactly_the_eight_fields(feed: Feed, capfd: Capture) -> None:
    feed.publish()
    feed.publish(frequency=Frequency.DAY)
    feed.ring.close(remove=False)
    status, lines, err = tail(capfd, feed.name, "--from", "oldest", "--format", "json")
    assert (status, err) == (0, "")
    assert [list(json.loads(line)) for line in lines] == [FIELDS, FIELDS]
    assert json.loads(lines[1]) == {
        "id": "4-1000000000-1",
        "timestamp": 1_000_000_000,
        "frequency": "day",
        "sequence": 1,
        "seed": 1_000_000_001,
        "schema_version": 1,
        "producer_version": "1",
        "instance_id": "host",
    }


def test_text_is_one_line_for_each_event(feed: Feed, capfd: Capture) -> None:
    feed.publish()
    feed.publish(frequency=Frequency.MINUTE)
    feed.ring.close(remove=False)
    assert tail(capfd, feed.name, "--from", "oldest")[1] == [
        "1970-01-01T00:00:00Z  second  1-0-0  seed 0",
        "1970-01-01T00:00:01Z  minute  2-1000000000-1  seed 1000000001",
    ]


def test_only_the_wanted_frequencies_are_printed(feed: Feed, capfd: Capture) -> None:
    for frequency in Frequency.SECOND, Frequency.MINUTE, Frequency.HOUR:
        feed.publish(frequency=frequency)
    feed.ring.close(remove=False)
    options = ["--from", "oldest", "--format", "json", "--frequency", "minute", "-f", "hour"]
    assert ids(tail(capfd, feed.name, *options)[1]) == ["2-1000000000-1", "3-2000000000-2"]


def test_what_is_there_already_is_not_printed_unless_asked_for(feed: Feed, capfd: Capture) -> None:
    feed.publish(3)
    feed.ring.close(remove=False)
    assert tail(capfd, feed.name) == (0, [], "")


@pytest.mark.parametrize(("count", "printed"), [(1, 1), (5, 5), (8, 6)])
def test_it_ends_after_so_many_events_or_with_the_stream(feed: Feed, capfd: Capture, count: int, printed: int) -> None:
    feed.publish(6)
    if count > printed:
        feed.ring.close(remove=False)
    status, lines, err = tail(capfd, feed.name, "--from", "oldest", "--count", str(count))
    assert (status, len(lines), err) == (0, printed, "")


def test_losses_are_told_on_stderr_and_it_goes_on_behind_them(
    feed: Feed, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overrun(*arguments: Any, **options: Any) -> EventStream:
        events = subscribe(*arguments, **options)
        feed.publish(20)
        feed.ring.close()
        return events

    monkeypatch.setattr(tails, "subscribe", overrun)
    status, lines, err = tail(capfd, feed.name, "--format", "json")
    assert status == 0
    assert [json.loads(line)["sequence"] for line in lines] == list(range(12, 20))
    assert err.startswith("chronostream: 12 records lost, positions 0 to 11:")
    assert err.count("\n") == 1


def test_what_comes_right_before_the_close_is_printed(
    feed: Feed, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait_too_shortly(_events: EventStream, _timeout_s: float) -> bool:
        monkeypatch.undo()
        feed.publish()
        feed.ring.close()
        return False

    monkeypatch.setattr(EventStream, "wait", wait_too_shortly)
    status, lines, _ = tail(capfd, feed.name)
    assert (status, len(lines)) == (0, 1)


def test_a_non_blocking_pipe_gets_every_line(name: str, programs: Programs) -> None:
    """The shell, or the program that reads, may have made it so."""
    feed = Feed(name, 1024)
    feed.publish(1000)
    feed.ring.close(remove=False)
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd, "rb") as pipe:
        size = fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, mmap.PAGESIZE)
        os.set_blocking(write_fd, False)
        program = programs.chronostream("tail", name, "--from", "oldest", "--format", "json", stdout=write_fd)
        os.close(write_fd)
        wait_until(lambda: unread(read_fd) > size - 300)  # No further line fits.
        assert [event["sequence"] for event in events_of(pipe.read().decode())] == list(range(1000))
    assert (program.wait(), program.err.rest()) == (0, "")


def unread(fd: int) -> int:
    """Return how many bytes wait in a pipe."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), "little")


def test_it_waits_for_a_stream_that_is_not_there_yet(name: str, capfd: Capture) -> None:
    def make() -> None:
        feed = Feed(name)
        feed.publish(2)
        feed.ring.close(remove=False)

    thread = threading.Timer(0.05, make)
    thread.start()
    status, lines, _ = tail(capfd, name, "--wait", "10s", "--from", "oldest")
    thread.join()
    assert (status, len(lines)) == (0, 2)


def test_it_does_not_wait_longer_than_it_was_told_to(name: str, capfd: Capture) -> None:
    status, lines, err = tail(capfd, name, "--wait", "50ms")
    assert (status, lines) == (1, [])
    assert err.startswith(f"chronostream: there is no stream '{name}'")


def test_it_ends_with_an_error_when_the_stream_is_removed(
    feed: Feed, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "LIVENESS_CHECK_S", 0.01)
    feed.die()
    thread = threading.Timer(0.1, ring.remove, [feed.name])
    thread.start()
    status, _, err = tail(capfd, feed.name)
    thread.join()
    assert status == 1
    assert err == f"chronostream: stream '{feed.name}' was removed: wait for a new one, and attach to it\n"


def test_a_ring_of_something_else_is_an_error(name: str, capfd: Capture) -> None:
    with Producer.create(name, "<f8", 8):
        status, _, err = tail(capfd, name)
    assert status == 1
    assert "float64, not events" in err


@pytest.fixture
def tailing(programs: Programs, feed: Feed) -> Program:
    """The command in a process of its own, with one event printed and no other one to come."""
    program = programs.chronostream("tail", feed.name, "--format", "json")
    wait_until(lambda: [consumer.label for consumer in inspect(feed.name).consumers] == ["chronostream tail"])
    feed.publish()
    assert json.loads(program.out.line())["sequence"] == 0  # The line is out, though a pipe is no terminal.
    return program


def test_it_ends_when_the_stream_closes(tailing: Program, feed: Feed) -> None:
    feed.publish()
    feed.ring.close()
    assert tailing.wait() == 0
    assert ids(tailing.out.rest().splitlines()) == ["1-1000000000-1"]
    assert tailing.err.rest() == ""


def test_it_ends_quietly_on_ctrl_c(tailing: Program, feed: Feed) -> None:
    for _ in range(3):
        tailing.send_signal(signal.SIGINT)
        time.sleep(0.01)
    assert (tailing.wait(), tailing.out.rest(), tailing.err.rest()) == (0, "", "")
    assert inspect(feed.name).consumers == ()


@pytest.mark.parametrize("coming", [0, 1])
def test_it_ends_quietly_when_nobody_reads_any_more(tailing: Program, feed: Feed, coming: int) -> None:
    tailing.out.close()
    feed.publish(coming)
    assert (tailing.wait(), tailing.err.rest()) == (0, "")


def test_it_ends_quietly_on_ctrl_c_while_it_waits_for_a_stream(programs: Programs, name: str) -> None:
    program = programs.python(
        "-c",
        "import sys, time\n"
        "from chronostream.cli import app, main\n"
        "time.sleep = lambda _, sleep=time.sleep: (print('waits', flush=True), sleep(60))\n"
        f"sys.exit(main(['tail', '{name}', '--wait', '1h']))",
    )
    assert program.out.line() == "waits"
    status, _ = program.stop(signal.SIGINT)
    assert (status, program.err.rest()) == (0, "")


def test_it_can_be_cut_short_by_head(programs: Programs, feed: Feed) -> None:
    feed.publish(8)
    command = shlex.join([sys.executable, "-m", "chronostream", "tail", feed.name, "--from", "oldest"])
    program = programs.start("sh", "-c", f"{{ {command}; echo $? >&2; }} | head -3")
    assert program.wait() == 0
    assert program.out.rest().count("\n") == 3
    assert program.err.rest() == "0\n"

"""The log on stderr, with real pipes that nobody reads and real terminals that are stopped."""

from __future__ import annotations

import os
import pty
import re
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chronostream.stream.events import subscribe
from tests.process_harness import Program, Programs, gone, state
from tests.ring.harness import TIMEOUT_S, path_of, wait_until


class Pipe:
    """A pipe that is full, so that whoever writes into it waits until somebody reads."""

    def __init__(self) -> None:
        self._read_fd, self.fd = os.pipe()
        os.set_blocking(self.fd, False)
        self._filling = 0
        try:
            while True:
                self._filling += os.write(self.fd, bytes(4096))
        except BlockingIOError:
            os.set_blocking(self.fd, True)

    def resume(self) -> None:
        while self._filling:
            self._filling -= len(os.read(self._read_fd, self._filling))

    def read(self) -> bytes:
        return os.read(self._read_fd, 65536)

    def close(self) -> None:
        os.close(self._read_fd)


class PolledPipe(Pipe):
    """The same, but a write into it fails at once, and whoever writes has to come again."""

    def __init__(self) -> None:
        super().__init__()
        os.set_blocking(self.fd, False)


class Terminal:
    """A terminal that is stopped by its settings."""

    def __init__(self) -> None:
        self._terminal, self.fd = pty.openpty()
        self.stop()

    def stop(self) -> None:
        termios.tcflow(self.fd, termios.TCOOFF)

    def resume(self) -> None:
        termios.tcflow(self.fd, termios.TCOON)

    def read(self) -> bytes:
        return os.read(self._terminal, 65536)

    def close(self) -> None:
        os.close(self._terminal)


class Keyboard(Terminal):
    """The same, stopped by Ctrl-S."""

    def stop(self) -> None:
        os.write(self._terminal, b"\x13")

    def resume(self) -> None:
        os.write(self._terminal, b"\x11")


@pytest.fixture(params=[Pipe, PolledPipe, Terminal, Keyboard])
def stalled(request: pytest.FixtureRequest) -> Iterator[Any]:
    """What takes nothing that is written to it."""
    stalled = request.param()
    yield stalled
    os.close(stalled.fd)
    stalled.close()


def is_live(name: str) -> None:
    """Return once a stream is there and two more events came."""
    with subscribe(name, wait_s=TIMEOUT_S) as events:
        next(events)
        next(events)


def test_a_producer_does_not_wait_for_whoever_reads_its_log(programs: Programs, name: str, stalled: Any) -> None:
    program = programs.chronostream("run", name, stderr=stalled.fd)
    is_live(name)
    status, took_s = program.stop()
    assert status == 0
    assert took_s < 1
    assert state(name) == "closed"


def test_its_log_comes_once_somebody_reads(programs: Programs, name: str, stalled: Any) -> None:
    program = programs.chronostream("run", name, stderr=stalled.fd)
    is_live(name)
    stalled.resume()
    assert b" INFO ready: stream " in stalled.read()
    assert program.stop()[0] == 0
    assert b" INFO stopped: stream " in stalled.read()


def test_an_error_that_nobody_reads_ends_it_all_the_same(programs: Programs, name: str, stalled: Any) -> None:
    program = programs.chronostream("run", name, stderr=stalled.fd)
    is_live(name)
    path_of(name).unlink()
    assert program.wait() == 1


def test_nor_do_the_producers_of_several_streams(programs: Programs, name: str, tmp_path: Path, stalled: Any) -> None:
    names = [f"{name}-a", f"{name}-b"]
    (tmp_path / "streams.toml").write_text("".join(f"[streams.{each}]\nremove = true\n" for each in names))
    program = programs.chronostream("run", "--config", str(tmp_path / "streams.toml"), stderr=stalled.fd)
    for each in names:
        is_live(each)
    status, took_s = program.stop()
    assert status == 0
    assert took_s < 5
    assert not any(path_of(each).exists() for each in names)


START = """
import chronostream as cs
with cs.start(cs.StreamConfig(name={name!r})) as producer:
    print(producer.pid, flush=True)
    input()
    while producer.alive:
        pass
    print(producer.exit_status)
"""


def test_nor_does_one_that_a_program_starts(programs: Programs, name: str, stalled: Any) -> None:
    program = programs.python("-c", START.format(name=name), stderr=stalled.fd)
    pid = int(program.out.line())
    is_live(name)
    path_of(name).unlink()  # That is an error, which it logs.
    wait_until(lambda: gone(pid))
    program.write("\n")
    assert program.out.rest() == "1\n"


LOG = """
import logging, sys
from chronostream._log import log_to_stderr
log_to_stderr()
log = logging.getLogger("chronostream")
for number in range({count}):
    log.info("line %d", number)
print("logged", flush=True)
{then}
"""


def log(programs: Programs, stalled: Any, count: int, then: str) -> Program:
    """Start a program that logs so many lines, and return once it has."""
    program = programs.python("-c", LOG.format(count=count, then=then), stderr=stalled.fd)
    assert program.out.line() == "logged"
    return program


def lines_until(stalled: Any, end: str) -> list[str]:
    text = ""
    while end not in text or not text.endswith("\n"):
        text += stalled.read().decode().replace("\r\n", "\n")
    return text.splitlines()


def test_lines_that_find_no_room_are_dropped_and_counted(programs: Programs, stalled: Any) -> None:
    program = log(programs, stalled, 5000, "input(); log.info('line 5000')")
    stalled.resume()
    lines = lines_until(stalled, "dropped")
    program.write("\n")
    lines += lines_until(stalled, "line 5000")
    # A busy machine may have the lines dropped in several turns.
    reports, number = 0, 0
    for line in lines:
        if report := re.fullmatch(r"\S+Z WARNING log lines dropped, as stderr took no more: (\d+)", line):
            reports += 1
            number += int(report[1])
        else:
            assert line.endswith(f"Z INFO line {number}")
            number += 1
    assert reports > 0
    assert number == 5001


WITHOUT_ROOM = """
import logging, resource, time
from chronostream._log import log_to_stderr
log_to_stderr()
log = logging.getLogger("chronostream")
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
log.info("on a full disk")
logging.root.handlers[0].flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
log.info("on one that has room again")
"""


def test_lines_that_cannot_be_written_are_counted_too(programs: Programs, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        assert programs.python("-c", WITHOUT_ROOM, stderr=file).wait() == 0
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        "WARNING log lines dropped, as stderr took no more: 1",
        "INFO on one that has room again",
    ]


def test_a_line_that_cannot_be_formatted_says_so(programs: Programs) -> None:
    program = programs.python("-c", LOG.format(count=0, then="log.info('%d', 'one')"))
    assert program.wait() == 0
    assert re.fullmatch(r"chronostream logs '%d', which cannot be formatted: TypeError\(.*\)\n", program.err.rest())


def test_a_program_that_has_a_log_keeps_it(programs: Programs) -> None:
    code = "import logging; logging.basicConfig(format='%(message)s')\n" + LOG.format(count=1, then="")
    program = programs.python("-c", code)
    assert (program.wait(), program.err.rest()) == (0, "line 0\n")


def test_what_was_logged_last_is_written_before_the_end(programs: Programs) -> None:
    program = programs.python("-c", LOG.format(count=900, then=""))
    assert program.wait() == 0
    assert [int(line.rpartition(" ")[2]) for line in program.err.rest().splitlines()] == list(range(900))


def test_a_program_ends_though_its_last_lines_are_not_read(programs: Programs, stalled: Any) -> None:
    assert log(programs, stalled, 5000, "raise SystemExit(3)").wait() == 3


def test_an_error_that_cannot_be_printed_leaves_the_programs_stderr_as_it_was(programs: Programs) -> None:
    """The program may be a notebook, or a test, that calls the command line."""
    program = programs.python(
        "-c",
        """
import os, sys
from chronostream.cli import main
full = os.open("/dev/full", os.O_WRONLY)
os.dup2(full, 2)
assert main(["nonsense"]) == 2
assert os.path.samestat(os.fstat(2), os.fstat(full))
os.dup2(1, 2)
print("still here")
""",
    )
    assert program.wait() == 0
    assert program.out.rest() == "still here\n"

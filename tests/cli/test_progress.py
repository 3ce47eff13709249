from __future__ import annotations

import os
import pty
import termios
from pathlib import Path

from tests.process_harness import Programs
from tests.streams import event_ring, seconds

WORK = """
from chronostream.cli.progress import progress
with progress("counting", {total}) as done:
    for _ in range(10):
        done(10)
print("result")
"""

LONG_WORK = """
import os, sys, time
from chronostream.cli.progress import progress
with progress("counting") as done:
    os.write(1, b"started\\n")
    sys.stdin.readline()
    end_s = time.monotonic() + 0.5  # some refreshes
    while time.monotonic() < end_s:
        done(1)
        time.sleep(0.001)
    os.write(1, b"counted\\n")
"""


def shown_on_a_terminal(programs: Programs, *arguments: str, term: str = "xterm-256color") -> str:
    """Return what a Python program whose stderr is a terminal writes there; it must end well, and with a result."""
    terminal, slave = pty.openpty()
    try:
        # Not its own standard output: that may be a pipe while one looks at the bar.
        program = programs.python(*arguments, stderr=slave, env=os.environ | {"TERM": term, "COLUMNS": "100"})
        os.close(slave)
        shown = b""
        try:
            while part := os.read(terminal, 65536):
                shown += part
        except OSError:
            pass  # How the end of a terminal is told.
        assert program.out.rest().count("\n") == 1
        assert program.wait() == 0
        return shown.decode()
    finally:
        os.close(terminal)


def test_on_a_terminal_there_is_a_bar_while_it_lasts(programs: Programs) -> None:
    shown = shown_on_a_terminal(programs, "-c", WORK.format(total=100))
    assert "counting" in shown
    assert "100%" in shown
    assert shown.rstrip().endswith("\x1b[2K")  # it is wiped off at the end


def test_without_a_known_end_there_is_one_too(programs: Programs) -> None:
    assert "counting" in shown_on_a_terminal(programs, "-c", WORK.format(total=None))


def test_a_terminal_that_can_do_nothing_gets_none(programs: Programs) -> None:
    assert shown_on_a_terminal(programs, "-c", WORK.format(total=100), term="dumb") == ""


def test_a_pipe_gets_none(programs: Programs) -> None:
    program = programs.python("-c", WORK.format(total=100))
    assert (program.out.rest(), program.err.rest(), program.wait()) == ("result\n", "", 0)


def test_the_work_goes_on_while_the_terminal_is_stopped(programs: Programs) -> None:
    terminal, slave = pty.openpty()
    try:
        program = programs.python("-c", LONG_WORK, stderr=slave, env=os.environ | {"TERM": "xterm-256color"})
        assert program.out.line() == "started"
        termios.tcflow(slave, termios.TCOOFF)  # as Ctrl-S does
        program.write("\n")
        assert program.out.line() == "counted"
        termios.tcflow(slave, termios.TCOON)
        assert program.wait() == 0
    finally:
        os.close(terminal)
        os.close(slave)


def test_a_replay_shows_one(programs: Programs, name: str) -> None:
    command = ["-m", "chronostream", "replay", name, "--from", "2024-01-01", "--to", "2024-01-02"]
    assert "100%" in shown_on_a_terminal(programs, *command)


def test_a_recording_shows_one_below_its_log(programs: Programs, name: str, tmp_path: Path) -> None:
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 20))
        producer.close(remove=False)
    shown = shown_on_a_terminal(
        programs, "-m", "chronostream", "record", name, "--to", str(tmp_path), "--format", "json"
    )
    assert f"recording {name}" in shown
    assert f"INFO {name}: 20 records in" in shown

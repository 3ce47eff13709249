"""``chronostream run`` with a file and with the environment: what comes before what, and several streams at once."""

from __future__ import annotations

import grp
import os
import re
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from chronostream.cli import main
from chronostream.ring import Producer, inspect
from chronostream.stream.events import subscribe
from chronostream.stream.status import stream_status
from tests.process_harness import SECOND_NS, Program, Programs, gone
from tests.ring.harness import path_of, wait_until

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
# What an ordinary user has not anyway.
WITHOUT = ["setpriv", "--bounding-set=-chown,-sys_nice"] if os.geteuid() == 0 else []


@pytest.fixture
def names(name: str) -> Any:
    """Three stream names of the test's own."""
    names = [f"{name}-{letter}" for letter in "abc"]
    yield names
    for each in names:
        path_of(each).unlink(missing_ok=True)


def write(directory: Path, *names: str, keys: str = "") -> str:
    path = directory / "streams.toml"
    path.write_text("".join(f"[streams.{name}]\n{keys}\n" for name in names))
    return str(path)


def next_line(program: Program) -> str:
    """Return the next line of its log; a busy machine may have been late meanwhile."""
    while (line := program.err.line()).endswith(" late"):
        assert re.fullmatch(r"\S+ INFO \S+: \S+ emitted \d+\.\d{3} s late", line)
    return line


def ready(program: Program, count: int) -> dict[str, int]:
    """Wait until so many streams are ready; return their producers."""
    found = {}
    for _ in range(count):
        line = re.fullmatch(
            r"\S+ INFO ready: stream '(\S+)', second in UTC, process (\d+), \w+ core", next_line(program)
        )
        assert line
        found[line[1]] = int(line[2])
    return found


def test_option_environment_file_and_default_come_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file = write(tmp_path, name, keys="capacity = 16\ninstance-id = 'file'\ntimezone = 'Europe/Berlin'")
    monkeypatch.setenv("CHRONOSTREAM_CAPACITY", "32")
    monkeypatch.setenv("CHRONOSTREAM_INSTANCE_ID", "environment")
    assert main(["run", name, "--config", file, "--capacity", "64", "--for", "10ms"]) == 0
    found = stream_status(name)
    assert found.description is not None
    assert (found.ring.capacity, found.ring.instance) == (64, "environment")
    assert (found.description.timezone, found.description.sequencer) == ("Europe/Berlin", "counting")


def test_every_option_of_a_stream_can_be_set_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, name: str
) -> None:
    group = grp.getgrgid([os.getegid(), *os.getgroups()][-1])
    processors = os.sched_getaffinity(0)
    request.addfinalizer(lambda: os.sched_setaffinity(0, processors))
    for key, value in {
        "FREQUENCY": "minute second",
        "TIMEZONE": "Europe/Berlin",
        "CAPACITY": "32",
        "INSTANCE_ID": "me",
        "SEQUENCER": "boundary",
        "COALESCE": "latest",
        "CATCH_UP_WINDOW": "2h",
        "MAX_STEP": "10m",
        "MAX_HOLD": "1m",
        "SETTLE": "5s",
        "MODE": "640",
        "GROUP": group.gr_name,
        "REMOVE": "false",
        "REALTIME": "false",
        "CPU": str(min(processors)),
    }.items():
        monkeypatch.setenv(f"CHRONOSTREAM_{key}", value)
    assert main(["run", name, "--for", "10ms"]) == 0
    found = stream_status(name)
    assert found.engine is not None
    assert found.description is not None
    assert (found.ring.capacity, found.ring.instance, found.description.sequencer) == (32, "me", "boundary")
    assert [known.frequency.label for known in found.engine.frequencies] == ["second", "minute"]
    segment = path_of(name).stat()
    assert (segment.st_mode & 0o777, segment.st_gid) == (0o640, group.gr_gid)
    assert os.sched_getaffinity(0) == {min(processors)}


def test_the_file_itself_can_be_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("CHRONOSTREAM_CONFIG", write(tmp_path, name, keys="capacity = 16"))
    assert main(["run", "--for", "10ms"]) == 0
    assert inspect(name).capacity == 16


def test_an_option_can_take_back_what_the_file_says(tmp_path: Path, name: str) -> None:
    file = write(tmp_path, name, keys="remove = true")
    assert main(["run", "--config", file, "--for", "10ms"]) == 0
    assert not path_of(name).exists()
    assert main(["run", "--config", file, "--for", "10ms", "--keep"]) == 0
    assert inspect(name).state == "closed"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("CAPACITY", "many", "CHRONOSTREAM_CAPACITY"),
        ("SETTLE", "soon", "--settle is 'soon'"),
        ("REMOVE", "perhaps", "CHRONOSTREAM_REMOVE"),
    ],
)
def test_a_wrong_value_in_the_environment_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str, key: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"CHRONOSTREAM_{key}", value)
    assert main(["run", name, "--for", "10ms"]) == 2
    assert message in capfd.readouterr().err


def test_a_wrong_file_is_wrong_usage_and_starts_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], names: list[str]
) -> None:
    path = tmp_path / "streams.toml"
    path.write_text(f"[streams.{names[0]}]\n[streams.{names[1]}]\ncapacity = 100\n")
    assert main(["run", "--config", str(path)]) == 2
    assert f"chronostream: {path}, stream '{names[1]}': capacity is 100" in capfd.readouterr().err
    assert not path_of(names[0]).exists()


def test_one_stream_of_a_file_is_emitted_by_this_very_process(
    programs: Programs, tmp_path: Path, names: list[str]
) -> None:
    file = write(tmp_path, *names)
    program = programs.chronostream("run", names[1], "--config", file)
    assert ready(program, 1) == {names[1]: program.pid}
    assert program.stop()[0] == 0
    assert [path_of(each).exists() for each in names] == [False, True, False]


def test_several_streams_have_a_process_each_and_are_stopped_together(
    programs: Programs, tmp_path: Path, names: list[str]
) -> None:
    program = programs.chronostream("run", "--config", write(tmp_path, *names))
    producers = ready(program, 3)
    assert list(producers) == names
    assert producers == {each: inspect(each).pid for each in names}
    assert len({program.pid, *producers.values()}) == 4
    status, took_s = program.stop(signal.SIGINT)
    assert status == 0
    assert took_s < 5
    assert program.err.rest().endswith(" INFO stopped: 3 streams\n")
    assert {inspect(each).state for each in names} == {"closed"}
    assert all(map(gone, producers.values()))


def test_one_that_is_killed_is_reported_and_the_others_go_on(
    programs: Programs, tmp_path: Path, names: list[str]
) -> None:
    program = programs.chronostream("run", "--config", write(tmp_path, *names[:2]))
    producers = ready(program, 2)
    os.kill(producers[names[0]], signal.SIGKILL)
    assert next_line(program).endswith(
        f"ERROR stream '{names[0]}' has failed: process {producers[names[0]]} was killed by signal 9; "
        "the other streams go on"
    )
    head = inspect(names[1]).head
    wait_until(lambda: inspect(names[1]).head > head)
    assert (inspect(names[0]).state, inspect(names[1]).state) == ("dead", "live")
    assert program.stop()[0] == 1
    assert inspect(names[1]).state == "closed"


IGNORING = """
import signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from chronostream.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_one_that_is_killed_has_failed_though_whoever_started_all_ignores_their_ends(
    programs: Programs, tmp_path: Path, names: list[str]
) -> None:
    program = programs.python("-c", IGNORING, "run", "--config", write(tmp_path, *names[:2]))
    producers = ready(program, 2)
    os.kill(producers[names[0]], signal.SIGKILL)
    assert f"process {producers[names[0]]} was killed by signal 9" in next_line(program)
    assert program.stop()[0] == 1


def test_each_producer_logs_what_one_alone_does(programs: Programs, tmp_path: Path, names: list[str]) -> None:
    alone = programs.run(names[2])
    together = programs.chronostream("run", "--config", write(tmp_path, *names[:2]))
    pids = {**ready(together, 2), names[2]: alone.pid}
    for each in (names[0], names[2]):
        with subscribe(each) as events:
            due_s = next(events).timestamp / SECOND_NS + 1
        os.kill(pids[each], signal.SIGSTOP)
        time.sleep(max(0.0, due_s + 0.2 - time.time()))
        os.kill(pids[each], signal.SIGCONT)
        line = (alone if each == names[2] else together).err.line()
        assert re.fullmatch(rf"{STAMP} INFO ({each}|{names[1]}): \S+ emitted \d+\.\d{{3}} s late", line)
    alone.stop()
    together.stop()
    stopped = rf"{STAMP} INFO stopped: stream '({'|'.join(names)})' closed, and kept for the next run"
    lines = [line for program in (alone, together) for line in program.err.rest().splitlines() if "stopped" in line]
    assert [found[1] for line in lines if (found := re.fullmatch(stopped, line))] == [names[2], *names[:2]]
    assert [re.sub(STAMP, "", line) for line in lines if not re.fullmatch(stopped, line)] == [
        " INFO stopped: 2 streams"
    ]


def test_a_signal_ends_it_while_a_hundred_streams_are_starting(programs: Programs, tmp_path: Path, name: str) -> None:
    names = [f"{name}-{number}" for number in range(100)]
    file = write(tmp_path, *names, keys="remove = true\ncapacity = 8")
    program = programs.chronostream("run", "--config", file)
    wait_until(lambda: sum(path_of(each).exists() for each in names) >= 3)
    status, took_s = program.stop()
    assert status == 0
    assert took_s < 2  # To start all would take many times as long.
    assert "ready" not in program.err.rest()
    assert not any(path_of(each).exists() for each in names)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("cpu = 99999", "cpu is 99999, expected one that this process may use: "),
        ("group = 'no-such-group'", "there is no group 'no-such-group' on this machine"),
    ],
)
def test_what_this_machine_has_not_is_refused_before_anything_is_started(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], names: list[str], keys: str, message: str
) -> None:
    path = tmp_path / "streams.toml"
    path.write_text(f"[streams.{names[0]}]\n[streams.{names[1]}]\n{keys}\n")
    assert main(["run", "--config", str(path)]) == 2
    assert f"chronostream: {path}, stream '{names[1]}': {message}" in capfd.readouterr().err
    assert not any(path_of(each).exists() for each in names)


def restricted(programs: Programs, *arguments: str) -> Program:
    """Start the command with neither the permission to give files away nor that for real-time scheduling."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))

    command = [*WITHOUT, sys.executable, "-W", "error", "-m", "chronostream", *arguments]
    return programs.start(*command, preexec_fn=limit)


def test_what_this_user_may_not_is_refused_before_anything_is_started(
    programs: Programs, tmp_path: Path, names: list[str]
) -> None:
    foreign = max({*os.getgroups(), os.getegid()}) + 1
    file = write(tmp_path, *names[:2], keys=f"group = {foreign}")
    program = restricted(programs, "run", "--config", file)
    assert program.wait() == 1
    assert program.err.rest() == (
        f"chronostream: {file}, stream '{names[0]}': the segment cannot be given to group {foreign}: "
        "Operation not permitted\n"
    )
    assert not any(path_of(each).exists() for each in names)


def test_a_priority_that_is_not_permitted_is_told_of_each_stream(
    programs: Programs, tmp_path: Path, names: list[str]
) -> None:
    file = write(tmp_path, *names[:2], keys="realtime = true\nremove = true")
    program = restricted(programs, "run", "--config", file)
    for each in names[:2]:
        where = f"WARNING {file}, stream '{each}': no real-time scheduling: this process may not have SCHED_FIFO"
        assert where in program.err.line()
    ready(program, 2)
    assert program.stop()[0] == 0
    assert "no real-time scheduling" not in program.err.rest()


def test_when_all_were_stopped_by_others_it_ends_well(programs: Programs, tmp_path: Path, names: list[str]) -> None:
    program = programs.chronostream("run", "--config", write(tmp_path, *names[:2]))
    for each, pid in ready(program, 2).items():
        os.kill(pid, signal.SIGTERM)
        assert next_line(program).endswith(f"INFO stream '{each}' was stopped: process {pid}")
    assert program.wait() == 0


def test_if_one_cannot_be_started_none_is(programs: Programs, tmp_path: Path, names: list[str]) -> None:
    with Producer.create(names[1], "<i8", 8):
        program = programs.chronostream("run", "--config", write(tmp_path, *names))
        assert program.wait() == 3
        assert f"stream '{names[1]}' is live" in program.err.rest()
    assert {inspect(each).state for each in (names[0], names[2])} == {"closed"}


def test_the_producers_end_cleanly_with_a_supervisor_that_is_killed(
    programs: Programs, tmp_path: Path, names: list[str]
) -> None:
    program = programs.chronostream("run", "--config", write(tmp_path, *names[:2]))
    ready(program, 2)
    os.kill(program.pid, signal.SIGKILL)
    wait_until(lambda: {inspect(each).state for each in names[:2]} == {"closed"})


def test_several_streams_stop_by_themselves_after_a_while(programs: Programs, tmp_path: Path, names: list[str]) -> None:
    file = write(tmp_path, *names[:2], keys="remove = true")
    program = programs.chronostream("run", "--config", file, "--for", "100ms")
    ready(program, 2)
    assert program.wait() == 0
    assert not any(path_of(each).exists() for each in names)

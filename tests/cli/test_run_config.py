"""``chronostream run`` with a file and with the environment: what comes before what, and several streams at once."""

from __future__ import annotations

import grp
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from chronostream.cli import main
from chronostream.ring import Producer, inspect
from chronostream.stream.status import stream_status
from tests.process_harness import Program, Programs, gone
from tests.ring.harness import path_of, wait_until


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


def ready(program: Program, count: int) -> dict[str, int]:
    """Wait until so many streams are ready; return their producers."""
    found = {}
    for _ in range(count):
        line = re.fullmatch(
            r"\S+ INFO ready: stream '(\S+)', second in UTC, process (\d+), \w+ core", program.err.line()
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
    assert program.err.line().endswith(
        f"ERROR stream '{names[0]}' has failed: process {producers[names[0]]} was killed by signal 9; "
        "the other streams go on"
    )
    head = inspect(names[1]).head
    wait_until(lambda: inspect(names[1]).head > head)
    assert (inspect(names[0]).state, inspect(names[1]).state) == ("dead", "live")
    assert program.stop()[0] == 1
    assert inspect(names[1]).state == "closed"


def test_when_all_were_stopped_by_others_it_ends_well(programs: Programs, tmp_path: Path, names: list[str]) -> None:
    program = programs.chronostream("run", "--config", write(tmp_path, *names[:2]))
    for each, pid in ready(program, 2).items():
        os.kill(pid, signal.SIGTERM)
        assert program.err.line().endswith(f"INFO stream '{each}' was stopped: process {pid}")
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

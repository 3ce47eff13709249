"""The scheduler process, with real processes, signals and deaths."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from chronostream import ring
from chronostream.clock import Stop
from chronostream.errors import (
    AccessDeniedError,
    InvalidTypeError,
    InvalidValueError,
    OutOfSharedMemoryError,
    ProducerActiveError,
    ProducerGoneError,
    StartError,
    StreamNotFoundError,
)
from chronostream.event import EVENT_DTYPE
from chronostream.producer import process
from chronostream.producer.engine import Engine
from chronostream.producer.life import run
from chronostream.producer.process import ProducerProcess, start, start_supervised, stop_all, stop_producer
from chronostream.ring import Producer
from chronostream.ring.layout import HEADER_DTYPE
from chronostream.stream.config import StreamConfig
from chronostream.stream.events import subscribe
from tests.process_harness import SECOND_NS, Programs, config, dead_pid, gone, state
from tests.ring.harness import TIMEOUT_S, forked, overwrite, path_of, wait_until


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}


@pytest.fixture
def producer(name: str) -> Iterator[ProducerProcess]:
    with start(config(name)) as producer:
        yield producer


@pytest.fixture
def _no_children_left() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


def test_a_started_process_is_ready_and_once_stopped_has_closed_its_stream(name: str) -> None:
    with start(config(name, frequencies=("second", "minute"), timezone="Asia/Tokyo")) as producer:
        assert (producer.name, producer.alive, state(name)) == (name, True, "live")
        status = producer.status()
        assert status.ring.pid == producer.pid != os.getpid()
        assert status.engine is not None
        assert status.description is not None
        assert (status.description.timezone, len(status.engine.frequencies)) == ("Asia/Tokyo", 2)
    assert not producer.alive
    assert state(name) == "closed"
    producer.stop()


def test_events_of_a_started_process_are_aligned_and_told_by_their_identity(name: str) -> None:
    thread = threading.Thread(target=lambda: started.append(start(config(name))))
    started: list[ProducerProcess] = []
    thread.start()
    thread.join()  # The thread that started it has ended, which is no reason for it to end.
    with started[0], subscribe(name, start="oldest") as events:
        event = next(events)
        assert event.timestamp % SECOND_NS == 0
        assert event.id == f"1-{event.timestamp}-1"
        assert (event.sequence, event.seed, event.instance_id) == (1, event.timestamp ^ 1, "host")
        threading.Timer(0.05, started[0].stop).start()
        assert [later.sequence for later in events] in ([], [2])  # The loop ends by itself.
    assert started[0].exit_status == 0  # Two have stopped it, which is no more than one.


def test_a_suspended_process_stops_all_the_same(producer: ProducerProcess) -> None:
    os.kill(producer.pid, signal.SIGSTOP)
    wait_until(lambda: psutil.Process(producer.pid).status() == psutil.STATUS_STOPPED)
    producer.stop()
    assert state(producer.name) == "closed"


def test_a_killed_process_is_told_from_one_that_runs_and_can_be_stopped(producer: ProducerProcess) -> None:
    os.kill(producer.pid, signal.SIGKILL)
    wait_until(lambda: not producer.alive)
    assert state(producer.name) == "dead"
    producer.stop()


def test_a_handle_shows_its_stream_its_process_and_how_that_ended(name: str) -> None:
    with start(config(name)) as stopped, start(config(f"{name}-2", remove=True)) as killed:
        assert repr(stopped) == f"<ProducerProcess '{name}': process {stopped.pid} runs>"
        os.kill(killed.pid, signal.SIGKILL)
        stopped.stop()
        wait_until(lambda: not killed.alive)
        assert repr(stopped) == f"<ProducerProcess '{name}': process {stopped.pid} ended with status 0>"
        assert repr(killed) == f"<ProducerProcess '{name}-2': process {killed.pid} was killed by signal 9>"
    ring.remove(f"{name}-2")


def test_a_handle_on_a_detached_process_shows_that_it_ended(programs: Programs) -> None:
    program = programs.python("-c", "input()")
    producer = ProducerProcess("clock", program.pid, None)
    assert repr(producer) == f"<ProducerProcess 'clock': process {program.pid} runs>"
    producer.stop()
    assert repr(producer) == f"<ProducerProcess 'clock': process {program.pid} ended>"


def test_a_process_that_ends_while_it_is_looked_at_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(process: psutil.Process) -> str:
        raise psutil.NoSuchProcess(process.pid)

    monkeypatch.setattr(psutil.Process, "status", end)
    assert not ProducerProcess("name", os.getpid(), None).alive


STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"


@pytest.mark.parametrize("own", [True, False], ids=["a child", "detached"])
def test_a_process_that_does_not_stop_in_time_is_killed(
    programs: Programs, caplog: pytest.LogCaptureFixture, own: bool
) -> None:
    stubborn = programs.python("-c", STUBBORN)
    stubborn.out.line()
    producer = ProducerProcess("name", stubborn.pid, stubborn.process if own else None)
    assert producer.alive
    producer.stop(0.05)
    wait_until(lambda: not producer.alive)
    assert stubborn.wait() == -signal.SIGKILL
    assert f"process {stubborn.pid} did not stop within 0.05 s, and is killed" in caplog.text


@pytest.mark.parametrize(
    ("timeout_s", "error"), [(-1, InvalidValueError), (float("nan"), InvalidValueError), ("1", InvalidTypeError)]
)
def test_a_time_to_stop_that_is_none_is_refused_and_nothing_is_stopped(
    programs: Programs, timeout_s: Any, error: type[Exception]
) -> None:
    producer = ProducerProcess("name", programs.python("-c", "input()").pid, None)
    with pytest.raises(error, match="timeout_s is"):
        producer.stop(timeout_s)
    assert producer.alive


START = "import chronostream as cs; print(cs.start(cs.StreamConfig(name='{name}')).pid, flush=True)"


@pytest.fixture(params=["a script", "standard input", "a prompt"])
def starter(request: pytest.FixtureRequest, programs: Programs, name: str, tmp_path: Path) -> Any:
    """A program that started a scheduler process, without a ``__main__`` guard, and lives until its input ends."""
    code = START.format(name=name)
    if request.param == "a script":
        script = tmp_path / "script.py"
        script.write_text(code + "; import sys; sys.stdin.read()")
        return programs.python(str(script))
    if request.param == "a prompt":
        program = programs.python("-i")
        program.write(code + "\n")
        return program
    program = programs.python("-")
    program.write(code + "\nimport time; time.sleep(60)\n")  # What it waits for is its own code.
    assert program.process.stdin is not None
    program.process.stdin.close()
    return program


def test_it_ends_cleanly_when_the_program_that_started_it_ends(starter: Any, name: str) -> None:
    pid = int(starter.out.line())
    assert state(name) == "live"
    if starter.process.stdin.closed:
        starter.send_signal(signal.SIGINT)
    else:
        starter.process.stdin.close()
    starter.wait()
    assert starter.out.rest() == ""
    wait_until(lambda: gone(pid))
    assert state(name) == "closed"


def test_it_ends_cleanly_when_its_starter_is_killed_though_a_fork_of_that_one_lives(
    programs: Programs, name: str
) -> None:
    # Only one of the two prints: what both write at once may come as one line.
    fork_too = "; import os, time; fork = os.fork(); fork and print(fork, flush=True); time.sleep(60)"
    program = programs.python("-c", START.format(name=name) + fork_too)
    pid, fork = int(program.out.line()), int(program.out.line())
    program.send_signal(signal.SIGKILL)
    try:
        wait_until(lambda: gone(pid))
        assert state(name) == "closed"
        assert not gone(fork)
    finally:
        os.kill(fork, signal.SIGKILL)


def test_a_detached_process_outlives_its_starter_and_holds_none_of_its_pipes(programs: Programs, name: str) -> None:
    program = programs.python("-c", START.format(name=name).replace("')", "'), detach=True"))
    pid = int(program.out.line())
    assert program.wait() == 0
    assert (program.out.rest(), program.err.rest()) == ("", "")
    assert (state(name), gone(pid)) == ("live", False)
    stop_producer(name)
    assert state(name) == "closed"


def test_a_detached_process_is_stopped_by_its_handle_and_logs_into_a_file_only(name: str) -> None:
    producer = start(config(name), detach=True)
    try:
        assert producer.alive
        assert Path(f"/proc/{producer.pid}/stat").read_text().rpartition(")")[2].split()[1] != str(os.getpid())
        log = Path(f"/proc/{producer.pid}/fd/2").resolve()
        assert log == (Path("/proc/self/fd/2").resolve() if Path("/proc/self/fd/2").is_file() else Path(os.devnull))
    finally:
        producer.stop()
    assert not producer.alive
    assert state(name) == "closed"


@pytest.mark.usefixtures("_no_children_left")
def test_an_error_while_it_starts_reaches_the_caller_as_it_was_raised(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with Producer.create(name, EVENT_DTYPE, 8):
        with pytest.raises(ProducerActiveError, match=f"process {os.getpid()} is its producer") as caught:
            start(config(name))
        assert caught.value.pid == os.getpid()
    with pytest.raises(OutOfSharedMemoryError, match="no room for a segment"):
        start(config(name, capacity=1 << 38))
    assert capfd.readouterr().err == ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Foreign(StreamConfig):
    colour: str = "blue"


@pytest.mark.usefixtures("_no_children_left")
def test_an_error_that_is_not_ours_reaches_the_caller_with_its_text(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StartError, match=r"failed: TypeError\(.*unexpected keyword argument 'colour'"):
        start(Foreign(name=name))
    assert "Traceback" in capfd.readouterr().err


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Have something else started instead of Python: a shell script."""

    def put(script: str) -> Path:
        path = tmp_path / "interpreter"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(path))
        return path

    return put


@pytest.mark.usefixtures("_no_children_left")
@pytest.mark.parametrize("detach", [False, True])
def test_a_process_that_ends_before_it_is_ready_is_an_error_that_tells_its_status(
    name: str, interpreter: Callable[[str], Path], detach: bool
) -> None:
    interpreter("exit 7")
    with pytest.raises(StartError, match="ended with status 7 before it was ready"):
        start(config(name), detach=detach)


@pytest.mark.usefixtures("_no_children_left")
def test_a_process_that_ends_is_noticed_though_something_holds_its_pipe_open(
    name: str, interpreter: Callable[[str], Path], tmp_path: Path
) -> None:
    interpreter(f"sleep 60 & echo $! >{tmp_path}/pid; exit 7")
    try:
        with pytest.raises(StartError, match="ended with status 7 before it was ready"):
            start(config(name))
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_detached_process_that_ends_as_soon_as_it_is_ready_is_an_error(
    name: str, interpreter: Callable[[str], Path], tmp_path: Path
) -> None:
    pid = dead_pid()
    (tmp_path / "report").write_text(f"{pickle.dumps(pid).hex()}\n")
    interpreter(f"cat {tmp_path}/report")
    with pytest.raises(StartError, match=f"process {pid} ended as soon as it was ready"):
        start(config(name), detach=True)


def test_an_interpreter_that_cannot_be_started_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(StartError, match=r"could not be started: .*/nonexistent/python"):
        start(config(name))


@pytest.mark.usefixtures("_no_children_left")
@pytest.mark.parametrize("detach", [False, True])
def test_a_process_that_does_not_get_ready_in_time_is_killed_with_what_it_forked(
    name: str, interpreter: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, detach: bool
) -> None:
    monkeypatch.setattr(process, "_START_TIMEOUT_S", 0.2)
    interpreter(f"sleep 60 & echo $! >{tmp_path}/pid; {'exit 0' if detach else 'wait'}")
    with pytest.raises(StartError, match=r"not ready within 0\.2 s"):
        start(config(name), detach=detach)
    wait_until(lambda: gone(int((tmp_path / "pid").read_text())))


@pytest.mark.usefixtures("_no_children_left")
@pytest.mark.parametrize(
    ("script", "error"),
    [("SLEEP", "ended with status -15 before it was ready"), ("trap '' TERM; SLEEP", r"not ready within")],
)
def test_a_start_can_be_given_up(
    name: str,
    interpreter: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    script: str,
    error: str,
) -> None:
    monkeypatch.setattr(process, "_STOP_TIMEOUT_S", 0.2)
    begun = tmp_path / "begun"
    interpreter(script.replace("SLEEP", f"touch '{begun}'; exec sleep 60"))
    with Stop() as stop:

        def give_up() -> None:
            wait_until(begun.exists)
            stop.set()

        thread = threading.Thread(target=give_up)
        thread.start()
        with pytest.raises(StartError, match=error):
            start_supervised(config(name), stop, None)
        thread.join()


def test_a_supervised_process_tells_that_its_engine_turns(name: str) -> None:
    with Stop() as stop, start_supervised(config(name, frequencies=("day",)), stop, 0.1) as producer:
        for _ in range(3):
            wait_until(producer.has_turned)
        producer._process.suspend()
        wait_until(lambda: producer._process.status() == psutil.STATUS_STOPPED)
        producer.has_turned()
        time.sleep(0.3)
        assert not producer.has_turned()
        producer._process.resume()
        wait_until(producer.has_turned)
    assert producer.exit_status == 0


def test_several_are_stopped_at_once_and_one_that_does_not_is_killed(name: str, programs: Programs) -> None:
    stubborn = programs.python("-c", STUBBORN)
    stubborn.out.line()
    producer = start(config(name))
    stop_all([ProducerProcess("name", stubborn.pid, stubborn.process), producer], 0.5)
    assert (stubborn.wait(), producer.exit_status, state(name)) == (-signal.SIGKILL, 0, "closed")


def test_how_a_process_ended_is_not_made_up_where_the_system_does_not_tell(name: str) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with start(config(name)) as producer:
            os.kill(producer.pid, signal.SIGKILL)
            wait_until(lambda: not producer.alive)
            assert producer.exit_status is None
            assert repr(producer) == f"<ProducerProcess '{name}': process {producer.pid} ended>"
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.usefixtures("_no_children_left")
def test_a_fork_that_holds_its_pipes_open_keeps_nobody_waiting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen
    with contextlib.ExitStack() as forks:

        def popen(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
            child = real(*arguments, **options)
            forks.enter_context(forked(lambda: time.sleep(TIMEOUT_S)))
            return child

        monkeypatch.setattr(subprocess, "Popen", popen)
        with start(config(name)):
            assert state(name) == "live"


def test_any_path_of_modules_is_handed_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    long = [f"/nonexistent/{number:0100}" for number in range(2000)]
    monkeypatch.setattr(sys, "path", [*sys.path, Path("/not/a/string"), "/not/unicode/\udcff", *long])
    with start(config(name)) as producer:
        assert producer.alive


@pytest.mark.parametrize("begin", [start, run, Engine])
def test_what_is_no_configuration_is_refused(begin: Callable[[Any], Any]) -> None:
    with pytest.raises(InvalidTypeError, match="config is str, expected a StreamConfig"):
        begin("name")


def test_a_started_process_whose_stream_is_removed_logs_that_and_fails(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with start(config(name)) as producer:
        path_of(name).unlink()
        wait_until(lambda: not producer.alive)
        assert producer.exit_status == 1
    assert "was removed while its producer was running" in capfd.readouterr().err


def test_a_producer_is_stopped_though_its_parent_does_not_ask_about_it(programs: Programs, name: str) -> None:
    program = programs.run(name)
    stop_producer(name)
    assert state(name) == "closed"
    stop_producer(name)
    assert program.wait() == 0


def test_stopping_the_producer_of_no_stream_is_an_error(name: str) -> None:
    with pytest.raises(StreamNotFoundError):
        stop_producer(name)


def identify(name: str, field: str, value: int) -> None:
    """Have the header of a stream say something else about its producer."""
    fields = HEADER_DTYPE.fields
    assert fields is not None
    dtype, offset = fields[field][:2]
    overwrite(name, offset, value.to_bytes(dtype.itemsize, "little"))


def test_a_producer_that_does_not_stop_is_an_error_that_names_it(programs: Programs, name: str) -> None:
    stubborn = programs.python("-c", STUBBORN)
    stubborn.out.line()
    with Producer.create(name, EVENT_DTYPE, 8):
        identify(name, "pid", stubborn.pid)
        with pytest.raises(ProducerActiveError, match=f"process {stubborn.pid}, .* did not stop") as caught:
            stop_producer(name, timeout_s=0.05)
        assert caught.value.pid == stubborn.pid


def test_a_producer_in_another_container_is_left_alone(name: str) -> None:
    with Producer.create(name, EVENT_DTYPE, 8):
        identify(name, "pid_namespace", 1)
        with pytest.raises(ProducerActiveError, match="of another container: stop it there"):
            stop_producer(name)


def test_a_producer_that_has_just_ended_is_no_error(name: str) -> None:
    with Producer.create(name, EVENT_DTYPE, 8):
        identify(name, "pid", dead_pid())
        stop_producer(name)


def test_a_process_that_only_got_the_pid_of_a_producer_is_left_alone(
    programs: Programs, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = programs.python("-c", "input()")
    with Producer.create(name, EVENT_DTYPE, 8):
        identify(name, "pid", stranger.pid)
        found = [ring.inspect(name)]
        found.append(dataclasses.replace(found[0], generation=2))
        monkeypatch.setattr(ring, "inspect", lambda _: found.pop(0))
        stop_producer(name)
    assert not gone(stranger.pid)


def test_a_producer_that_this_user_may_not_stop_is_an_error(
    programs: Programs, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_process: psutil.Process) -> None:
        raise psutil.AccessDenied

    stranger = programs.python("-c", "input()")
    monkeypatch.setattr(psutil.Process, "terminate", refuse)
    with Producer.create(name, EVENT_DTYPE, 8):
        identify(name, "pid", stranger.pid)
        with pytest.raises(AccessDeniedError, match=f"process {stranger.pid}, .* is another user's"):
            stop_producer(name)


WITH_A_FORK = """
import os, time
from chronostream.stream.config import StreamConfig
from chronostream.producer.life import run

def fork(_):
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    print(pid, flush=True)

run(StreamConfig(name='{name}', capacity=8), on_ready=fork)
"""


def test_a_killed_producer_is_noticed_and_followed_by_the_next_though_a_fork_of_it_lives(
    programs: Programs, name: str
) -> None:
    first = programs.python("-c", WITH_A_FORK.format(name=name))
    fork = int(first.out.line())
    try:
        with subscribe(name, on_gone="raise") as watcher, subscribe(name) as reader:
            before = next(watcher)
            first.send_signal(signal.SIGKILL)
            with pytest.raises(ProducerGoneError, match=f"process {first.pid}, the producer of stream"):
                watcher.wait(2)
            with start(config(name)) as second:
                assert not gone(fork)
                assert second.status().ring.generation == 2
                assert next(reader) == before
                after = next(reader)
                assert after.timestamp > before.timestamp
                assert after.sequence == before.sequence + 1
    finally:
        os.kill(fork, signal.SIGKILL)

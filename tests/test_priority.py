"""Real processes: a priority cannot be tried out on the one that runs the tests."""

from __future__ import annotations

import itertools
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

import chronostream as cs
from chronostream.errors import ConfigError, InvalidValueError, StreamNotFoundError
from chronostream.priority import apply_priority
from tests.ring.harness import TIMEOUT_S, in_fork, path_of, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have neither")
_NOBODY = 65534
_numbers = itertools.count()


@pytest.fixture
def name() -> Iterator[str]:
    """A stream name of the test's own; its segment is gone afterwards, whatever happened."""
    name = f"test-priority-{os.getpid()}-{next(_numbers)}"
    yield name
    path_of(name).unlink(missing_ok=True)


def _warnings(target: Callable[[], object]) -> list[str]:
    """Return what the module warns of meanwhile."""
    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler = Handler()
    logger = logging.getLogger("chronostream.priority")
    logger.addHandler(handler)
    try:
        target()
    finally:
        logger.removeHandler(handler)
    return found


def test_realtime_is_given_or_a_warning_says_that_it_is_not() -> None:
    def child() -> None:
        warned = _warnings(lambda: apply_priority(realtime=True))
        given = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
        assert given is not bool(warned)

    assert in_fork(child) == 0


def test_without_the_permission_a_warning_says_what_would_give_it() -> None:
    def child() -> None:
        resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
        if os.getuid() == 0:
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        (warning,) = _warnings(lambda: apply_priority(realtime=True))
        assert warning.startswith("no real-time scheduling")
        assert "CAP_SYS_NICE" in warning
        assert os.sched_getscheduler(0) == os.SCHED_OTHER

    assert in_fork(child) == 0


def test_a_cpu_is_the_only_one_from_then_on() -> None:
    last = max(os.sched_getaffinity(0))

    def child() -> None:
        apply_priority(cpu=last)
        assert os.sched_getaffinity(0) == {last}

    assert in_fork(child) == 0
    assert len(os.sched_getaffinity(0)) > 0


def test_a_cpu_that_is_not_there_is_refused_with_those_that_are() -> None:
    allowed = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
    with pytest.raises(InvalidValueError, match=f"cpu is 99999, expected one that this process may use: {allowed}"):
        apply_priority(cpu=99999)


def test_other_systems_say_that_they_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    (warning,) = _warnings(lambda: apply_priority(realtime=True))
    assert "darwin has no SCHED_FIFO" in warning
    with pytest.raises(InvalidValueError, match="darwin cannot pin"):
        apply_priority(cpu=0)


@pytest.mark.parametrize("cpu", [-1, 1.5, True, "0"])
def test_a_config_refuses_what_is_no_cpu(cpu: Any) -> None:
    with pytest.raises(ConfigError, match="cpu is"):
        cs.StreamConfig(name="clock", cpu=cpu)


def test_a_started_process_runs_where_it_was_told_to(name: str) -> None:
    cpu = max(os.sched_getaffinity(0))
    with cs.start(cs.StreamConfig(name=name, cpu=cpu, remove=True)) as producer:
        assert psutil.Process(producer.pid).cpu_affinity() == [cpu]


def test_starting_a_process_on_a_cpu_that_is_not_there_fails_here(name: str) -> None:
    with pytest.raises(InvalidValueError, match="cpu is 99999"):
        cs.start(cs.StreamConfig(name=name, cpu=99999))
    assert name not in cs.ring.list_names()


def test_run_takes_both_options(name: str) -> None:
    cpu = max(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "chronostream", "run", name, "--remove", "--realtime", "--cpu", str(cpu)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: _is_live(name))
        scheduler = os.sched_getscheduler(process.pid) & ~os.SCHED_RESET_ON_FORK
        assert os.sched_getaffinity(process.pid) == {cpu}
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert (scheduler == os.SCHED_FIFO) is not ("no real-time scheduling" in err)


def test_run_on_a_cpu_that_is_not_there_is_wrong_usage(name: str) -> None:
    command = [sys.executable, "-m", "chronostream", "run", name, "--cpu", "99999"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cpu is 99999" in done.stderr


def _is_live(name: str) -> bool:
    try:
        return cs.ring.inspect(name).state == "live"
    except StreamNotFoundError:
        return False

"""Real processes: a priority cannot be tried out on the one that runs the tests."""

from __future__ import annotations

import os
import resource
from typing import Any

import psutil
import pytest

import chronostream as cs
from chronostream.errors import ConfigError, InvalidTypeError, InvalidValueError
from chronostream.producer.priority import apply_priority
from tests.process_harness import Programs
from tests.ring.harness import in_fork

_NOBODY = 65534


def _is_realtime(pid: int) -> bool:
    return os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO


def _last_cpu() -> int:
    return max(os.sched_getaffinity(0))


def test_realtime_is_given_or_a_warning_says_that_it_is_not(caplog: pytest.LogCaptureFixture) -> None:
    def child() -> None:
        apply_priority(realtime=True)
        assert _is_realtime(0) is not bool(caplog.messages)

    assert in_fork(child) == 0


def test_without_the_permission_a_warning_says_what_would_give_it(caplog: pytest.LogCaptureFixture) -> None:
    def child() -> None:
        resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
        if os.getuid() == 0:
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        apply_priority(realtime=True)
        (warning,) = caplog.messages
        assert warning.startswith("no real-time scheduling")
        assert "CAP_SYS_NICE" in warning
        assert os.sched_getscheduler(0) == os.SCHED_OTHER

    assert in_fork(child) == 0


def test_a_cpu_is_the_only_one_from_then_on() -> None:
    def child() -> None:
        apply_priority(cpu=_last_cpu())
        assert len(os.sched_getaffinity(0)) == 1

    assert in_fork(child) == 0


def test_a_cpu_that_is_not_there_is_refused_with_those_that_are() -> None:
    allowed = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
    with pytest.raises(InvalidValueError, match=f"cpu is 99999, expected one that this process may use: {allowed}"):
        apply_priority(cpu=99999)


def test_what_is_no_number_of_a_cpu_is_refused() -> None:
    with pytest.raises(InvalidTypeError, match="cpu is str, expected an integer"):
        apply_priority(cpu="0")  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("cpu", [-1, 1.5, True, "0"])
def test_a_config_refuses_what_is_no_cpu(cpu: Any) -> None:
    with pytest.raises(ConfigError, match="cpu is"):
        cs.StreamConfig(name="clock", cpu=cpu)


def test_a_started_process_runs_where_it_was_told_to(name: str) -> None:
    with cs.start(cs.StreamConfig(name=name, cpu=_last_cpu(), remove=True)) as producer:
        assert psutil.Process(producer.pid).cpu_affinity() == [_last_cpu()]


def test_starting_a_process_on_a_cpu_that_is_not_there_fails_here(name: str) -> None:
    with pytest.raises(InvalidValueError, match="cpu is 99999"):
        cs.start(cs.StreamConfig(name=name, cpu=99999))
    assert name not in cs.ring.list_names()


def test_run_takes_both_options(name: str, programs: Programs) -> None:
    program = programs.chronostream("run", name, "--remove", "--realtime", "--cpu", str(_last_cpu()))
    told = program.err.line()
    warned = "no real-time scheduling" in told
    assert "ready: stream" in (program.err.line() if warned else told)
    assert (os.sched_getaffinity(program.pid), _is_realtime(program.pid)) == ({_last_cpu()}, not warned)


def test_run_on_a_cpu_that_is_not_there_is_wrong_usage(name: str, programs: Programs) -> None:
    program = programs.chronostream("run", name, "--cpu", "99999")
    assert program.wait() == 2
    told = program.err.rest()
    assert (told.count("\n"), "cpu is 99999" in told) == (1, True)

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from bench.peer import Spec
from bench.peers.chronostream import Portable
from bench.processes import FailedError, Job, Station, run_jobs
from chronostream import ring
from tests.ring.harness import ROOT, TIMEOUT_S, wait_until


def double(value: int) -> int:
    return 2 * value


def fail() -> None:
    raise ValueError("this went wrong")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep() -> None:
    time.sleep(10 * TIMEOUT_S)


def meet_alone(station: Station, index: int) -> None:
    if index == 0:
        station.meet()


def die_with_a_ring(station: Station) -> None:
    station.open_sender()
    die()


def test_each_job_returns_what_it_returns() -> None:
    assert run_jobs([Job(double, None, (number,)) for number in (1, 2)], None, TIMEOUT_S) == [2, 4]


def test_an_exception_is_the_reason() -> None:
    with pytest.raises(FailedError, match="ValueError: this went wrong"):
        run_jobs([Job(fail, None)], None, TIMEOUT_S)


def test_a_death_is_noticed_at_once() -> None:
    begin_s = time.monotonic()
    with pytest.raises(FailedError, match="a process died"):
        run_jobs([Job(die, None), Job(sleep, None)], None, TIMEOUT_S)
    assert time.monotonic() - begin_s < TIMEOUT_S


def test_one_that_does_not_end_is_ended() -> None:
    with pytest.raises(FailedError, match=r"not done after 0\.2 s"):
        run_jobs([Job(sleep, None)], None, 0.2)


def test_what_a_killed_process_left_is_removed() -> None:
    station = Station.plan(Portable(), Spec(capacity=8))
    with pytest.raises(FailedError):
        run_jobs([Job(die_with_a_ring, None)], station, TIMEOUT_S)
    assert station.channels[0] not in ring.list_names()


def test_what_a_peer_cannot_do_is_said_before_anything_starts() -> None:
    with pytest.raises(FailedError, match="cannot: no receive that sleeps"):
        Station.plan(NeverSleeps(), Spec(blocking=True))


class NeverSleeps(Portable):
    blocking = False

    def unable(self, spec: Spec) -> str | None:
        return "no receive that sleeps" if spec.blocking else None


def test_children_die_with_their_parent() -> None:
    program = (
        "from bench.processes import Job, run_jobs\n"
        "from time import sleep\n"
        "if __name__ == '__main__':\n"
        "    run_jobs([Job(sleep, None, (600,))], None, 600.0)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    try:
        seen = psutil.Process(parent.pid)
        # The server, the tracker of resources, and the job itself, which the server forked.
        wait_until(
            lambda: any("forkserver" in " ".join(child.cmdline()) and child.children() for child in seen.children())
        )
        children = seen.children(recursive=True)
    finally:
        parent.kill()
        parent.wait()
    gone, alive = psutil.wait_procs(children, TIMEOUT_S)
    assert not alive
    assert len(gone) >= 2

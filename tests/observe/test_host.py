from __future__ import annotations

import os
from pathlib import Path

import pytest

from chronostream.observe.host import (
    MachineFacts,
    clock_sync,
    may_be_realtime,
    reading_ns,
    sleeps_by,
)
from chronostream.stream.config import REALTIME_PRIORITY
from tests.ring.harness import NOBODY, in_fork, needs_root


@pytest.fixture
def facts(tmp_path: Path) -> MachineFacts:
    """A machine without any of the files."""
    return MachineFacts(proc=tmp_path / "proc", sys=tmp_path / "sys", shm=tmp_path / "shm")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_facts_of_the_system_are_read(facts: MachineFacts) -> None:
    write(facts.sys / "devices/system/clocksource/clocksource0/current_clocksource", "hpet\n")
    write(facts.proc / "self/timerslack_ns", "50000\n")
    write(facts.proc / "sys/kernel/osrelease", "3.10.0-1160.el7.x86_64\n")
    assert facts.clocksource() == "hpet"
    assert facts.timer_slack_ns() == 50000
    assert facts.kernel()[1:] == ("3.10.0-1160.el7.x86_64", (3, 10))


def test_a_fact_that_the_system_does_not_have_is_none(facts: MachineFacts) -> None:
    assert (facts.clocksource(), facts.timer_slack_ns(), facts.room()) == (None, None, None)


def test_this_machine_has_the_facts() -> None:
    here = MachineFacts()
    room = here.room()
    assert room is not None
    assert 0 < room.free <= room.size
    assert room.writable
    assert here.kernel()[1] == os.uname().release
    assert sleeps_by() in ("timerfd", "sleep")
    assert reading_ns() > 0


@needs_root
def test_what_this_user_may_not_write_to_is_not_writable() -> None:
    def look_as_nobody() -> None:
        os.setuid(NOBODY)
        room = MachineFacts(shm=Path("/")).room()
        os._exit(0 if room is not None and not room.writable else 1)

    assert in_fork(look_as_nobody) == 0


def test_asking_for_real_time_changes_nothing() -> None:
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    assert may_be_realtime() in (True, False)
    assert (os.sched_getscheduler(0), os.sched_getparam(0)) == before


def test_a_process_that_may_not_be_real_time_learns_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", forbid)
    assert may_be_realtime() is False


def test_what_is_tried_is_the_priority_that_a_producer_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda _, __, given: tried.append(given.sched_priority))
    assert may_be_realtime() is True
    assert tried == [REALTIME_PRIORITY, os.sched_getparam(0).sched_priority]


def test_a_process_that_is_real_time_already_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: os.SCHED_FIFO)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *_: pytest.fail("it gave its priority up"))
    assert may_be_realtime() is True


def test_the_kernel_says_how_wrong_the_clock_can_be() -> None:
    sync = clock_sync()
    assert sync is not None
    assert 0 <= sync.largest_error_s < 3600

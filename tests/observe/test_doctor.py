from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chronostream import ring
from chronostream.calendar.zones import InstalledData
from chronostream.errors import CoreUnavailableError, OutOfSharedMemoryError
from chronostream.observe import doctor as module
from chronostream.observe import host
from chronostream.observe.doctor import Finding, Verdict, examine
from chronostream.observe.host import ClockSync, MachineFacts, Room
from chronostream.observe.survey import survey
from chronostream.ring import Consumer, Producer
from chronostream.stream.config import REALTIME_PRIORITY
from tests.engine_harness import NS, Run
from tests.ring.harness import ROOT, overwrite, path_of

MIB = 2**20


def finding(name: str, facts: MachineFacts | None = None) -> Finding:
    [result] = [each for each in examine(facts) if each.name == name]
    return result


def verdict(name: str, facts: MachineFacts | None = None) -> tuple[Verdict, str]:
    """Return a verdict, and the first words of the advice."""
    result = finding(name, facts)
    return result.verdict, " ".join(result.advice.split()[:3])


def room(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    values = {"size": 1024 * MIB, "free": 1024 * MIB, "files_left": None, "writable": True} | changes
    monkeypatch.setattr(MachineFacts, "room", lambda _: Room(**values))


def test_each_thing_is_looked_at_once_and_what_is_not_well_comes_with_advice() -> None:
    findings = examine()
    names = [found.name for found in findings]
    assert len(names) == len(set(names)) == 11
    assert all(found.found for found in findings)
    for found in findings:
        assert bool(found.advice) == (found.verdict is not Verdict.OK), found


def test_this_machine_can_carry_streams_and_nothing_is_left_of_the_trial() -> None:
    assert finding("trial").verdict is Verdict.OK
    assert not path_of(f"doctor-{os.getpid()}").exists()


def test_the_core_in_use_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for core in ("native", "portable"):
        monkeypatch.setattr(ring, "CORE", core)
        assert finding("core").found.startswith(core)


@pytest.mark.parametrize(
    ("core", "missing", "expected"),
    [
        ("native", [], (Verdict.OK, "")),
        ("portable", [], (Verdict.WARN, "unset CHRONOSTREAM_CORE")),
        ("portable", ["native"], (Verdict.WARN, "it is slower:")),
        ("portable", ["native", "portable"], (Verdict.BAD, "install a C")),
    ],
)
def test_a_core_is_judged_by_what_there_is(
    monkeypatch: pytest.MonkeyPatch, core: str, missing: list[str], expected: tuple[Verdict, str]
) -> None:
    def load(name: str) -> None:
        if name in missing:
            raise CoreUnavailableError(f"no {name} core")

    monkeypatch.setattr(ring, "CORE", core)
    monkeypatch.setattr(module, "load_core", load)
    assert verdict("core") == expected


@pytest.mark.parametrize(
    ("system", "version", "expected"),
    [
        ("Linux", (6, 18), (Verdict.OK, "")),
        ("Linux", (3, 15), (Verdict.OK, "")),
        ("Linux", (3, 10), (Verdict.BAD, "use Linux 3.15")),
    ],
)
def test_a_kernel_is_judged_by_its_locks(
    monkeypatch: pytest.MonkeyPatch, system: str, version: tuple[int, int], expected: tuple[Verdict, str]
) -> None:
    monkeypatch.setattr(MachineFacts, "kernel", lambda _: (system, "release", version))
    assert verdict("kernel") == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (Verdict.OK, "")),
        ({"free": 20 * MIB}, (Verdict.WARN, "a stream takes")),
        ({"free": 8 * MIB}, (Verdict.BAD, "a stream takes")),
        ({"files_left": 1000}, (Verdict.OK, "")),
        ({"files_left": 5}, (Verdict.WARN, "remove files that")),
        ({"files_left": 0}, (Verdict.BAD, "remove files that")),
        ({"writable": False}, (Verdict.BAD, "make it mode")),
    ],
    ids=str,
)
def test_shared_memory_is_judged_by_what_still_fits(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], expected: tuple[Verdict, str]
) -> None:
    room(monkeypatch, **changes)
    assert verdict("shared memory") == expected


def test_without_shared_memory_there_are_no_streams(tmp_path: Path) -> None:
    assert verdict("shared memory", MachineFacts(shm=tmp_path / "nowhere")) == (Verdict.BAD, "mount a tmpfs")


@pytest.mark.parametrize(
    ("source", "reading_ns", "expected"),
    [("tsc", 40, Verdict.OK), (None, 40, Verdict.OK), ("hpet", 900, Verdict.WARN), ("tsc", 1500, Verdict.WARN)],
)
def test_a_clock_source_is_judged_by_its_kind_and_its_cost(
    monkeypatch: pytest.MonkeyPatch, source: str | None, reading_ns: int, expected: Verdict
) -> None:
    monkeypatch.setattr(MachineFacts, "clocksource", lambda _: source)
    monkeypatch.setattr(host, "reading_ns", lambda: reading_ns)
    assert finding("clock source").verdict is expected


@pytest.mark.parametrize(("strategy", "expected"), [("timerfd", Verdict.OK), ("sleep", Verdict.WARN)])
def test_waiting_is_judged_by_whether_a_set_clock_wakes_it(
    monkeypatch: pytest.MonkeyPatch, strategy: str, expected: Verdict
) -> None:
    monkeypatch.setattr(host, "sleeps_by", lambda: strategy)
    assert finding("waiting").verdict is expected


@pytest.mark.parametrize(
    ("slack_ns", "expected"), [(None, Verdict.OK), (50_000, Verdict.OK), (40_000_000, Verdict.WARN)]
)
def test_a_long_timer_slack_is_told(monkeypatch: pytest.MonkeyPatch, slack_ns: int | None, expected: Verdict) -> None:
    monkeypatch.setattr(MachineFacts, "timer_slack_ns", lambda _: slack_ns)
    assert finding("timer slack").verdict is expected


@pytest.mark.parametrize(("allowed", "expected"), [(True, Verdict.OK), (None, Verdict.OK), (False, Verdict.WARN)])
def test_real_time_that_is_not_permitted_is_told(
    monkeypatch: pytest.MonkeyPatch, allowed: bool | None, expected: Verdict
) -> None:
    monkeypatch.setattr(host, "may_be_realtime", lambda: allowed)
    result = finding("real-time")
    assert result.verdict is expected
    unit = (ROOT / "docs/chronostream@.service").read_text()
    for limit in (f"LimitRTPRIO={REALTIME_PRIORITY}", f"rtprio {REALTIME_PRIORITY}`"):
        assert (limit in result.advice) == (allowed is False)
    assert f"\nLimitRTPRIO={REALTIME_PRIORITY}\n" in unit


@pytest.mark.parametrize(
    ("sync", "expected"),
    [
        (ClockSync(True, 0.02), Verdict.OK),
        (ClockSync(True, 2.0), Verdict.WARN),
        (ClockSync(False, 16.0), Verdict.WARN),
        (None, Verdict.OK),
    ],
)
def test_a_clock_that_nobody_keeps_right_is_told(
    monkeypatch: pytest.MonkeyPatch, sync: ClockSync | None, expected: Verdict
) -> None:
    monkeypatch.setattr(host, "clock_sync", lambda: sync)
    assert finding("clock sync").verdict is expected


ZONES = Path("/usr/share/zoneinfo")


@pytest.mark.parametrize(
    ("zones", "expected", "found"),
    [
        (InstalledData(ZONES, "2025b", "2025b"), Verdict.OK, "/usr/share/zoneinfo 2025b in use, tzdata package 2025b"),
        (InstalledData(ZONES, "2026a", "2025b"), Verdict.OK, "/usr/share/zoneinfo 2026a in use, tzdata package 2025b"),
        (
            InstalledData(ZONES, "2024b", "2025b"),
            Verdict.WARN,
            "/usr/share/zoneinfo 2024b in use, tzdata package 2025b",
        ),
        (
            InstalledData(ZONES, None, None),
            Verdict.OK,
            "/usr/share/zoneinfo of unknown release in use, no tzdata package",
        ),
        (InstalledData(None, None, "2025b"), Verdict.OK, "tzdata package 2025b in use, no system files"),
        (InstalledData(None, None, None), Verdict.BAD, "no system files, no tzdata package"),
    ],
)
def test_zone_data_is_judged_by_which_release_is_in_use(
    monkeypatch: pytest.MonkeyPatch, zones: InstalledData, expected: Verdict, found: str
) -> None:
    monkeypatch.setattr(module, "installed_data", lambda: zones)
    result = finding("zone data")
    assert (result.verdict, result.found) == (expected, found)


def test_streams_in_trouble_are_named(name: str) -> None:
    with Run() as dead, Run() as held, Run() as well:
        dead.start()
        dead.die()
        held.start()
        held.after(1)
        held.clock.step(-1000 * NS)
        held.look()
        well.start()
        Producer.create(name, "<i8", 8).close(remove=False)
        overwrite(name, 12, b"\xff" * 4)
        result = finding("streams")
        assert result.verdict is Verdict.WARN
        assert f"the producer of {dead.name} died" in result.found
        assert f"{held.name} does not trust the clock (held)" in result.found
        assert f"{name} is broken (" in result.found
        assert well.name not in result.found


def test_a_producer_that_hangs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with Run() as run:
        run.start()
        run.after(1)
        run.hang(7, monkeypatch)
        result = finding("streams")
    assert result.verdict is Verdict.WARN
    assert f"{run.name} is overdue since 2023-11-14T12:00:02Z (process {os.getpid()})" in result.found
    assert "restart it" in result.advice


def test_a_stream_that_cannot_be_made_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OutOfSharedMemoryError("no room")

    monkeypatch.setattr(Producer, "create", fail)
    result = finding("trial")
    assert (result.verdict, result.found) == (Verdict.BAD, "a stream cannot be created and read: no room")


def test_a_stream_that_mangles_its_records_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = SimpleNamespace(read=lambda: np.array([1, 2]))
    monkeypatch.setattr(module, "survey", lambda: survey([]))  # Others' streams are read as ever.
    monkeypatch.setattr(Consumer, "attach", lambda *_, **__: nullcontext(reader))
    result = finding("trial")
    assert (result.verdict, result.found) == (Verdict.BAD, "published 1, 2, 3, read [1, 2]")

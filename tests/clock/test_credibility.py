from __future__ import annotations

import time

import pytest

from chronostream.clock import FakeClock, SystemClock, credibility
from chronostream.clock.credibility import ClockSync, ClockTrust, doubt
from chronostream.version import EARLIEST_NS

_NS = 1_000_000_000
_DECADE_NS = 10 * 365 * 86_400 * _NS
_SET, _UNSET = ClockSync(True, 0.01), ClockSync(False, 16.0)


@pytest.mark.parametrize(
    ("trust", "after_ns", "sync", "reason"),
    [
        ("plausible", -1, _SET, "before 2026-01-01T00:00:00Z, when this version of ChronoStream did not exist"),
        ("plausible", 0, _UNSET, ""),
        ("plausible", _DECADE_NS - 1, None, ""),
        ("plausible", _DECADE_NS, _SET, ""),
        ("plausible", _DECADE_NS, _UNSET, "after 2035-12-30T00:00:00Z, and no time service has set it"),
        ("plausible", _DECADE_NS, None, "the kernel does not say whether a time service has set it"),
        ("synced", -1, _SET, "before 2026-01-01T00:00:00Z, when this version of ChronoStream did not exist"),
        ("synced", 0, _SET, ""),
        ("synced", 0, _UNSET, "no time service has set it"),
        ("synced", 0, None, "the kernel does not say whether a time service has set it"),
        ("synced", 9 * _DECADE_NS, _SET, ""),
        ("any", -EARLIEST_NS, None, ""),
        ("any", 9 * _DECADE_NS, _UNSET, ""),
    ],
)
def test_a_reading_is_doubted_by_its_date_and_by_what_the_kernel_says(
    monkeypatch: pytest.MonkeyPatch, trust: ClockTrust, after_ns: int, sync: ClockSync | None, reason: str
) -> None:
    monkeypatch.setattr(credibility, "clock_sync", lambda: sync)
    with SystemClock() as clock:
        found = clock.doubt(trust, EARLIEST_NS + after_ns)
    assert found.endswith(reason)
    assert bool(found) is bool(reason)


def test_this_version_is_older_than_any_right_clock_and_not_by_years() -> None:
    assert doubt("plausible", time.time_ns()) == ""


def test_a_sandbox_that_forbids_the_call_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forbidding:
        def adjtimex(self, _: object) -> int:
            return -1

    monkeypatch.setattr(credibility, "_library", Forbidding())
    assert credibility.clock_sync() is None


def test_a_test_means_every_reading_of_its_clock() -> None:
    assert FakeClock(0).doubt("synced", 0) == ""

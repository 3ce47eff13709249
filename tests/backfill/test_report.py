from __future__ import annotations

import json

from chronostream.backfill import Fault, FaultKind, Report
from chronostream.event import Frequency

_SECOND_NS = 1_000_000_000
_RUN = Fault(FaultKind.ABSENT, Frequency.MINUTE, 60 * _SECOND_NS, 180 * _SECOND_NS, 3, "nothing there")
_ONE = Fault(FaultKind.FOREIGN, Frequency.UNKNOWN, 5, 5, 1, "event 9-5-5")


def _report(*faults: Fault, left: int = 0) -> Report:
    counts = {kind: sum(fault.count for fault in faults if fault.kind is kind) for kind in FaultKind}
    return Report(0, 240 * _SECOND_NS, 1, 4, {Frequency.MINUTE: 2}, counts, faults, left)


def test_a_fault_reads_as_one_line() -> None:
    assert str(_RUN) == "absent minute 3 events, 1970-01-01T00:01:00Z to 1970-01-01T00:03:00Z: nothing there"
    assert str(_ONE) == "foreign unknown 1970-01-01T00:00:00.000000005Z: event 9-5-5"


def test_a_report_is_ok_without_faults() -> None:
    assert _report().ok
    assert not _report(_ONE).ok


def test_a_report_reads_line_by_line() -> None:
    assert list(_report(_RUN, _ONE, left=7).lines()) == [
        str(_RUN),
        str(_ONE),
        "… and 7 more",
        ("FAILED: 1970-01-01T00:00:00Z to 1970-01-01T00:04:00Z, 1 of 4 events, 3 absent, 1 foreign, 2 minute missed"),
    ]


def test_a_report_on_nothing_says_so() -> None:
    nothing = Report(None, None, 0, 0, {}, dict.fromkeys(FaultKind, 0), (), 0)
    assert list(nothing.lines()) == ["ok: nothing, 0 of 0 events"]


def test_a_report_is_plain_values_for_json() -> None:
    plain = json.loads(json.dumps(_report(_RUN).as_dict()))
    assert (plain["ok"], plain["missed"], plain["counts"]["absent"]) == (False, {"minute": 2}, 3)
    assert plain["faults"][0] == {
        "kind": "absent",
        "frequency": "minute",
        "first_ns": 60 * _SECOND_NS,
        "last_ns": 180 * _SECOND_NS,
        "count": 3,
        "detail": "nothing there",
    }

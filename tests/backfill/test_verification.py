from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronostream.backfill import Fault, FaultKind, expected, verify
from chronostream.backfill.verification import Records
from chronostream.errors import InvalidTypeError, InvalidValueError
from chronostream.event import Frequency, build_events

_NS = 1_000_000_000
# Half an hour before a midnight in New York, with every frequency within.
_START_NS = (1_730_606_400 - 1800) * _NS
_END_NS = _START_NS + 3600 * _NS
_ALL = ("second", "minute", "hour", "day")
_ZONE = "America/New_York"
_WHOLE = expected(_ALL, _START_NS, _END_NS, _ZONE, "1", "me")
_RAW = np.dtype(("V", _WHOLE.dtype.itemsize))
_ABSENT, _FOREIGN, _DUPLICATE = FaultKind.ABSENT, FaultKind.FOREIGN, FaultKind.DUPLICATE
_ALTERED, _DISORDERED = FaultKind.ALTERED, FaultKind.DISORDERED


def _faults(records: Any, **options: Any) -> list[tuple[FaultKind, int, int]]:
    """Return kind, frequency and first second, since the start of the range, of each fault."""
    report = verify(records, _ALL, _START_NS, _END_NS, timezone=_ZONE, **options)
    assert report.ok is not bool(report.faults)
    return [(fault.kind, fault.frequency, (fault.first_ns - _START_NS) // _NS) for fault in report.faults]


def _place(frequency: Frequency, second: int) -> int:
    found = (_WHOLE["frequency"] == frequency) & (_WHOLE["timestamp"] == _START_NS + second * _NS)
    return int(np.flatnonzero(found)[0])


def _changed(place: int, field: str, value: Any) -> Records:
    records = _WHOLE.copy()
    records[field][place] = value
    return records


def _moved(place: int, to: int) -> Records:
    order = np.delete(np.arange(len(_WHOLE)), place)
    return _WHOLE[np.insert(order, to, place)]


def test_what_must_be_is_ok() -> None:
    report = verify(_WHOLE, _ALL, _START_NS, _END_NS, timezone=_ZONE, producer_version="1", instance_id="me")
    assert report.ok
    assert report.found == report.expected == len(_WHOLE)
    assert report.faults == ()


@pytest.mark.parametrize("size", [7, 100, 5000])
def test_the_events_may_come_in_parts(size: int) -> None:
    broken = np.delete(_WHOLE, [0, 77, 78, 500, len(_WHOLE) - 1])
    parts = (broken[at : at + size] for at in range(0, len(broken), size))
    assert verify(parts, _ALL, _START_NS, _END_NS, timezone=_ZONE) == verify(
        broken, _ALL, _START_NS, _END_NS, timezone=_ZONE
    )


def test_an_absent_event_is_named() -> None:
    place = _place(Frequency.MINUTE, 600)
    assert _faults(np.delete(_WHOLE, place)) == [(_ABSENT, 2, 600)]
    (fault,) = verify(np.delete(_WHOLE, place), _ALL, _START_NS, _END_NS, timezone=_ZONE).faults
    assert fault.detail == "2-1730605200000000000-28843420"


def test_events_absent_in_a_row_are_one_entry_with_their_number() -> None:
    place = _place(Frequency.SECOND, 101)
    report = verify(np.delete(_WHOLE, range(place, place + 5)), _ALL, _START_NS, _END_NS, timezone=_ZONE)
    assert report.expected - report.found == 5
    (fault,) = report.faults
    assert (fault.count, fault.first_ns, fault.last_ns) == (5, _START_NS + 101 * _NS, _START_NS + 105 * _NS)


def test_events_absent_at_both_ends_are_named() -> None:
    assert _faults(_WHOLE[_place(Frequency.SECOND, 3) : _place(Frequency.SECOND, 3590)]) == [
        (_ABSENT, 1, 0),
        (_ABSENT, 2, 0),
        (_ABSENT, 1, 3590),
    ]


def test_no_events_at_all_are_all_absent() -> None:
    report = verify(_WHOLE[:0], _ALL, _START_NS, _END_NS, timezone=_ZONE)
    assert report.counts[_ABSENT] == report.expected == len(_WHOLE)
    assert len(report.faults) == len(_ALL)


def test_no_events_and_no_range_are_nothing_to_verify() -> None:
    report = verify([], _ALL)
    assert report.ok
    assert (report.found, report.expected, report.start_ns) == (0, 0, None)


@pytest.mark.parametrize(
    "records",
    [
        _changed(50, "timestamp", _START_NS + 50 * _NS + 1),
        _changed(_place(Frequency.HOUR, 1800), "timestamp", _START_NS + 1860 * _NS),
        _changed(50, "frequency", 7),
        _changed(50, "timestamp", _END_NS),
        _changed(50, "timestamp", _START_NS - _NS),
    ],
    ids=["no whole second", "no hour", "no frequency", "behind the range", "before the range"],
)
def test_a_foreign_event_is_named_and_leaves_its_place_empty(records: Records) -> None:
    report = verify(records, _ALL, _START_NS, _END_NS, timezone=_ZONE)
    assert {kind: count for kind, count in report.counts.items() if count} == {_FOREIGN: 1, _ABSENT: 1}


def test_an_event_of_a_frequency_that_was_not_asked_for_is_foreign() -> None:
    report = verify(_WHOLE, ["second"], _START_NS, _END_NS, timezone=_ZONE)
    assert {kind: count for kind, count in report.counts.items() if count} == {_FOREIGN: 62}
    assert "expected only second" in report.faults[0].detail


@pytest.mark.parametrize("later", [0, 1, 1000])
def test_a_duplicate_is_named_wherever_it_comes(later: int) -> None:
    records = np.insert(_WHOLE, 101 + later, _WHOLE[100])
    expected_kinds = {_DUPLICATE} if later == 0 else {_DUPLICATE, _DISORDERED}
    assert {kind for kind, _, _ in _faults(records)} == expected_kinds


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sequence", 5),
        ("seed", 5),
        ("schema_version", 2),
        ("reserved", 1),
        ("reserved2", 1),
        ("producer_version", b"2"),
        ("instance_id", b"you"),
    ],
)
def test_an_altered_field_is_named(field: str, value: Any) -> None:
    place = _place(Frequency.SECOND, 60)
    (fault,) = verify(
        _changed(place, field, value), _ALL, _START_NS, _END_NS, timezone=_ZONE, producer_version="1", instance_id="me"
    ).faults
    assert (fault.kind, fault.frequency, fault.first_ns) == (_ALTERED, Frequency.SECOND, _START_NS + 60 * _NS)
    assert f"{field} {value}" in fault.detail


def test_bytes_behind_a_text_are_altered_too() -> None:
    records = _WHOLE.copy()
    records.view(np.uint8).reshape(-1, 128)[9, 40] = 1
    (fault,) = verify(records, _ALL, _START_NS, _END_NS, timezone=_ZONE, producer_version="1", instance_id="me").faults
    assert fault.kind is _ALTERED


def test_version_and_instance_may_be_any_unless_given() -> None:
    assert _faults(_changed(3, "instance_id", b"you")) == []
    assert _faults(_changed(3, "instance_id", b"you"), producer_version="1") == []


@pytest.mark.parametrize(("place", "to"), [(100, 700), (700, 100)])
def test_an_event_out_of_order_is_named_and_nothing_is_absent(place: int, to: int) -> None:
    assert [kind for kind, _, _ in _faults(_moved(place, to))] == [_DISORDERED]


def test_events_that_fall_together_in_the_wrong_order_are_named() -> None:
    place = _place(Frequency.MINUTE, 600)
    assert _faults(_moved(place, place - 1)) == [(_DISORDERED, 1, 600)]


def test_without_a_range_it_is_that_of_the_events() -> None:
    report = verify(_WHOLE[10:500], _ALL, timezone=_ZONE)
    assert (report.ok, report.found) == (True, 490)


def test_without_a_range_what_falls_together_with_the_ends_but_stands_outside_is_not_expected() -> None:
    minute = _place(Frequency.MINUTE, 600)
    assert verify(_WHOLE[minute:], _ALL, timezone=_ZONE).ok
    assert verify(_WHOLE[:minute], _ALL, timezone=_ZONE).ok


def test_without_a_range_what_comes_before_the_first_event_is_outside() -> None:
    place = _place(Frequency.SECOND, 60)
    (fault,) = verify(_WHOLE[[place + 1, place, place + 2]], _ALL, timezone=_ZONE).faults
    assert (fault.kind, fault.frequency, fault.first_ns) == (_FOREIGN, Frequency.SECOND, _START_NS + 60 * _NS)
    assert "outside the range" in fault.detail


def test_the_range_may_be_given_as_any_instants() -> None:
    start, end = "2024-11-03T03:30Z", datetime.fromtimestamp(_END_NS // _NS, UTC)
    assert verify(_WHOLE, _ALL, start, end, timezone=_ZONE) == verify(_WHOLE, _ALL, _START_NS, _END_NS, timezone=_ZONE)


def test_without_a_range_an_alien_first_event_does_not_begin_it() -> None:
    report = verify(_changed(0, "timestamp", 5), _ALL, timezone=_ZONE)
    assert {kind: count for kind, count in report.counts.items() if count} == {_FOREIGN: 1}


def test_all_faults_are_counted_however_few_are_described() -> None:
    report = verify(_WHOLE, _ALL, _START_NS, _END_NS, timezone=_ZONE, instance_id="you", limit=3)
    assert (len(report.faults), report.faults_left) == (3, len(_WHOLE) - 3)
    assert report.counts[_ALTERED] == len(_WHOLE)


def test_a_gap_of_centuries_costs_nothing() -> None:
    days = expected(["day"], 0, 3 * 86_400 * _NS, "UTC", "1", "me")
    report = verify(days, ["second", "day"], 0, 9_000_000_000 * _NS)
    assert report.counts[_ABSENT] == 9_000_000_000 + 104_167 - 3


def test_what_the_producer_counted_as_missed_may_be_absent_and_no_more() -> None:
    broken = np.delete(_WHOLE, range(101, 105))
    report = verify(broken, _ALL, _START_NS, _END_NS, timezone=_ZONE, missed={Frequency.SECOND: 4})
    assert report.ok
    assert report.missed[Frequency.SECOND] == 4
    report = verify(broken, _ALL, _START_NS, _END_NS, timezone=_ZONE, missed={Frequency.SECOND: 3})
    assert report.counts[_ABSENT] == 4


# Counting sequences: each event takes the next number, whatever its boundary.


def _counted(*seconds_and_sequences: tuple[int, int]) -> Records:
    seconds, sequences = np.array(seconds_and_sequences, np.int64).T
    return build_events("second", _START_NS + seconds * _NS, sequences, "1", "me")


def _counting(records: Any, **options: Any) -> tuple[list[tuple[FaultKind, int]], int]:
    report = verify(records, ["second"], sequencer="counting", **options)
    return [(fault.kind, fault.count) for fault in report.faults], report.missed[Frequency.SECOND]


def test_counted_events_without_a_gap_are_ok() -> None:
    assert _counting(_counted((0, 7), (1, 8), (2, 9))) == ([], 0)


def test_a_boundary_passed_without_using_up_a_number_was_missed() -> None:
    assert _counting(_counted((0, 7), (5, 8), (6, 9))) == ([], 4)


def test_a_number_used_up_by_nobody_is_an_absent_event() -> None:
    assert _counting(_counted((0, 7), (5, 10))) == ([(_ABSENT, 2)], 2)


def test_more_missed_than_the_producer_counted_is_a_fault() -> None:
    assert _counting(_counted((0, 7), (5, 8)), missed={Frequency.SECOND: 4}) == ([], 4)
    assert _counting(_counted((0, 7), (5, 8)), missed={Frequency.SECOND: 3}) == ([(_ABSENT, 1)], 4)


@pytest.mark.parametrize("sequence", [7, 6, 9, 100])
def test_a_sequence_that_does_not_follow_is_altered(sequence: int) -> None:
    faults, _ = _counting(_counted((0, 7), (1, sequence)))
    assert faults == [(_ALTERED, 1)]


def test_a_counted_event_with_another_seed_is_altered() -> None:
    records = _counted((0, 7), (1, 8))
    records["seed"][1] += 1
    assert _counting(records) == ([(_ALTERED, 1)], 0)


def test_a_late_counted_event_fits_into_its_gap_or_is_altered() -> None:
    assert _counting(_counted((0, 7), (2, 9), (1, 8))) == ([(_DISORDERED, 1)], 0)
    assert {kind for kind, _ in _counting(_counted((0, 7), (2, 9), (1, 9)))[0]} == {_DISORDERED, _ALTERED}


_LATEST_NS, _EARLIEST_NS = (1 << 63) - 1, -(1 << 63)


def _numbered(sequencer: str) -> Records:
    """Return the events of the range as a stream with this sequencer has them."""
    records = _WHOLE.copy()
    if sequencer == "counting":
        for frequency in Frequency.parse_all(_ALL):
            places = records["frequency"] == frequency
            stamps = records["timestamp"][places]
            records[places] = build_events(frequency, stamps, np.arange(1, len(stamps) + 1), "1", "me")
    return records


@pytest.mark.parametrize("sequencer", ["boundary", "counting"])
@pytest.mark.parametrize("place", [0, 1, 62, 3000, -1])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("timestamp", value) for value in (_LATEST_NS, _EARLIEST_NS, -1)),
        *(("frequency", value) for value in (0, 5, 128, 255)),
    ],
)
@pytest.mark.parametrize("given", [False, True], ids=["any range", "range"])
def test_a_record_that_build_events_could_never_have_written_is_a_fault_of_that_record(
    sequencer: Any, place: int, field: str, value: int, *, given: bool
) -> None:
    records = _numbered(sequencer)
    assert verify(records, _ALL, timezone=_ZONE, sequencer=sequencer).ok
    records[field][place] = value
    range_ns = (_START_NS, _END_NS) if given else ()
    report = verify(records, _ALL, *range_ns, timezone=_ZONE, sequencer=sequencer)
    assert not report.ok
    wrong = f"event {records['frequency'][place]}-{records['timestamp'][place]}-{records['sequence'][place]}"
    named = [fault for fault in report.faults if fault.detail.startswith(wrong)]
    assert [fault.kind for fault in named] == [_FOREIGN]
    assert [*report.lines()][-1].startswith("FAILED")
    assert report.as_dict()["ok"] is False


@pytest.mark.parametrize("sequencer", ["boundary", "counting"])
@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("instance_id", b"me\0too"),
        ("instance_id", b"\0me"),
        ("instance_id", b"\xff"),
        ("instance_id", b"m\xc3"),
        ("producer_version", b"\xed\xa0\x80"),
        ("producer_version", b"\0" * 31 + b"1"),
    ],
)
def test_a_text_that_build_events_could_never_have_written_is_a_fault(sequencer: Any, field: str, text: bytes) -> None:
    records = _numbered(sequencer)
    records[field][100] = text
    (fault,) = verify(records, _ALL, timezone=_ZONE, sequencer=sequencer).faults
    assert fault.kind is _ALTERED
    assert fault.detail.endswith(f" has {field} {text!r}, not UTF-8 padded with NUL")


@pytest.mark.parametrize("text", ["", "ünïcödé", "a" * 64])
def test_any_text_that_build_events_writes_is_none(text: str) -> None:
    assert verify(expected(["second"], _START_NS, _END_NS, instance_id=text), ["second"]).ok


@pytest.mark.parametrize("sequence", [0, 1, 7, 100, (1 << 64) - 1])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_counted_sequence_that_does_not_fit_is_named_as_the_reason_and_alone(sequence: int, size: int) -> None:
    records = _counted(*((second, second + 7) for second in range(6)))
    records["sequence"][2] = sequence
    parts = [records[at : at + size] for at in range(0, 6, size)]
    (fault,) = verify(parts, ["second"], sequencer="counting").faults
    assert (fault.kind, fault.first_ns) == (_ALTERED, _START_NS + 2 * _NS)
    assert fault.detail.endswith(f"has sequence {sequence}, which does not fit between its neighbours'")


def test_an_event_whose_sequence_does_not_fit_may_be_wrong_in_other_ways_too() -> None:
    records = _counted((0, 7), (1, 8), (2, 9))
    records["sequence"][1], records["schema_version"][1] = 20, 3
    (fault,) = verify(records, ["second"], sequencer="counting").faults
    assert fault.detail.endswith("which does not fit between its neighbours'; schema_version 3, expected 1")


def test_several_counted_sequences_in_a_row_that_do_not_fit_are_each_named() -> None:
    records = _counted((0, 7), (1, 100), (2, 50), (3, 10), (4, 11))
    assert [(fault.kind, fault.first_ns) for fault in verify(records, ["second"], sequencer="counting").faults] == [
        (_ALTERED, _START_NS + _NS),
        (_ALTERED, _START_NS + 2 * _NS),
    ]


def test_a_counted_sequence_of_0_is_none() -> None:
    (fault,) = verify(_counted((0, 0), (1, 1)), ["second"], sequencer="counting").faults
    assert fault.first_ns == _START_NS


def test_counted_sequences_are_checked_across_parts() -> None:
    parts = [_counted((0, 7)), _counted((1, 9)), _counted((2, 10))]
    assert _counting(parts) == ([(_ALTERED, 1)], 0)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((_WHOLE, []), {}, InvalidValueError, "no frequency"),
        ((_WHOLE, "second"), {}, InvalidTypeError, "expected a collection"),
        ((np.zeros(3), ["second"]), {}, InvalidTypeError, "float64"),
        (([[1, 2]], ["second"]), {}, InvalidTypeError, "list"),
        ((5, ["second"]), {}, InvalidTypeError, "records are int"),
        ((_WHOLE, ["second"], 5, 4), {}, InvalidValueError, "later than"),
        ((_WHOLE, ["second"], None, "now"), {}, InvalidValueError, "end_ns is 'now', expected ISO 8601"),
        ((_WHOLE, ["second"], None, 0.5), {}, InvalidTypeError, "end_ns is float"),
        ((_WHOLE, ["second"], -5, 4), {}, InvalidValueError, "before 1970"),
        ((_WHOLE, ["second"]), {"timezone": "Mars"}, InvalidValueError, "time zone"),
        ((_WHOLE, ["second"]), {"sequencer": "other"}, InvalidValueError, "expected one of"),
        ((_WHOLE, ["second"]), {"producer_version": "v" * 33}, InvalidValueError, "producer_version"),
        ((_WHOLE, ["second"]), {"instance_id": 5}, InvalidTypeError, "instance_id"),
        ((_WHOLE, ["second"]), {"missed": 5}, InvalidTypeError, "missed is int"),
        ((_WHOLE, ["second"]), {"missed": {"week": 5}}, InvalidValueError, "week"),
        ((_WHOLE, ["second"]), {"limit": -1}, InvalidValueError, "limit is -1"),
        ((_WHOLE, ["second"]), {"limit": "all"}, InvalidTypeError, "limit is str"),
    ],
)
def test_bad_arguments_are_refused(arguments: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        verify(*arguments, **options)


def _delete(records: list[int], at: int) -> list[int]:
    return records[:at] + records[at + 1 :]


def _repeat(records: list[int], at: int) -> list[int]:
    return records[: at + 1] + records[at:]


_EDITS: dict[str, Callable[[list[int], int], list[int]]] = {"delete": _delete, "repeat": _repeat}


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(_EDITS)), st.integers(0, 119)), max_size=30),
    st.integers(1, 121),
    st.booleans(),
)
def test_whatever_is_deleted_or_repeated_is_found_exactly(
    edits: list[tuple[str, int]], size: int, reverse: bool
) -> None:
    whole = _WHOLE[:120]
    places = list(range(120))
    for edit, at in edits:
        if at < len(places):
            places = _EDITS[edit](places, at)
    if reverse:
        places.reverse()
    records = whole.view(_RAW)[places].view(whole.dtype)
    end_ns = int(whole["timestamp"][-1]) + _NS
    parts = [records[at : at + size] for at in range(0, len(records), size)]
    report = verify(parts, _ALL, _START_NS, end_ns, timezone=_ZONE, producer_version="1", instance_id="me")
    times = Counter(places)
    absent = [place for place in range(120) if not times[place]]
    assert report.counts[_ABSENT] == len(absent)
    assert report.counts[_DUPLICATE] == sum(count - 1 for count in times.values())
    assert report.counts[_FOREIGN] == report.counts[_ALTERED] == 0
    assert bool(report.counts[_DISORDERED]) is (reverse and len(times) > 1)
    named = sorted((name.frequency, name.first_ns) for name in report.faults if name.kind is _DUPLICATE)
    keys = [(int(whole["frequency"][place]), int(whole["timestamp"][place])) for place in places]
    assert named == sorted(key for key, count in Counter(keys).items() for _ in range(count - 1))
    assert _absent_keys(report.faults) == {(int(whole["frequency"][at]), int(whole["timestamp"][at])) for at in absent}


def _absent_keys(faults: tuple[Fault, ...]) -> set[tuple[int, int]]:
    step = {Frequency.SECOND: _NS, Frequency.MINUTE: 60 * _NS}
    return {
        (fault.frequency, stamp)
        for fault in faults
        if fault.kind is _ABSENT
        for stamp in range(fault.first_ns, fault.last_ns + 1, step[fault.frequency])
    }

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronostream.boundaries import boundaries
from chronostream.calendar.gaps import Gap, find_gaps
from chronostream.calendar.sequencer import BoundarySequencer
from chronostream.errors import InvalidTypeError, InvalidValueError, UnknownFrequencyError
from chronostream.event import EVENT_DTYPE, Frequency, build_events
from tests.streams import NOON_NS, NS, seconds

SECOND, MINUTE, HOUR, DAY = Frequency.SECOND, Frequency.MINUTE, Frequency.HOUR, Frequency.DAY
DAY_NS = 86_400 * NS


def without(records: npt.NDArray[np.void], *absent: int) -> npt.NDArray[np.void]:
    return records[~np.isin(records["sequence"], absent)]


def at(second: int) -> int:
    return NOON_NS + second * NS


def test_nothing_is_absent_from_a_whole_stream() -> None:
    assert find_gaps(seconds(1, 100)) == []


def test_nothing_is_absent_from_nothing() -> None:
    assert find_gaps(seconds(1, 0)) == []


def test_events_that_were_emitted_and_not_read_are_told_by_their_sequences() -> None:
    records = without(seconds(1, 10), 3, 4, 8)
    assert find_gaps(records) == [
        Gap(SECOND, at(2), at(3), 2, range(3, 5)),
        Gap(SECOND, at(7), at(7), 1, range(8, 9)),
    ]


def test_boundaries_that_the_stream_missed_have_no_sequences() -> None:
    records = build_events("second", [at(0), at(1), at(5)], [1, 2, 3], "1", "i")
    assert find_gaps(records) == [Gap(SECOND, at(2), at(4), 3, range(3, 3))]


def test_a_gap_of_both_kinds_names_the_sequences_that_there_were() -> None:
    records = build_events("second", [at(0), at(10)], [1, 4], "1", "i")
    assert find_gaps(records) == [Gap(SECOND, at(1), at(9), 9, range(2, 4))]


def test_a_stream_made_anew_in_between_has_no_sequences_to_name() -> None:
    records = build_events("second", [at(0), at(10)], [100, 1], "1", "i")
    assert find_gaps(records) == [Gap(SECOND, at(1), at(9), 9, range(101, 101))]


def test_each_frequency_is_looked_at_by_itself() -> None:
    records = np.concatenate([without(seconds(1, 5), 2), without(seconds(1, 4, frequency=MINUTE), 3)])
    assert [(gap.frequency, gap.sequences) for gap in find_gaps(records)] == [
        (SECOND, range(2, 3)),
        (MINUTE, range(3, 4)),
    ]
    assert [gap.frequency for gap in find_gaps(records, frequencies={"minute"})] == [MINUTE]


def test_a_window_is_looked_at_to_its_edges() -> None:
    assert find_gaps(seconds(4, 3), start_ns=at(0), end_ns=at(10)) == [
        Gap(SECOND, at(0), at(2), 3, None),
        Gap(SECOND, at(6), at(9), 4, None),
    ]


def test_a_window_may_be_given_as_any_instants() -> None:
    window: dict[str, Any] = {"start_ns": "2023-11-14T12:00Z", "end_ns": datetime(2023, 11, 14, 12, 0, 10, tzinfo=UTC)}
    assert find_gaps(seconds(4, 3), **window) == find_gaps(seconds(4, 3), start_ns=at(0), end_ns=at(10))


def test_nothing_is_absent_from_nothing_in_a_window_unless_frequencies_are_named() -> None:
    assert find_gaps(seconds(1, 0), start_ns=at(0), end_ns=at(60)) == []


def test_events_outside_the_window_do_not_matter() -> None:
    records = without(seconds(1, 20), 2, 10, 19)
    assert find_gaps(records, start_ns=at(5), end_ns=at(15)) == [Gap(SECOND, at(9), at(9), 1, range(10, 11))]


def test_a_window_without_any_event_is_one_gap() -> None:
    whole = find_gaps(seconds(1, 0), frequencies=[SECOND], start_ns=at(0), end_ns=at(60))
    assert whole == [Gap(SECOND, at(0), at(59), 60, None)]
    assert find_gaps(seconds(1, 0), frequencies=[SECOND], start_ns=at(0)) == []


@pytest.mark.parametrize(
    ("frequency", "tz"), [("second", "UTC"), ("hour", "Asia/Kolkata"), ("day", "America/New_York")]
)
def test_sequences_that_are_computed_do_not_tell_what_was_emitted(frequency: str, tz: str) -> None:
    stamps = boundaries(frequency, NOON_NS, NOON_NS + (10 if frequency == "second" else 20 * 86_400) * NS, tz)
    records = build_events(frequency, stamps, BoundarySequencer(tz).sequences(frequency, stamps), "1", "i")
    assert find_gaps(records, tz) == []
    (gap,) = find_gaps(np.delete(records, [3, 4]), tz)
    assert (gap.first_ns, gap.last_ns, gap.boundaries, gap.sequences) == (stamps[3], stamps[4], 2, None)


def test_days_are_those_of_the_zone() -> None:
    stamps = boundaries("day", NOON_NS, NOON_NS + 400 * DAY_NS, "America/New_York")
    records = build_events("day", stamps, np.arange(1, len(stamps) + 1), "1", "i")
    assert find_gaps(records, "America/New_York") == []
    with pytest.raises(InvalidValueError, match="is no day boundary in Europe/Paris: give the stream's time zone"):
        find_gaps(records, "Europe/Paris")


def test_an_instant_that_is_no_boundary_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"12:00:00\.000000001Z is no second boundary"):
        find_gaps(seconds(1, 3, start_ns=NOON_NS + 1))
    with pytest.raises(InvalidValueError, match=r"2262-04-11T23:47:16\.854775807Z is no minute boundary: .* damaged"):
        find_gaps(build_events("minute", [NOON_NS, (1 << 63) - 1], [1, 2], "1", "i"))


def test_events_from_before_1970_are_counted_as_any() -> None:
    records = without(seconds(1, 5, start_ns=-3 * NS), 2)
    assert [gap.first_ns for gap in find_gaps(records)] == [-2 * NS]


@given(st.sets(st.integers(1, 200), min_size=2))
def test_what_is_read_and_what_is_absent_make_the_whole(read: set[int]) -> None:
    records = seconds(1, 200)
    gaps = find_gaps(records[np.isin(records["sequence"], list(read))])
    absent = [number for gap in gaps for number in gap.sequences or ()]
    assert sorted([*absent, *read]) == list(range(min(read), max(read) + 1))
    assert sum(gap.boundaries for gap in gaps) == len(absent)


@pytest.mark.parametrize("records", [seconds(1, 3)[::-1], seconds(1, 3)[[0, 0]]])
def test_events_out_of_order_are_refused(records: npt.NDArray[np.void]) -> None:
    with pytest.raises(InvalidValueError, match="second events are not in order"):
        find_gaps(records)


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"records": [1, 2]}, InvalidTypeError, "array of EVENT_DTYPE"),
        ({"records": np.zeros(3)}, InvalidTypeError, "array of EVENT_DTYPE"),
        ({"frequencies": "second"}, InvalidTypeError, "expected a collection"),
        ({"frequencies": 1}, InvalidTypeError, "expected a collection"),
        ({"frequencies": {"week"}}, UnknownFrequencyError, "week"),
        ({"records": np.zeros(1, EVENT_DTYPE)}, UnknownFrequencyError, "unknown frequency 0"),
        ({"start_ns": 2, "end_ns": 1}, InvalidValueError, "ends at 1, before it starts at 2"),
        ({"start_ns": 0.5}, InvalidTypeError, "start_ns is float"),
        ({"records": seconds(1, 0), "timezone": "Mars/Olympus"}, InvalidValueError, "Mars/Olympus"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        find_gaps(**{"records": seconds(1, 3)} | options)


@pytest.mark.parametrize(
    ("gap", "text"),
    [
        (
            Gap(MINUTE, at(0), at(120), 3, range(5, 8)),
            "3 minute events absent, 2023-11-14T12:00:00Z to 2023-11-14T12:02:00Z: sequences 5 to 7 were emitted",
        ),
        (Gap(SECOND, at(1), at(1), 1, range(5, 5)), "1 second event absent, 2023-11-14T12:00:01Z: never emitted"),
        (Gap(SECOND, at(1), at(1), 1, None), "1 second event absent, 2023-11-14T12:00:01Z"),
        (
            Gap(DAY, -(1 << 63), 1 << 62, 2, None),
            "2 day events absent, 1677-09-21T00:12:43.145224192Z to 2116-02-20T23:53:38.427387904Z",
        ),
    ],
)
def test_a_gap_can_be_read_by_people(gap: Gap, text: str) -> None:
    assert str(gap) == text

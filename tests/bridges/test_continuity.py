from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from chronostream import Frequency, build_events, to_events
from chronostream.bridges.continuity import BoundaryContinuity, CountingContinuity, Position
from chronostream.calendar.order import order_key, order_keys
from tests.bridges.harness import boundary_events

S = 1_000_000_000
START_NS = 1_711_846_700 * S  # 2024-03-31T00:58:20Z: Berlin loses an hour 100 seconds later
ALL = ("second", "minute", "hour", "day")
EVENTS = boundary_events(ALL, START_NS, START_NS + 300 * S, "Europe/Berlin")
BERLIN = BoundaryContinuity(map(Frequency.parse, ALL), "Europe/Berlin")
COUNTING = CountingContinuity()


def test_all_boundaries_of_a_stretch_are_unbroken() -> None:
    position = Position(0).behind(EVENTS[:1])
    assert BERLIN.unbroken(position, EVENTS[1:]) == len(EVENTS) - 1


@pytest.mark.parametrize("absent", [1, 2, 101, 102, 103, len(EVENTS) - 2])
def test_records_are_unbroken_up_to_the_first_absent_boundary(absent: int) -> None:
    position = Position(0).behind(EVENTS[:1])
    assert BERLIN.unbroken(position, np.delete(EVENTS, absent)[1:]) == absent - 1


def test_no_records_are_unbroken_in_length_zero() -> None:
    assert BERLIN.unbroken(Position(0), EVENTS[:0]) == 0
    assert COUNTING.unbroken(Position(0), EVENTS[:0]) == 0


def test_what_is_absent_is_counted_by_frequency() -> None:
    (hour,) = np.nonzero(EVENTS["frequency"] == Frequency.HOUR)[0]
    # From the hour's second, which comes before its minute, to the second behind.
    position = Position(0).behind(EVENTS[: hour - 1])
    assert BERLIN.absent(position, EVENTS[hour + 1 : hour + 2]) == {Frequency.MINUTE: 1, Frequency.HOUR: 1}


def test_each_event_is_due_at_its_boundary_once_the_one_before_has_come() -> None:
    for before, event in pairwise(to_events(EVENTS)):
        assert BERLIN.due_ns(order_key(before)) == event.timestamp


def counted(seconds: list[int], minutes: list[int]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Return seconds and minutes in turns, with these sequences."""
    parts = [
        build_events(frequency, [START_NS + place * S for place in range(len(numbers))], numbers, "", "")
        for frequency, numbers in (("second", seconds), ("minute", minutes))
    ]
    records = np.concatenate(parts)
    return records[np.argsort(order_keys(records))]


def test_counted_records_are_unbroken_while_each_frequency_counts_on() -> None:
    position = Position(0, {Frequency.SECOND: 4, Frequency.MINUTE: 8})
    assert COUNTING.unbroken(position, counted([5, 6, 7], [9, 10, 11])) == 6
    assert COUNTING.unbroken(position, counted([5, 6, 7], [9, 11, 12])) == 3
    assert COUNTING.unbroken(position, counted([6, 7], [9, 10])) == 0


def test_a_frequency_without_a_known_sequence_begins_anywhere() -> None:
    assert COUNTING.unbroken(Position(0), counted([5, 6], [9, 10])) == 4


def test_what_is_absent_from_counting_is_the_numbers_left_out() -> None:
    position = Position(0, {Frequency.SECOND: 4})
    assert COUNTING.absent(position, counted([8], [])) == {Frequency.SECOND: 3}
    assert COUNTING.absent(position, counted([1], [])) == {}


def test_a_mark_behind_records_knows_the_last_sequence_of_each_frequency() -> None:
    position = Position(0, {Frequency.HOUR: 3}).behind(counted([5, 6], [9, 10]))
    assert position.sequences == {Frequency.SECOND: 6, Frequency.MINUTE: 10, Frequency.HOUR: 3}

from __future__ import annotations

import numpy as np
import pytest

from chronostream.backfill import expected
from chronostream.calendar.calendar import Calendar
from chronostream.calendar.order import key_before, order_key, order_keys, upto_ns
from chronostream.event import FREQUENCIES, Frequency, to_events

S = 1_000_000_000
START_NS = 1_711_846_700 * S  # 2024-03-31T00:58:20Z: Berlin loses an hour 100 seconds later
EVENTS = expected(FREQUENCIES, START_NS, START_NS + 300 * S, "Europe/Berlin")
BERLIN = Calendar.for_zone("Europe/Berlin")


def test_the_order_of_events_is_by_boundary_and_then_the_shortest_first() -> None:
    keys = order_keys(EVENTS)
    assert keys.tolist() == sorted(keys.tolist())
    assert keys.tolist() == [order_key(event) for event in to_events(EVENTS)]


def test_a_key_before_a_time_has_exactly_the_events_from_that_time_on_behind_it() -> None:
    for time_ns in (START_NS + 100 * S - 1, START_NS + 100 * S, START_NS + 100 * S + 1):
        behind = EVENTS[order_keys(EVENTS) > key_before(time_ns)]
        assert behind["timestamp"].tolist() == [at for at in EVENTS["timestamp"].tolist() if at >= time_ns]


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_the_boundaries_up_to_a_key_are_those_that_come_no_later(frequency: Frequency) -> None:
    own = EVENTS[EVENTS["frequency"] == frequency]
    for key in order_keys(EVENTS).tolist():
        assert (own["timestamp"] <= upto_ns(key, frequency)).tolist() == (order_keys(own) <= key).tolist()


def test_what_comes_between_two_events_is_counted_by_frequency() -> None:
    keys = order_keys(EVENTS)
    for first, last in [(0, 1), (0, len(EVENTS) - 1), (50, 105), (100, 101), (7, 7), (9, 3)]:
        between = EVENTS[first + 1 : last]
        counts = {each: int(np.sum(between["frequency"] == each)) for each in FREQUENCIES}
        found = BERLIN.count_between(FREQUENCIES, int(keys[first]), int(keys[last]))
        assert found == {each: count for each, count in counts.items() if count}


def test_the_next_key_is_that_of_the_event_behind() -> None:
    keys = order_keys(EVENTS).tolist()
    assert [BERLIN.next_key(FREQUENCIES, key) for key in keys[:-1]] == keys[1:]

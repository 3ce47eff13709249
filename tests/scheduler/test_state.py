from __future__ import annotations

import pytest

from chronostream.calendar.calendar import Calendar
from chronostream.errors import InvalidValueError
from chronostream.event import Frequency
from chronostream.scheduler import FrequencyState, SchedulerState

_NS = 1_000_000_000
_HOUR_NS = 3600 * _NS
_UTC = Calendar.for_zone("UTC")
_SECOND = FrequencyState(Frequency.SECOND, 100 * _NS, 7)
_HOUR = FrequencyState(Frequency.HOUR, 0, 0)
_STATE = SchedulerState(100 * _NS + 5, 42, (_SECOND, _HOUR))


def test_the_next_boundary_published_moves_the_floor_and_misses_nothing() -> None:
    state = _STATE.with_published(Frequency.SECOND, 101 * _NS, _UTC)
    assert state == SchedulerState(100 * _NS + 5, 42, (FrequencyState(Frequency.SECOND, 101 * _NS, 7), _HOUR))


def test_a_later_boundary_published_misses_what_lies_between() -> None:
    state = _STATE.with_published(Frequency.SECOND, 105 * _NS, _UTC)
    assert state.frequencies[0] == FrequencyState(Frequency.SECOND, 105 * _NS, 11)


def test_what_comes_before_it_is_missed_in_the_other_frequencies_too() -> None:
    minute = FrequencyState(Frequency.MINUTE, 60 * _NS, 0)
    state = SchedulerState(0, 0, (_SECOND, minute, _HOUR)).with_published(Frequency.MINUTE, 180 * _NS, _UTC)
    assert state.frequencies == (
        FrequencyState(Frequency.SECOND, 180 * _NS, 7 + 80),
        FrequencyState(Frequency.MINUTE, 180 * _NS, 1),
        _HOUR,
    )


def test_a_longer_frequency_that_falls_together_with_it_is_still_to_come() -> None:
    state = _STATE.with_published(Frequency.SECOND, _HOUR_NS, _UTC)
    assert state.frequencies[1] == _HOUR


@pytest.mark.parametrize("boundary_ns", [100 * _NS, 99 * _NS])
def test_a_boundary_at_or_below_the_floor_changes_nothing(boundary_ns: int) -> None:
    assert _STATE.with_published(Frequency.SECOND, boundary_ns, _UTC) == _STATE


def test_the_boundaries_between_are_those_of_the_zone() -> None:
    # Kolkata's hours begin at half past: 01:30 and 02:30 UTC lie between, and 00:30 too.
    state = _STATE.with_published(Frequency.HOUR, 3 * _HOUR_NS + _HOUR_NS // 2, Calendar.for_zone("Asia/Kolkata"))
    assert state.frequencies[1] == FrequencyState(Frequency.HOUR, 3 * _HOUR_NS + _HOUR_NS // 2, 3)


def test_a_frequency_that_the_state_does_not_know_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="no day in this state: it was made for other frequencies"):
        _STATE.with_published(Frequency.DAY, 0, _UTC)


def test_what_comes_before_an_event_that_was_published_is_open_no_more() -> None:
    state = _STATE.behind(_HOUR_NS + Frequency.MINUTE, _UTC)
    assert state.frequencies == (FrequencyState(Frequency.SECOND, _HOUR_NS, 7 + 3500), _HOUR)
    later = _STATE.behind(_HOUR_NS + Frequency.DAY, _UTC)
    assert later.frequencies[1] == FrequencyState(Frequency.HOUR, _HOUR_NS, 1)


def test_where_nothing_is_open_before_it_the_state_stays_the_same() -> None:
    assert _STATE.behind(100 * _NS + Frequency.SECOND, _UTC) == _STATE
    assert _STATE.behind(0, _UTC) == _STATE

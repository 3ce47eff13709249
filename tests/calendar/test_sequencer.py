from __future__ import annotations

import time
import zoneinfo
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronostream.boundaries import boundaries
from chronostream.calendar.sequencer import BoundarySequencer, CountingSequencer, Sequencer
from chronostream.errors import InvalidTypeError, InvalidValueError, UnknownFrequencyError
from chronostream.event import FREQUENCIES, Frequency

NS = 1_000_000_000
MAX_SEQUENCE = (1 << 64) - 1
ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})
# A range long enough to hold the zone's transitions, short enough to be quick.
RANGE_S = {Frequency.SECOND: 5_000, Frequency.MINUTE: 300_000, Frequency.HOUR: 40_000_000, Frequency.DAY: 400_000_000}


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NS


@pytest.fixture(params=[CountingSequencer, BoundarySequencer])
def sequencer(request: pytest.FixtureRequest) -> Sequencer:
    made: Sequencer = request.param()
    return made


def test_kinds_have_the_names_that_streams_store() -> None:
    assert (CountingSequencer().kind, BoundarySequencer().kind) == ("counting", "boundary")


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_peek_is_what_assign_will_give_and_uses_nothing_up(sequencer: Sequencer, frequency: Frequency) -> None:
    for boundary_ns in range(0, 3 * 86400 * NS, 86400 * NS):
        peeked = [sequencer.peek(frequency, boundary_ns) for _ in range(3)]
        assert peeked == [sequencer.assign(frequency, boundary_ns)] * 3


@pytest.mark.parametrize("method", ["peek", "assign"])
def test_unknown_frequency_is_refused(sequencer: Sequencer, method: str) -> None:
    with pytest.raises(UnknownFrequencyError):
        getattr(sequencer, method)(Frequency.UNKNOWN, 0)


def test_counting_starts_at_one_and_counts_every_event() -> None:
    sequencer = CountingSequencer()
    assert [sequencer.assign(Frequency.SECOND, 60 * NS) for _ in range(4)] == [1, 2, 3, 4]


def test_counting_keeps_the_frequencies_apart() -> None:
    sequencer = CountingSequencer()
    sequencer.assign(Frequency.SECOND, 0)
    assert [sequencer.assign(frequency, 0) for frequency in FREQUENCIES] == [2, 1, 1, 1]


def test_counting_goes_on_behind_what_was_restored() -> None:
    sequencer = CountingSequencer()
    sequencer.restore(Frequency.HOUR, 41)
    assert (sequencer.assign(Frequency.HOUR, 0), sequencer.assign(Frequency.DAY, 0)) == (42, 1)


@pytest.mark.parametrize("last", [-1, 4, MAX_SEQUENCE + 1])
def test_counting_refuses_to_go_back_or_out_of_uint64(last: int) -> None:
    sequencer = CountingSequencer()
    sequencer.restore(Frequency.SECOND, 5)
    with pytest.raises(InvalidValueError, match="cannot continue the second sequence"):
        sequencer.restore(Frequency.SECOND, last)
    assert sequencer.peek(Frequency.SECOND, 0) == 6


def test_counting_restore_refuses_an_unknown_frequency() -> None:
    with pytest.raises(UnknownFrequencyError):
        CountingSequencer().restore(Frequency.UNKNOWN, 1)


def test_counting_restore_refuses_what_is_no_integer() -> None:
    with pytest.raises(InvalidTypeError, match="last_sequence is float, expected an integer"):
        CountingSequencer().restore(Frequency.SECOND, 1.5)  # type: ignore[arg-type]  # on purpose


def test_counting_gives_the_last_uint64_and_no_more() -> None:
    sequencer = CountingSequencer()
    sequencer.restore(Frequency.SECOND, MAX_SEQUENCE - 1)
    assert sequencer.assign(Frequency.SECOND, 0) == MAX_SEQUENCE
    sequencer.restore(Frequency.SECOND, MAX_SEQUENCE)
    for method in (sequencer.peek, sequencer.assign):
        with pytest.raises(InvalidValueError, match="start a new stream"):
            method(Frequency.SECOND, 0)


def test_counting_from_many_threads_gives_each_number_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sequencer = CountingSequencer()
    find_next = sequencer._next

    def dawdle(frequency: Frequency) -> int:
        number = find_next(frequency)
        time.sleep(0)  # Whoever comes now must not find the same.
        return number

    monkeypatch.setattr(sequencer, "_next", dawdle)
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda _: sequencer.assign(Frequency.SECOND, 0), range(100))
    assert sorted(found) == list(range(1, 101))


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [
        (Frequency.SECOND, 1_719_795_600),
        (Frequency.MINUTE, 28_663_260),
        (Frequency.HOUR, 28_663_260),
        (Frequency.DAY, date(2024, 7, 1).toordinal()),
    ],
)
def test_boundary_sequence_is_computed_from_the_boundary_alone(frequency: Frequency, expected: int) -> None:
    assert BoundarySequencer("Pacific/Apia").assign(frequency, ns("2024-07-01T01:00:00")) == expected


def test_boundary_day_is_the_local_date_not_that_of_utc() -> None:
    boundary_ns = ns("2024-06-30T15:00:00")
    assert BoundarySequencer("Asia/Tokyo").assign(Frequency.DAY, boundary_ns) == date(2024, 7, 1).toordinal()
    assert BoundarySequencer("UTC").assign(Frequency.DAY, boundary_ns) == date(2024, 6, 30).toordinal()


def test_boundary_sequence_shows_a_date_that_never_happened_as_a_gap() -> None:
    days_ns = boundaries("day", ns("2011-12-28"), ns("2012-01-02"), "Pacific/Apia")
    assert np.diff(BoundarySequencer("Pacific/Apia").sequences("day", days_ns)).tolist() == [1, 2, 1, 1]


def test_boundary_sequence_ignores_what_is_restored() -> None:
    sequencer = BoundarySequencer()
    sequencer.restore(Frequency.SECOND, MAX_SEQUENCE)
    assert sequencer.assign(Frequency.SECOND, NS) == 1


def test_boundary_sequencer_names_its_zone() -> None:
    assert BoundarySequencer("Asia/Tokyo").timezone == "Asia/Tokyo"


def test_boundary_sequencer_refuses_an_unknown_zone() -> None:
    with pytest.raises(InvalidValueError, match="unknown time zone"):
        BoundarySequencer("Nowhere")


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_boundary_sequences_begin_in_1970(frequency: Frequency) -> None:
    sequencer = BoundarySequencer()
    with pytest.raises(InvalidValueError, match="before 1970"):
        sequencer.assign(frequency, -1)
    with pytest.raises(InvalidValueError, match="boundary -1 ns lies before 1970"):
        sequencer.sequences(frequency, np.array([5, -1]))
    assert sequencer.sequences(frequency, np.array([0])).tolist() == [sequencer.assign(frequency, 0)]


@given(
    frequency=st.sampled_from(FREQUENCIES),
    tz=st.sampled_from(ZONES),
    start_ns=st.integers(ns("1972-02-01"), ns("2030-01-01")),
)
@settings(max_examples=60)
def test_boundary_sequence_increases_strictly_in_every_zone(frequency: Frequency, tz: str, start_ns: int) -> None:
    found_ns = boundaries(frequency, start_ns, start_ns + RANGE_S[frequency] * NS, tz)
    numbers = BoundarySequencer(tz).sequences(frequency, found_ns)
    assert (numbers[1:] > numbers[:-1]).all()


@given(
    frequency=st.sampled_from(FREQUENCIES),
    tz=st.sampled_from(ZONES),
    timestamps_ns=st.lists(st.integers(0, (1 << 63) - 1), max_size=8),
)
@settings(max_examples=60)
def test_boundary_sequences_of_an_array_are_those_of_its_members(
    frequency: Frequency, tz: str, timestamps_ns: list[int]
) -> None:
    sequencer = BoundarySequencer(tz)
    numbers = sequencer.sequences(frequency, np.array(timestamps_ns, np.int64))
    assert numbers.dtype == np.uint64
    assert numbers.tolist() == [sequencer.assign(frequency, timestamp_ns) for timestamp_ns in timestamps_ns]


def test_sequences_refuse_an_unknown_frequency() -> None:
    with pytest.raises(UnknownFrequencyError):
        BoundarySequencer().sequences("week", np.array([0]))


@pytest.mark.parametrize("timestamps_ns", [[0], np.zeros(1), np.zeros(1, np.uint64)])
def test_sequences_refuse_what_is_no_int64_array(timestamps_ns: npt.NDArray[np.int64]) -> None:
    with pytest.raises(InvalidTypeError, match="expected an int64 array"):
        BoundarySequencer().sequences("second", timestamps_ns)


@pytest.mark.parametrize(("boundary_ns", "error"), [(1 << 63, InvalidValueError), (1.5, InvalidTypeError)])
def test_a_boundary_sequence_is_of_an_instant_within_int64(boundary_ns: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="boundary_ns is"):
        BoundarySequencer().peek(Frequency.DAY, boundary_ns)

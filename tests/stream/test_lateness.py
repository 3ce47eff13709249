from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronostream.stream.lateness import BUCKETS, bucket_of, bucket_top_ns, events_below, percentile_ns

_LAST_NS = 1 << 42


def _counts(*lateness_ns: int) -> npt.NDArray[np.uint64]:
    counts = np.zeros(BUCKETS, np.uint64)
    for ns in lateness_ns:
        counts[bucket_of(ns)] += 1
    return counts


def test_below_16_ns_each_nanosecond_has_its_own_bucket() -> None:
    assert [bucket_of(ns) for ns in range(16)] == list(range(16))
    assert [bucket_top_ns(bucket) for bucket in range(16)] == list(range(16))


def test_each_bucket_begins_where_the_one_before_ends() -> None:
    for bucket in range(1, BUCKETS):
        first_ns = bucket_top_ns(bucket - 1) + 1
        assert (bucket_of(first_ns - 1), bucket_of(first_ns)) == (bucket - 1, bucket)


@given(st.integers(0, _LAST_NS - 1))
def test_the_top_of_a_bucket_is_at_most_a_sixteenth_above_what_falls_into_it(lateness_ns: int) -> None:
    top_ns = bucket_top_ns(bucket_of(lateness_ns))
    assert lateness_ns <= top_ns <= lateness_ns + lateness_ns // 16


@given(st.integers(_LAST_NS, 1 << 64))
def test_the_last_bucket_holds_everything_from_73_minutes_on(lateness_ns: int) -> None:
    assert bucket_of(lateness_ns) == BUCKETS - 1
    assert bucket_top_ns(BUCKETS - 1) == _LAST_NS
    assert bucket_of(_LAST_NS - 1) == BUCKETS - 2


def test_what_was_visible_before_its_boundary_counts_as_punctual() -> None:
    assert bucket_of(-1) == bucket_of(-(1 << 63)) == 0


def test_of_no_events_there_is_no_percentile() -> None:
    assert percentile_ns(_counts(), 50) is None


@pytest.mark.parametrize("percent", [0, 50, 99.9, 100])
def test_of_one_event_every_percentile_is_its_lateness(percent: float) -> None:
    assert percentile_ns(_counts(7), percent) == 7


@pytest.mark.parametrize(
    ("percent", "expected_ns"), [(0, 0), (10, 0), (10.1, 1), (50, 4), (90, 8), (90.1, 9), (99.9, 9), (100, 9)]
)
def test_a_percentile_is_what_so_many_of_the_events_did_not_exceed(percent: float, expected_ns: int) -> None:
    assert percentile_ns(_counts(*range(10)), percent) == expected_ns


@given(st.lists(st.integers(0, _LAST_NS - 1), min_size=1, max_size=50), st.integers(1, 100))
def test_a_percentile_is_that_of_the_sorted_events_to_the_width_of_a_bucket(
    lateness_ns: list[int], percent: int
) -> None:
    exact_ns = sorted(lateness_ns)[-(-len(lateness_ns) * percent // 100) - 1]
    assert percentile_ns(_counts(*lateness_ns), percent) == bucket_top_ns(bucket_of(exact_ns))


def test_billions_of_events_have_exact_percentiles() -> None:
    counts = np.zeros(BUCKETS, np.uint64)
    counts[3], counts[5] = 999_000_000_000, 1_000_000_000
    assert (percentile_ns(counts, 99.9), percentile_ns(counts, 99.91)) == (3, 5)


@given(st.lists(st.integers(0, 1 << 45), max_size=50), st.integers(0, 42))
def test_below_a_power_of_two_the_events_are_counted_exactly(lateness_ns: list[int], power: int) -> None:
    assert events_below(_counts(*lateness_ns), power) == sum(late < 1 << power for late in lateness_ns)

from __future__ import annotations

import json

import numpy as np
import pytest

from bench.records import Checks
from bench.results import Sample, Spread, case_text, histogram_of, summarise


def test_a_spread_is_the_median_and_the_ends() -> None:
    assert Spread.from_values([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)


def test_rounds_come_together() -> None:
    samples = [
        Sample({"a": value}, latencies_ns=np.array([value, value]), checks=Checks(5, 5, None, 0, 0))
        for value in (10, 30, 20)
    ]
    summary = summarise("scenario", "peer", {"readers": 2}, samples)
    assert summary.spreads == {"a": Spread(20, 10, 30)}
    assert summary.rounds == {"a": [10, 30, 20]}
    assert summary.checks == Checks(15, 15, None, 0, 0)
    assert summary.histogram is not None
    assert summary.histogram.get_total_count() == 6
    assert json.loads(json.dumps(summary.as_dict()))["values"]["a"]["median"] == 20


def test_a_failed_round_is_spoken_of_and_not_counted() -> None:
    summary = summarise("scenario", "peer", {}, [Sample({"a": 1.0}), Sample(failure="died")])
    assert (summary.spreads["a"].median, summary.failure) == (1.0, "1 of 2 rounds: died")


def test_nothing_but_failures_leave_the_first_reason() -> None:
    summary = summarise("scenario", "peer", {}, [Sample(failure="cannot: no"), Sample(failure="died")])
    assert (summary.spreads, summary.failure) == ({}, "cannot: no")


def test_a_histogram_keeps_three_digits() -> None:
    histogram = histogram_of(np.arange(1, 100_001))
    assert histogram.get_value_at_percentile(50) == pytest.approx(50_000, rel=0.001)
    assert histogram.get_value_at_percentile(99) == pytest.approx(99_000, rel=0.001)


def test_latencies_out_of_range_are_kept_at_its_ends() -> None:
    assert histogram_of(np.array([-5, 10**18])).get_total_count() == 2


@pytest.mark.parametrize(
    ("case", "text"),
    [({}, ""), ({"consumers": 1}, "1 consumer"), ({"consumers": 8, "bytes": 1024}, "8 consumers, 1,024 bytes")],
)
def test_a_case_reads_as_words(case: dict[str, int], text: str) -> None:
    assert case_text(case) == text

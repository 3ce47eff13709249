"""Results: a sample for each turn, and a summary for each contender and case."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from hdrh.histogram import HdrHistogram

from bench.records import Checks

__all__ = ["Case", "Sample", "Spread", "Summary", "case_text", "histogram_of", "summarise"]

Case = dict[str, int]
"""The variables of a scenario, such as the number of consumers."""

_LOWEST_NS, _HIGHEST_NS, _DIGITS = 1, 60_000_000_000, 3


@dataclass(slots=True)
class Sample:
    """One turn of one contender in one case of a scenario.

    Attributes:
        values: by the key of the metric.
        latencies_ns: of each message, in the order of sending.
        checks: of the records.
        texts: further results as text.
        failure: why there are no other results.
    """

    values: dict[str, float] = field(default_factory=dict)
    latencies_ns: npt.NDArray[np.int64] | None = None
    checks: Checks | None = None
    texts: dict[str, str] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """A metric over all rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def from_values(cls, values: Iterable[float]) -> Spread:
        """Return the median, the minimum and the maximum."""
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[0], ordered[-1])


@dataclass(slots=True)
class Summary:
    """All rounds of one contender in one case of a scenario."""

    scenario: str
    contender: str
    case: Case
    spreads: dict[str, Spread] = field(default_factory=dict)
    rounds: dict[str, list[float]] = field(default_factory=dict)
    histogram: HdrHistogram | None = None
    turns_ns: list[npt.NDArray[np.int64]] = field(default_factory=list)
    checks: Checks | None = None
    texts: dict[str, str] = field(default_factory=dict)
    failure: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as values for JSON; the histogram in HdrHistogram's own encoding."""
        plain: dict[str, Any] = {"scenario": self.scenario, "contender": self.contender, "case": self.case}
        if self.failure is not None:
            plain["failure"] = self.failure
        plain["values"] = {
            key: {"median": spread.median, "low": spread.low, "high": spread.high, "rounds": self.rounds[key]}
            for key, spread in self.spreads.items()
        }
        if self.histogram is not None:
            plain["histogram"] = self.histogram.encode().decode("ascii")
        if self.checks is not None:
            fields = ("sent", "received", "reported", "torn", "repeated", "missing", "unreported", "verdict")
            former = {"reported": "told", "unreported": "untold"}  # The names in the file stay.
            plain["checks"] = {former.get(name, name): getattr(self.checks, name) for name in fields}
        if self.texts:
            plain["texts"] = self.texts
        return plain


def summarise(scenario: str, contender: str, case: Case, samples: list[Sample]) -> Summary:
    """Combine the rounds. Failed rounds are mentioned, but add no values."""
    good = [sample for sample in samples if sample.failure is None]
    failures = [sample.failure for sample in samples if sample.failure is not None]
    summary = Summary(scenario, contender, case)
    if failures:
        summary.failure = failures[0] if not good else f"{len(failures)} of {len(samples)} rounds: {failures[0]}"
    for key in good[0].values if good else ():
        summary.rounds[key] = [sample.values[key] for sample in good]
        summary.spreads[key] = Spread.from_values(summary.rounds[key])
    summary.turns_ns = [sample.latencies_ns for sample in good if sample.latencies_ns is not None]
    if summary.turns_ns:
        summary.histogram = histogram_of(np.concatenate(summary.turns_ns))
    for sample in good:
        if sample.checks is not None:
            summary.checks = sample.checks if summary.checks is None else summary.checks + sample.checks
        summary.texts |= sample.texts
    return summary


def histogram_of(latencies_ns: npt.NDArray[np.int64]) -> HdrHistogram:
    """Return a histogram from 1 ns to a minute with three significant digits."""
    histogram = HdrHistogram(_LOWEST_NS, _HIGHEST_NS, _DIGITS)
    values, counts = np.unique(latencies_ns.clip(_LOWEST_NS, _HIGHEST_NS), return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        histogram.record_value(value, count)
    return histogram


def case_text(case: Case) -> str:
    """Return a case as text, such as ``"8 consumers"``; empty if the scenario has only one case."""
    return ", ".join(f"{count:,} {key.removesuffix('s') if count == 1 else key}" for key, count in case.items())

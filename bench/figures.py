"""The figures that the project must meet, its goals among the peers, and whether a run met them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.host import l2_bytes
from bench.peers import OWN
from bench.results import Case, Summary, case_text
from bench.runner import LIMIT, Run
from bench.scenario import Metric, Scenario, Unit
from bench.scenarios.cost import BATCH
from bench.text import value_text

__all__ = ["Verdict", "figures", "goals"]

_NATIVE, _PORTABLE = OWN
_OURS = (*OWN, "chronostream")
_BEST = "the best peer"
_NOT_MEASURED = "not measured"
_FLAT_RATIO = 1.1
_MIN_SAMPLES = 3  # the fewest ticks or turns that allow a verdict


@dataclass(frozen=True, slots=True)
class Verdict:
    """A figure or goal, its target and result as text, and whether it was met; None if that is unknown."""

    what: str
    target: str
    measured: str
    met: bool | None


@dataclass(frozen=True, slots=True)
class _Value:
    """The location of a value: the metric of a contender, or of the best peer, in a case of a scenario."""

    scenario: str
    contender: str
    key: str
    case: Case = field(default_factory=dict)

    def find(self, run: Run) -> float | None:
        if self.contender != _BEST:
            summary = run.find(self.scenario, self.contender, self.case)
            return None if summary is None or self.key not in summary.spreads else _median(summary, self.key)
        peers = [_median(summary, self.key) for summary in _peers(run, self.scenario, self.case)]
        return min(peers, default=None)


@dataclass(frozen=True, slots=True)
class _Figure:
    """A value that must not exceed `limit`, or `limit` times another value, whose location differs by `other`."""

    what: str
    value: _Value
    limit: float
    unit: Unit = "ns"
    other: dict[str, Any] | None = None
    other_name: str = ""

    def judge(self, run: Run) -> Verdict:
        value = self.value.find(run)
        if self.other is None:
            target = f"at most {value_text(self.limit, self.unit)}"
            if value is None:
                return Verdict(self.what, target, _NOT_MEASURED, None)
            return Verdict(self.what, target, value_text(value, self.unit), value <= self.limit)
        location = replace(self.value, **self.other)
        target = f"at most {self.limit:g} × {self.other_name or location.contender.removeprefix(LIMIT)}"
        reference = location.find(run)
        if value is None or not reference:
            return Verdict(self.what, target, _NOT_MEASURED, None)
        text = f"{value_text(value, self.unit)} / {value_text(reference, self.unit)} = {value / reference:.2f}"
        return Verdict(self.what, target, text, value <= self.limit * reference)


_FIGURES = (
    _Figure("a single publish", _Value("publish-one", _NATIVE, "send_ns"), 40),
    _Figure("the same", _Value("publish-one", _NATIVE, "send_ns"), 0.25, other={"contender": _PORTABLE}),
    _Figure(
        f"publishing {BATCH:,} at once, per record",
        _Value("publish-batch", _NATIVE, "send_ns"),
        1.3,
        other={"contender": LIMIT + "memcpy"},
    ),
    _Figure(
        f"reading {BATCH:,} at once, per record",
        _Value("read-batch", _NATIVE, "receive_ns"),
        1.3,
        other={"contender": LIMIT + "memcpy"},
    ),
    _Figure("`read` of one record into a fresh array", _Value("calls", _NATIVE, "read_ns"), 400),
    _Figure("latency to a consumer that spins, median", _Value("latency-spin", _NATIVE, "p50"), 700),
    _Figure(
        "latency to a consumer that sleeps, median",
        _Value("latency-block", _NATIVE, "p50"),
        1.2,
        other={"contender": LIMIT + "a bare futex"},
    ),
    _Figure(
        "producer's CPU per record with 8 consumers",
        _Value("one-to-many", _NATIVE, "send_cpu_ns", {"consumers": 8}),
        1.1,
        other={"case": {"consumers": 1}},
        other_name="that with 1",
    ),
    _Figure("CPU of a consumer asleep on a 1 Hz stream", _Value("idle", _NATIVE, "cpu_share"), 0.001, "share"),
    _Figure(
        "CPU of 500 asyncio handles that wait for one ring",
        _Value("handles", "chronostream", "asyncio_cpu", {"rings": 1}),
        0.01,
        "share",
    ),
    _Figure(
        "closing them one after the other",
        _Value("handles", "chronostream", "asyncio_close_ns", {"rings": 1}),
        500_000_000,
    ),
    _Figure(
        "import chronostream",
        _Value("imports", "chronostream", "chronostream_ns"),
        1.3,
        other={"key": "numpy_ns"},
        other_name="import numpy",
    ),
    _Figure("boundary to visible at 1 Hz, median", _Value("tick", "chronostream", "p50"), 5_000),
    _Figure("the same", _Value("tick", "chronostream", "p50"), 0.1, other={"contender": _BEST}),
    _Figure("the same, p99", _Value("tick", "chronostream", "p99"), 100_000),
    _Figure("the same, p99", _Value("tick", "chronostream", "p99"), 1, other={"contender": LIMIT + "a bare timerfd"}),
    _Figure("CPU of a producer of all four frequencies", _Value("tick", "chronostream", "cpu_share"), 0.002, "share"),
    _Figure("`build_events`, per event", _Value("backfill", "chronostream", "build_ns"), 30),
    _Figure("`next_boundary`", _Value("calendar", "chronostream", "next_ns"), 5_000),
    _Figure("a century of days", _Value("calendar", "chronostream", "century_ns"), 20_000_000),
)


def figures(run: Run) -> list[Verdict]:
    """Return the verdicts on the figures of the measured scenarios."""
    measured = {summary.scenario for summary in run.summaries}
    verdicts = [figure.judge(run) for figure in _FIGURES if figure.value.scenario in measured]
    return [*verdicts, *([_drift(run)] if "tick" in measured else [])]


def goals(run: Run, scenarios: Sequence[Scenario]) -> list[Verdict]:
    """Return the verdicts on ChronoStream against the peers, scenario by scenario."""
    measured = {summary.scenario: None for summary in run.summaries}
    verdicts = [
        verdict
        for scenario in scenarios
        if scenario.name in measured and scenario.contenders in ("peers", "tickers")
        for verdict in _ahead(run, scenario)
    ]
    if "latency-spin" in measured:
        half = _Figure("spin latency", _Value("latency-spin", _NATIVE, "p50"), 0.5, other={"contender": _BEST})
        verdicts.append(half.judge(run))
    if "one-to-many" in measured:
        verdicts.append(
            _flat(run, "one-to-many", "send_cpu_ns", "consumers", "producer's CPU with any number of consumers")
        )
    if "scale" in measured:
        verdicts.append(_flat(run, "scale", "send_ns", "records", "cost with any ring that fits the L2 cache"))
    return verdicts


def _ahead(run: Run, scenario: Scenario) -> list[Verdict]:
    """Return whether ChronoStream is ahead of every peer in each case."""
    metric = scenario.metrics[0]
    cases = {str(summary.case): summary.case for summary in run.summaries if summary.scenario == scenario.name}
    if metric.less_is_better is None:
        return [_learns(run, scenario.name)] if scenario.name == "overrun" else []
    return [_ahead_in(run, scenario, metric, case) for case in cases.values()]


def _ahead_in(run: Run, scenario: Scenario, metric: Metric, case: Case) -> Verdict:
    what = f"{scenario.name} {case_text(case)}".strip()
    target = "ahead of every peer"
    ours = next((found for name in _OURS if (found := run.find(scenario.name, name, case))), None)
    peers = _peers(run, scenario.name, case)
    if metric.key == "send_ns":
        # The cost of their send is no measure: a thread does the work later.
        peers = [summary for summary in peers if summary.contender not in run.threaded]
    if ours is None or not peers:
        return Verdict(what, target, _NOT_MEASURED, None)
    best = (min if metric.less_is_better else max)(peers, key=lambda summary: _median(summary, metric.key))
    mine, theirs = _median(ours, metric.key), _median(best, metric.key)
    ratio = theirs / mine if metric.less_is_better else mine / theirs
    wrong = "" if best.checks is None or best.checks.right else ", whose records were wrong"
    measured = (
        f"{ours.contender} {value_text(mine, metric.unit)}, {ratio:.2g} × as good as {best.contender} "
        f"{value_text(theirs, metric.unit)}{wrong}"
    )
    return Verdict(what, target, measured, ratio > 1)


def _learns(run: Run, scenario: str) -> Verdict:
    target = "learns exactly what it lost"
    ours = next((found for name in _OURS if (found := run.find(scenario, name))), None)
    if ours is None or ours.checks is None:
        return Verdict(scenario, target, _NOT_MEASURED, None)
    return Verdict(scenario, target, f"{ours.contender}: {ours.checks.verdict}", ours.checks.right)


def _flat(run: Run, scenario: str, key: str, varied: str, what: str) -> Verdict:
    """Return whether a value stays within a tenth of its minimum over all cases of one kind."""
    values = [
        (summary.case[varied], _median(summary, key))
        for summary in run.summaries
        if summary.scenario == scenario and summary.contender == _NATIVE and varied in summary.case and summary.spreads
    ]
    if varied == "records":
        values = [(count, value) for count, value in values if count * 64 <= l2_bytes() / 2]
    target = f"within {_FLAT_RATIO:g} × of its minimum"
    if len(values) <= 1:
        return Verdict(what, target, _NOT_MEASURED, None)
    costs = [value for _, value in values]
    texts = ", ".join(f"{count:,}: {value_text(value, 'ns')}" for count, value in values)
    return Verdict(what, target, texts, max(costs) <= _FLAT_RATIO * min(costs))


def _drift(run: Run) -> Verdict:
    """Return whether lateness grows with the running time of the producer, by the slopes of the turns."""
    what, target = "drift of the lateness over a turn", "none: slopes of both signs"
    summary = run.find("tick", "chronostream")
    slopes = [_slope(turn) for turn in summary.turns_ns if len(turn) >= _MIN_SAMPLES] if summary else []
    if len(slopes) < _MIN_SAMPLES:
        return Verdict(what, target, f"{_NOT_MEASURED}: at least {_MIN_SAMPLES} turns needed", None)
    text = f"{statistics.median(slopes):+.0f} ns a second [{min(slopes):+.0f} – {max(slopes):+.0f}]"
    return Verdict(what, target, text, min(slopes) <= 0 <= max(slopes))


def _slope(late_ns: npt.NDArray[Any]) -> float:
    """Return the growth of lateness in ns per second: the median over all pairs, robust against single outliers."""
    return float(np.median([(late_ns[b] - late_ns[a]) / (b - a) for a, b in combinations(range(len(late_ns)), 2)]))


def _peers(run: Run, scenario: str, case: Case) -> list[Summary]:
    return [
        summary
        for summary in run.summaries
        if summary.scenario == scenario
        and summary.case == case
        and summary.spreads
        and summary.contender not in _OURS
        and not summary.contender.startswith(LIMIT)
    ]


def _median(summary: Summary, key: str) -> float:
    return summary.spreads[key].median

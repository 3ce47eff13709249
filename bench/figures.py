"""The figures that the project holds itself to, its goals among the peers, and whether this run met them."""

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
_FLAT = 1.1
_FEW = 3  # ticks or turns, from which on something can be said


@dataclass(frozen=True, slots=True)
class Verdict:
    """One figure or goal in words, and whether it was met; None if that could not be told."""

    what: str
    wanted: str
    measured: str
    met: bool | None


@dataclass(frozen=True, slots=True)
class _Value:
    """Where a value is found: the metric of a contender, or of the best of the peers, in a case of a scenario."""

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
    """A value that must be at most `most`, or at most `most` times another of the same run, which differs by `of`."""

    what: str
    value: _Value
    most: float
    unit: Unit = "ns"
    of: dict[str, Any] | None = None
    than: str = ""

    def judge(self, run: Run) -> Verdict:
        value = self.value.find(run)
        if self.of is None:
            wanted = f"at most {value_text(self.most, self.unit)}"
            if value is None:
                return Verdict(self.what, wanted, _NOT_MEASURED, None)
            return Verdict(self.what, wanted, value_text(value, self.unit), value <= self.most)
        beside = replace(self.value, **self.of)
        wanted = f"at most {self.most:g} × {self.than or beside.contender.removeprefix(LIMIT)}"
        other = beside.find(run)
        if value is None or not other:
            return Verdict(self.what, wanted, _NOT_MEASURED, None)
        text = f"{value_text(value, self.unit)} / {value_text(other, self.unit)} = {value / other:.2f}"
        return Verdict(self.what, wanted, text, value <= self.most * other)


_FIGURES = (
    _Figure("a single publish", _Value("publish-one", _NATIVE, "send_ns"), 40),
    _Figure("the same", _Value("publish-one", _NATIVE, "send_ns"), 0.25, of={"contender": _PORTABLE}),
    _Figure(
        f"publishing {BATCH:,} at once, a record",
        _Value("publish-batch", _NATIVE, "send_ns"),
        1.3,
        of={"contender": LIMIT + "memcpy"},
    ),
    _Figure(
        f"reading {BATCH:,} at once, a record",
        _Value("read-batch", _NATIVE, "receive_ns"),
        1.3,
        of={"contender": LIMIT + "memcpy"},
    ),
    _Figure("`read` of one record into a fresh array", _Value("calls", _NATIVE, "read_ns"), 400),
    _Figure("latency to a consumer that spins, median", _Value("latency-spin", _NATIVE, "p50"), 700),
    _Figure(
        "latency to a consumer that sleeps, median",
        _Value("latency-block", _NATIVE, "p50"),
        1.2,
        of={"contender": LIMIT + "a bare futex"},
    ),
    _Figure(
        "producer's CPU a record with 8 consumers",
        _Value("one-to-many", _NATIVE, "send_cpu_ns", {"consumers": 8}),
        1.1,
        of={"case": {"consumers": 1}},
        than="that with 1",
    ),
    _Figure("CPU of a consumer asleep on a 1 Hz stream", _Value("idle", _NATIVE, "cpu_share"), 0.001, "share"),
    _Figure(
        "import chronostream",
        _Value("imports", "chronostream", "chronostream_ns"),
        1.3,
        of={"key": "numpy_ns"},
        than="import numpy",
    ),
    _Figure("boundary to visible at 1 Hz, median", _Value("tick", "chronostream", "p50"), 5_000),
    _Figure("the same", _Value("tick", "chronostream", "p50"), 0.1, of={"contender": _BEST}),
    _Figure("the same, p99", _Value("tick", "chronostream", "p99"), 100_000),
    _Figure("the same, p99", _Value("tick", "chronostream", "p99"), 1, of={"contender": LIMIT + "a bare timerfd"}),
    _Figure("CPU of a producer of all four frequencies", _Value("tick", "chronostream", "cpu_share"), 0.002, "share"),
    _Figure("`build_events`, an event", _Value("backfill", "chronostream", "build_ns"), 30),
    _Figure("`next_boundary`", _Value("calendar", "chronostream", "next_ns"), 5_000),
    _Figure("a century of days", _Value("calendar", "chronostream", "century_ns"), 20_000_000),
)


def figures(run: Run) -> list[Verdict]:
    """Return the figures of what was measured."""
    measured = {summary.scenario for summary in run.summaries}
    verdicts = [figure.judge(run) for figure in _FIGURES if figure.value.scenario in measured]
    return [*verdicts, *([_drift(run)] if "tick" in measured else [])]


def goals(run: Run, scenarios: Sequence[Scenario]) -> list[Verdict]:
    """Return how our best core stands to the peers, scenario by scenario."""
    measured = {summary.scenario: None for summary in run.summaries}
    verdicts = [
        verdict
        for scenario in scenarios
        if scenario.name in measured and scenario.contenders in ("peers", "tickers")
        for verdict in _ahead(run, scenario)
    ]
    if "latency-spin" in measured:
        half = _Figure("spin latency", _Value("latency-spin", _NATIVE, "p50"), 0.5, of={"contender": _BEST})
        verdicts.append(half.judge(run))
    if "one-to-many" in measured:
        verdicts.append(_flat(run, "one-to-many", "send_cpu_ns", "consumers", "producer's CPU, whatever the consumers"))
    if "scale" in measured:
        verdicts.append(
            _flat(run, "scale", "send_ns", "records", "cost, whatever the ring, while it fits the L2 cache")
        )
    return verdicts


def _ahead(run: Run, scenario: Scenario) -> list[Verdict]:
    """Return whether we are ahead of every peer in each case."""
    metric = scenario.metrics[0]
    cases = {str(summary.case): summary.case for summary in run.summaries if summary.scenario == scenario.name}
    if metric.less_is_better is None:
        return [_learns(run, scenario.name)] if scenario.name == "overrun" else []
    return [_ahead_in(run, scenario, metric, case) for case in cases.values()]


def _ahead_in(run: Run, scenario: Scenario, metric: Metric, case: Case) -> Verdict:
    what = f"{scenario.name} {case_text(case)}".strip()
    wanted = "ahead of every peer"
    ours = next((found for name in _OURS if (found := run.find(scenario.name, name, case))), None)
    peers = _peers(run, scenario.name, case)
    if metric.key == "send_ns":
        # What their send costs its caller says nothing: the work is done by a thread, later.
        peers = [summary for summary in peers if summary.contender not in run.threaded]
    if ours is None or not peers:
        return Verdict(what, wanted, _NOT_MEASURED, None)
    best = (min if metric.less_is_better else max)(peers, key=lambda summary: _median(summary, metric.key))
    mine, theirs = _median(ours, metric.key), _median(best, metric.key)
    ahead = theirs / mine if metric.less_is_better else mine / theirs
    wrong = "" if best.checks is None or best.checks.right else ", whose records came wrong"
    measured = (
        f"{ours.contender} {value_text(mine, metric.unit)}, {ahead:.2g} × as good as {best.contender} "
        f"{value_text(theirs, metric.unit)}{wrong}"
    )
    return Verdict(what, wanted, measured, ahead > 1)


def _learns(run: Run, scenario: str) -> Verdict:
    ours = next((found for name in _OURS if (found := run.find(scenario, name))), None)
    if ours is None or ours.checks is None:
        return Verdict(scenario, "learns exactly what it lost", _NOT_MEASURED, None)
    return Verdict(
        scenario, "learns exactly what it lost", f"{ours.contender}: {ours.checks.verdict}", ours.checks.right
    )


def _flat(run: Run, scenario: str, key: str, varied: str, what: str) -> Verdict:
    """Return whether a value stays within a tenth of its least over all cases of one kind."""
    found = [
        (summary.case[varied], _median(summary, key))
        for summary in run.summaries
        if summary.scenario == scenario and summary.contender == _NATIVE and varied in summary.case and summary.spreads
    ]
    if varied == "records":
        found = [(count, value) for count, value in found if count * 64 <= l2_bytes() / 2]
    wanted = f"within {_FLAT:g} × of its least"
    if len(found) <= 1:
        return Verdict(what, wanted, _NOT_MEASURED, None)
    values = [value for _, value in found]
    texts = ", ".join(f"{count:,}: {value_text(value, 'ns')}" for count, value in found)
    return Verdict(what, wanted, texts, max(values) <= _FLAT * min(values))


def _drift(run: Run) -> Verdict:
    """Return whether lateness depends on how long the producer has run, from the slope of each turn."""
    what, wanted = "drift of the lateness over a turn", "none: as often up as down"
    summary = run.find("tick", "chronostream")
    slopes = [_slope(turn) for turn in summary.turns_ns if len(turn) >= _FEW] if summary else []
    if len(slopes) < _FEW:
        return Verdict(what, wanted, f"{_NOT_MEASURED}: it takes {_FEW} turns", None)
    text = f"{statistics.median(slopes):+.0f} ns a second [{min(slopes):+.0f} – {max(slopes):+.0f}]"
    return Verdict(what, wanted, text, min(slopes) <= 0 <= max(slopes))


def _slope(late_ns: npt.NDArray[Any]) -> float:
    """Return ns a second by which lateness grows: the median over all pairs, which no single late wake moves."""
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

"""The lateness of each way to wait for aligned second boundaries."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.host import Cores
from bench.results import Case, Sample
from bench.scenario import Bench, Metric, Scenario
from bench.ticker import SECOND_NS, Ticker, Ticks

__all__ = ["TICK"]

_START_S = 20.0


def tick(ticker: Ticker, count: int, cores: Cores) -> Ticks:
    """Wait for boundaries, in a process of its own."""
    return ticker.tick(count, cores)


def _tick(bench: Bench, ticker: Ticker, _case: Case) -> Sample:
    count = bench.effort.ticks
    ticks = bench.alone(tick, ticker, count, bench.cores, limit_s=count + _START_S)
    sample = _lateness(np.array(ticks.late_ns, np.int64))
    sample.values["cpu_share"] = ticks.cpu_share
    sample.texts = ticks.texts
    return sample


def _timer(bench: Bench, _case: Case) -> Sample:
    return _lateness(bench.limits.timer(bench.effort.ticks, SECOND_NS).astype(np.int64))


def _lateness(late_ns: npt.NDArray[np.int64]) -> Sample:
    p50, p99 = np.percentile(late_ns, [50, 99])
    return Sample({"p50": float(p50), "p99": float(p99), "max": float(late_ns.max())}, latencies_ns=late_ns)


TICK = Scenario(
    name="tick",
    title="The lateness of an action at an aligned second; with ChronoStream, the event's arrival in another process.",
    contenders="tickers",
    metrics=(
        Metric("p50", "median", "ns"),
        Metric("p99", "p99", "ns"),
        Metric("max", "max", "ns"),
        Metric("cpu_share", "CPU", "share"),
    ),
    measure=_tick,
    limits={"a bare timerfd": _timer},
    draw="latencies",
)

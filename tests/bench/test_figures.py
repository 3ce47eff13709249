from __future__ import annotations

import numpy as np
import pytest

from bench.figures import Verdict, figures, goals
from bench.records import Checks
from bench.results import Case, Sample, summarise
from bench.runner import Run
from bench.scenarios import SCENARIOS

NATIVE = "chronostream-native"


@pytest.fixture
def run() -> Run:
    return Run({}, "smoke")


def put(run: Run, scenario: str, contender: str, case: Case | None = None, **values: float) -> None:
    run.summaries.append(summarise(scenario, contender, case or {}, [Sample(values, checks=Checks(1, 1, 0, 0, 0))]))


def figure(run: Run, what: str, target: str = "") -> Verdict:
    return next(verdict for verdict in figures(run) if verdict.what == what and target in verdict.target)


def goal(run: Run, what: str) -> Verdict:
    return next(verdict for verdict in goals(run, list(SCENARIOS.values())) if verdict.what == what)


@pytest.mark.parametrize(("cost", "met"), [(40.0, True), (41.0, False)])
def test_a_figure_is_met_at_its_limit_and_not_beyond(run: Run, cost: float, met: bool) -> None:
    put(run, "publish-one", NATIVE, send_ns=cost)
    assert figure(run, "a single publish").met is met


@pytest.mark.parametrize(("cost", "met"), [(1.3, True), (1.4, False)])
def test_a_ratio_is_taken_of_the_same_run(run: Run, cost: float, met: bool) -> None:
    put(run, "publish-batch", NATIVE, send_ns=cost)
    put(run, "publish-batch", "limit: memcpy", send_ns=1.0)
    assert figure(run, "publishing 1,024 at once, per record").met is met


def test_what_was_not_measured_is_neither_met_nor_missed(run: Run) -> None:
    put(run, "publish-one", "chronostream-portable", send_ns=1000.0)
    assert figure(run, "a single publish") == Verdict("a single publish", "at most 40.0 ns", "not measured", None)


def test_scenarios_that_did_not_run_have_no_figures(run: Run) -> None:
    assert figures(run) == []
    assert goals(run, list(SCENARIOS.values())) == []


def test_we_are_ahead_if_every_peer_is_behind(run: Run) -> None:
    put(run, "publish-one", NATIVE, send_ns=30.0)
    put(run, "publish-one", "kickmsg", send_ns=60.0)
    assert goal(run, "publish-one").met is True
    put(run, "publish-one", "subetha-pubsub", send_ns=20.0)
    verdict = goal(run, "publish-one")
    assert verdict.met is False
    assert "0.67 × as good as subetha-pubsub" in verdict.measured


def test_the_cost_of_passing_a_message_to_a_thread_is_not_compared(run: Run) -> None:
    put(run, "publish-batch", NATIVE, send_ns=3.0)
    put(run, "publish-batch", "kickmsg", send_ns=6.0)
    put(run, "publish-batch", "mp-queue", send_ns=0.1)
    run.threaded.add("mp-queue")
    assert goal(run, "publish-batch").met is True


def test_more_is_better_where_it_is(run: Run) -> None:
    case = {"in a call": 1024}
    put(run, "one-to-one", NATIVE, case, received=200e6)
    put(run, "one-to-one", "kickmsg", case, received=100e6)
    assert goal(run, "one-to-one 1,024 in a call").met is True


@pytest.mark.parametrize(("most", "met"), [(11.0, True), (11.5, False)])
def test_a_flat_cost_stays_within_a_tenth(run: Run, most: float, met: bool) -> None:
    for consumers, cost in ((1, 10.0), (2, 10.5), (16, most)):
        put(run, "one-to-many", NATIVE, {"consumers": consumers}, send_cpu_ns=cost)
    assert goal(run, "producer's CPU with any number of consumers").met is met


@pytest.mark.parametrize(("slopes", "met"), [((-5, 0, 5), True), ((100, 120, 140), False)])
def test_a_drift_shows_in_every_turn(run: Run, slopes: tuple[int, ...], met: bool) -> None:
    turns = [Sample({"p50": 1.0}, latencies_ns=1000 + slope * np.arange(10)) for slope in slopes]
    run.summaries.append(summarise("tick", "chronostream", {}, turns))
    assert figure(run, "drift of the lateness over a turn").met is met

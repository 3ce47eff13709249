"""The whole program: every scenario runs, and its results are plausible. Nothing here depends on speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.peers import OWN
from bench.scenarios import SCENARIOS
from tests.ring.harness import CORES, ROOT

pytestmark = pytest.mark.measures

PEERS = ("mp-queue", "mp-pipe")
TICKERS = ("time.sleep", "asyncio")
LIMIT_S = 150


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    # Without coverage, which measures only the package and makes the contenders several times slower.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("results")
    ended = bench("--smoke", "--peers", *PEERS, *TICKERS, "--results", str(directory))
    assert ended.returncode == 0, ended.stderr
    return directory


@pytest.fixture(scope="module")
def run(results: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((results / "results.json").read_text("utf-8"))
    return loaded


@pytest.mark.timeout(LIMIT_S)
def test_every_contender_is_measured_in_every_scenario(run: dict[str, Any]) -> None:
    cores = [f"chronostream-{core}" for core in CORES]
    expected = {
        "peers": {*cores, *PEERS},
        "cores": {*cores},
        "tickers": {"chronostream", *TICKERS},
        "own": {"chronostream"},
    }
    assert set(run["versions"]) | set(run["absent"]) >= {*OWN, *PEERS, *TICKERS}
    for name, scenario in SCENARIOS.items():
        measured = {summary["contender"] for summary in run["summaries"] if summary["scenario"] == name}
        limits = {f"limit: {what}" for what in scenario.limits}
        assert measured == expected[scenario.contenders] | limits, name


def test_nothing_failed(run: dict[str, Any]) -> None:
    assert [summary for summary in run["summaries"] if "failure" in summary] == []


def test_every_value_is_a_sane_number(run: dict[str, Any]) -> None:
    for summary in run["summaries"]:
        metrics = {metric.key for metric in SCENARIOS[summary["scenario"]].metrics}
        for spread in summary["values"].values():
            assert spread["low"] <= spread["median"] <= spread["high"], summary
            assert len(spread["rounds"]) == 1, summary
        limit = summary["contender"].startswith("limit: ")
        assert limit or metrics <= set(summary["values"]), summary


def test_costs_and_rates_are_above_zero(run: dict[str, Any]) -> None:
    values = [
        summary["values"][metric.key]["median"]
        for summary in run["summaries"]
        for metric in SCENARIOS[summary["scenario"]].metrics[:1]
        if metric.unit in ("ns", "per s")
    ]
    assert min(values) > 0


def test_every_record_arrived_or_was_reported_lost(run: dict[str, Any]) -> None:
    checked = [summary for summary in run["summaries"] if "checks" in summary]
    assert [summary for summary in checked if not summary["checks"]["verdict"].startswith("right")] == []
    assert {summary["scenario"] for summary in checked} >= {"publish-one", "one-to-one", "latency-spin", "overrun"}


def test_our_own_core_was_overrun_and_reported_exactly_what_it_lost(run: dict[str, Any]) -> None:
    for core in CORES:
        (checks,) = (
            summary["checks"]
            for summary in run["summaries"]
            if (summary["scenario"], summary["contender"]) == ("overrun", f"chronostream-{core}")
        )
        assert checks["told"] == checks["missing"] > 0


def test_latencies_come_as_histograms(run: dict[str, Any]) -> None:
    assert all(
        "histogram" in summary for summary in run["summaries"] if SCENARIOS[summary["scenario"]].draw == "latencies"
    )


def test_the_report_names_the_machine_the_contenders_and_every_scenario(results: Path, run: dict[str, Any]) -> None:
    report = (results / "report.md").read_text("utf-8")
    for name in (*SCENARIOS, *run["versions"], *run["absent"], run["facts"]["CPU"], run["facts"]["cores"]):
        assert name in report


def test_every_picture_that_the_report_shows_is_there(results: Path) -> None:
    report = (results / "report.md").read_text("utf-8")
    for name, scenario in SCENARIOS.items():
        shown = f"![{name}]({name}.png)" in report
        assert shown is (scenario.draw is not None)
        assert (results / f"{name}.png").exists() is shown


def test_an_unknown_scenario_is_wrong_usage() -> None:
    ended = bench("no-such")
    assert ended.returncode == 2
    assert "no scenario 'no-such': choose from publish-one" in ended.stderr

"""Measure ChronoStream beside its peers on this machine, and write a report."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import peers, pictures, tickers
from bench.effort import FULL, QUICK, SMOKE
from bench.host import find_cores
from bench.limits import Limits
from bench.report import write_report
from bench.runner import Run, load_contenders, run_scenario
from bench.scenario import Bench, Scenario
from bench.scenarios import SCENARIOS

__all__ = ["main"]

_INTERRUPTED = 130  # A shell reports this after SIGINT.
_RESULTS = Path(__file__).with_name("results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the requested scenarios; return the exit status."""
    options = _parse(arguments)
    scenarios = [SCENARIOS[name] for name in options.scenarios or SCENARIOS]
    cores = find_cores()
    started_s = time.monotonic()
    with Limits(cores) as limits:
        bench = Bench(options.effort, cores, limits)
        run = Run.begin(bench)
        contenders = load_contenders(options.peers, run)
        if limits.unavailable is not None:
            run.absent["the machine's limits"] = limits.unavailable
        if not pictures.AVAILABLE:
            run.absent["pictures"] = "matplotlib is not installed: pip install '.[bench]'"
        print(f"{options.effort.name} run, {cores.note}; results go to {options.results}")
        for name, reason in run.absent.items():
            print(f"absent: {name}: {reason}")
        drawn: dict[str, Path] = {}
        options.results.mkdir(parents=True, exist_ok=True)
        try:
            for scenario in scenarios:
                run.summaries += run_scenario(scenario, contenders.of(scenario), bench, _progress)
                # Written after each scenario, so that a later failure loses nothing.
                drawn |= pictures.draw(run, scenario, options.results)
                _write(run, scenarios, drawn, options.results)
        except KeyboardInterrupt:
            print("\ninterrupted; the results so far are written", file=sys.stderr)
            return _INTERRUPTED
    _progress(f"done in {time.monotonic() - started_s:.0f} s: {options.results / 'report.md'}\n")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    ours = (*peers.OWN, *tickers.OWN)
    known = [name for name in (*peers.PEERS, *tickers.TICKERS) if name not in ours]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "scenarios",
        nargs="*",
        metavar="scenario",
        help=f"what to measure; everything by default: {', '.join(SCENARIOS)}",
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=known,
        metavar="PEER",
        help=f"peers to measure beside ChronoStream; all by default: {', '.join(known)}",
    )
    parser.add_argument("--results", type=Path, help="directory of the report; bench/results/EFFORT by default")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="effort", action="store_const", const=QUICK, help="four peers, a few minutes")
    size.add_argument("--smoke", dest="effort", action="store_const", const=SMOKE, help="only check the bench")
    parser.set_defaults(effort=FULL)
    options = parser.parse_args(arguments)
    for name in options.scenarios:
        if name not in SCENARIOS:
            parser.error(f"no scenario {name!r}: choose from {', '.join(SCENARIOS)}")
    if options.peers is None:
        options.peers = [*peers.QUICK, *tickers.TICKERS] if options.effort is QUICK else known
    options.results = options.results or _RESULTS / options.effort.name
    return options


def _write(run: Run, scenarios: Sequence[Scenario], drawn: dict[str, Path], directory: Path) -> None:
    (directory / "results.json").write_text(json.dumps(run.as_dict(), indent=1, ensure_ascii=False) + "\n", "utf-8")
    write_report(run, scenarios, drawn, directory / "report.md")


def _progress(text: str) -> None:
    """Show the progress: on one line of a terminal, elsewhere on a line each."""
    if sys.stdout.isatty():
        print(f"\r\033[K{text}", end="", flush=True)
    else:
        print(text.rstrip("\n"), flush=True)

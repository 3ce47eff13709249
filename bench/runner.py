"""The run: every contender's turn in every case, round after round, so that a machine that drifts is fair to all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench import peers, tickers
from bench.host import host_facts
from bench.peer import Contender, Peer
from bench.results import Case, Sample, Summary, case_text, summarise
from bench.scenario import Bench, Scenario
from bench.scenarios.own import ChronoStream

__all__ = ["LIMIT", "Line", "Run", "lines_of", "run_scenario"]

LIMIT = "limit: "
"""What the name of something that is the machine's own begins with."""


@dataclass(slots=True)
class Run:
    """Everything that one run found out.

    Attributes:
        facts: about the machine.
        effort: how much was measured.
        versions: of each contender.
        how: how each of them is used.
        threaded: those that only hand a message to a thread of their own when they send.
        absent: why those that are not there are not.
        summaries: what was measured.
    """

    facts: dict[str, str]
    effort: str
    versions: dict[str, str] = field(default_factory=dict)
    how: dict[str, str] = field(default_factory=dict)
    threaded: set[str] = field(default_factory=set)
    absent: dict[str, str] = field(default_factory=dict)
    summaries: list[Summary] = field(default_factory=list)

    @classmethod
    def begin(cls, bench: Bench) -> Run:
        """Return a run with nothing measured yet."""
        return cls(host_facts(bench.cores), bench.effort.name)

    def find(self, scenario: str, contender: str, case: Case | None = None) -> Summary | None:
        """Return what was measured, None if it was not, or failed."""
        for summary in self.summaries:
            if (summary.scenario, summary.contender, summary.case) == (scenario, contender, case or {}):
                return summary if summary.spreads else None
        return None

    def as_dict(self) -> dict[str, Any]:
        """Return the same as plain values for JSON."""
        return {
            "facts": self.facts,
            "effort": self.effort,
            "versions": self.versions,
            "how": self.how,
            "absent": self.absent,
            "summaries": [summary.as_dict() for summary in self.summaries],
        }


@dataclass(frozen=True, slots=True)
class Line:
    """Who takes part: contenders by kind."""

    peers: tuple[Contender, ...]
    tickers: tuple[Contender, ...]

    def of(self, scenario: Scenario) -> tuple[Contender, ...]:
        """Return those of one scenario."""
        if scenario.contenders == "tickers":
            return self.tickers
        if scenario.contenders == "own":
            return (ChronoStream(),)
        return tuple(peer for peer in self.peers if scenario.contenders == "peers" or peer.name in peers.OWN)


def lines_of(wanted: Iterable[str], run: Run) -> Line:
    """Return our own and the wanted contenders; note in `run` which there are, and why others are not."""
    names = set(wanted)
    return Line(
        _load((*peers.OWN, *peers.PEERS), names | set(peers.OWN), "bench.peers", peers.PEERS, run),
        _load(tickers.TICKERS, names | set(tickers.OWN), "bench.tickers", tickers.TICKERS, run),
    )


def run_scenario(
    scenario: Scenario, line: Sequence[Contender], bench: Bench, progress: Callable[[str], None]
) -> list[Summary]:
    """Measure one scenario: in each round every contender has its turn, each round beginning with another one."""
    turns: list[Contender | str] = [*line, *scenario.limits]
    cases = scenario.cases(bench.effort)
    rounds = min(bench.effort.rounds, scenario.rounds or bench.effort.rounds)
    samples: dict[tuple[int, int], list[Sample]] = {}
    for number in range(rounds):
        for offset in range(len(turns)):
            turn = (number + offset) % len(turns)
            for at, case in enumerate(cases):
                taken = samples.setdefault((turn, at), [])
                if taken and taken[-1].failure is not None:
                    continue  # It would only fail again, and some take half a minute to do so.
                what = f"{_name(turns[turn])} {case_text(case)}".strip()
                progress(f"{scenario.name}, round {number + 1} of {rounds}: {what}")
                taken.append(scenario.turn(bench, turns[turn], case))
    return [
        summarise(scenario.name, _name(contender), case, samples[turn, at])
        for turn, contender in enumerate(turns)
        for at, case in enumerate(cases)
    ]


def _name(contender: Contender | str) -> str:
    return LIMIT + contender if isinstance(contender, str) else contender.name


def _load(
    names: Iterable[str], wanted: set[str], package: str, table: dict[str, tuple[str, str]], run: Run
) -> tuple[Contender, ...]:
    contenders = []
    for name in dict.fromkeys(names):
        if name not in wanted:
            continue
        contender = peers.load(name, package, table)
        if isinstance(contender, str):
            run.absent[name] = contender
            continue
        contenders.append(contender)
        run.versions[name] = contender.version
        run.how[name] = contender.how
        if isinstance(contender, Peer) and contender.threads:
            run.threaded.add(name)
    return tuple(contenders)

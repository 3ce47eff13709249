"""A run: in each round every contender has its turn in every case, so that a drifting machine affects all alike."""

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

__all__ = ["LIMIT", "Contenders", "Run", "load_contenders", "run_scenario"]

LIMIT = "limit: "
"""The prefix of the names of the machine's limits."""


@dataclass(slots=True)
class Run:
    """The results of one run.

    Attributes:
        facts: about the machine.
        effort: name of the effort.
        versions: of the contenders.
        how: how the bench uses each contender.
        threaded: contenders that only pass a message to a thread when they send.
        absent: why contenders are absent.
        summaries: of everything measured.
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
        """Return a run without results."""
        return cls(host_facts(bench.cores), bench.effort.name)

    def find(self, scenario: str, contender: str, case: Case | None = None) -> Summary | None:
        """Return a summary; None if there is none, or it has no values."""
        for summary in self.summaries:
            if (summary.scenario, summary.contender, summary.case) == (scenario, contender, case or {}):
                return summary if summary.spreads else None
        return None

    def as_dict(self) -> dict[str, Any]:
        """Return the run as values for JSON."""
        return {
            "facts": self.facts,
            "effort": self.effort,
            "versions": self.versions,
            "how": self.how,
            "absent": self.absent,
            "summaries": [summary.as_dict() for summary in self.summaries],
        }


@dataclass(frozen=True, slots=True)
class Contenders:
    """The contenders of a run."""

    peers: tuple[Contender, ...]
    tickers: tuple[Contender, ...]

    def of(self, scenario: Scenario) -> tuple[Contender, ...]:
        """Return the contenders of a scenario."""
        if scenario.contenders == "tickers":
            return self.tickers
        if scenario.contenders == "own":
            return (ChronoStream(),)
        return tuple(peer for peer in self.peers if scenario.contenders == "peers" or peer.name in peers.OWN)


def load_contenders(names: Iterable[str], run: Run) -> Contenders:
    """Return ChronoStream and the named contenders; enter in `run` which are present, and why others are absent."""
    names = set(names)
    return Contenders(
        _load((*peers.OWN, *peers.PEERS), names | set(peers.OWN), "bench.peers", peers.PEERS, run),
        _load(tickers.TICKERS, names | set(tickers.OWN), "bench.tickers", tickers.TICKERS, run),
    )


def run_scenario(
    scenario: Scenario, contenders: Sequence[Contender], bench: Bench, progress: Callable[[str], None]
) -> list[Summary]:
    """Measure one scenario. In each round every contender has its turn, and each round begins with another one."""
    turns: list[Contender | str] = [*contenders, *scenario.limits]
    cases = scenario.cases(bench.effort)
    rounds = min(bench.effort.rounds, scenario.rounds or bench.effort.rounds)
    samples: dict[tuple[int, int], list[Sample]] = {}
    for number in range(rounds):
        for offset in range(len(turns)):
            turn = (number + offset) % len(turns)
            for index, case in enumerate(cases):
                taken = samples.setdefault((turn, index), [])
                if taken and taken[-1].failure is not None:
                    continue  # It would fail again, which may take half a minute.
                what = f"{_name(turns[turn])} {case_text(case)}".strip()
                progress(f"{scenario.name}, round {number + 1} of {rounds}: {what}")
                taken.append(scenario.turn(bench, turns[turn], case))
    return [
        summarise(scenario.name, _name(contender), case, samples[turn, index])
        for turn, contender in enumerate(turns)
        for index, case in enumerate(cases)
    ]


def _name(contender: Contender | str) -> str:
    return LIMIT + contender if isinstance(contender, str) else contender.name


def _load(
    names: Iterable[str], chosen: set[str], package: str, table: dict[str, tuple[str, str]], run: Run
) -> tuple[Contender, ...]:
    contenders = []
    for name in dict.fromkeys(names):
        if name not in chosen:
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

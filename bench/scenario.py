"""What a scenario is: its name, its cases, its metrics, and how it measures one contender in one case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from bench.effort import Effort
from bench.host import Cores
from bench.limits import Limits
from bench.peer import Contender, Peer, Spec
from bench.processes import FailedError, Job, Station, run_jobs
from bench.results import Case, Sample

__all__ = ["Bench", "Metric", "Scenario", "Unit"]

Unit = Literal["ns", "per s", "share", "count"]

_LIMIT_S = 30.0
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of a scenario's table.

    Attributes:
        key: of `Sample.values`.
        title: heading of the column.
        unit: of the values.
        less_is_better: False if more is better; None if neither is.
    """

    key: str
    title: str
    unit: Unit
    less_is_better: bool | None = True


@dataclass(frozen=True, slots=True)
class Bench:
    """What every scenario needs."""

    effort: Effort
    cores: Cores
    limits: Limits

    def alone(self, function: Callable[..., _Result], *arguments: Any, limit_s: float = _LIMIT_S) -> _Result:
        """Run `function` in a process of its own on the producer's core, and return its result."""
        result: _Result = run_jobs([Job(function, self.cores.producer, arguments)], None, limit_s)[0]
        return result

    def solo(self, peer: Peer, spec: Spec, role: Callable[[Station], _Result], **options: Any) -> _Result:
        """Run `role` with both sides of the peer in one process, and return its result."""
        result: _Result = run_jobs([Job(role, self.cores.producer)], Station.plan(peer, spec, **options), _LIMIT_S)[0]
        return result

    def apart(
        self, peer: Peer, spec: Spec, produce: Callable[..., Any], consume: Callable[..., Any], **options: Any
    ) -> tuple[Any, list[Any]]:
        """Run the producer and the consumers in processes of their own, and return their results."""
        station = Station.plan(peer, spec, **options)
        jobs = [Job(produce, self.cores.producer)]
        jobs += [Job(consume, self.cores.consumer, (index,)) for index in range(spec.readers)]
        produced, *consumed = run_jobs(jobs, station, _LIMIT_S)
        return produced, consumed


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of measurement.

    Attributes:
        name: in options and headings.
        title: what it measures, in one sentence.
        contenders: ``"peers"`` of the ring, ``"tickers"``, or only ChronoStream: each of its ``"cores"``, or its
            ``"own"`` default.
        metrics: its results; the first one is compared.
        cases: its variants.
        measure: measures one turn of one contender in one case.
        limits: measures the machine's limits, by name.
        rounds: the most rounds; None for as many as the effort has.
        draw: the kind of picture; None for no picture.
    """

    name: str
    title: str
    contenders: Literal["peers", "cores", "tickers", "own"]
    metrics: tuple[Metric, ...]
    measure: Callable[[Bench, Any, Case], Sample]
    cases: Callable[[Effort], list[Case]] = lambda _effort: [{}]
    limits: Mapping[str, Callable[[Bench, Case], Sample]] = field(default_factory=dict)
    rounds: int | None = None
    draw: Literal["bars", "lines", "latencies"] | None = "bars"

    def turn(self, bench: Bench, contender: Contender | str, case: Case) -> Sample:
        """Measure a contender or a limit once; a failure is part of the result."""
        try:
            if isinstance(contender, str):
                return self.limits[contender](bench, case)
            return self.measure(bench, contender, case)
        except FailedError as error:
            return Sample(failure=str(error))

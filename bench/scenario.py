"""What a scenario is: its name, what it varies, how one contender is measured in one case, and what comes out."""

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
        title: the column's head.
        unit: what the value is in.
        less_is_better: False where more is; None where neither is.
    """

    key: str
    title: str
    unit: Unit
    less_is_better: bool | None = True


@dataclass(frozen=True, slots=True)
class Bench:
    """What every scenario works with."""

    effort: Effort
    cores: Cores
    limits: Limits

    def alone(self, function: Callable[..., _Result], *arguments: Any, limit_s: float = _LIMIT_S) -> _Result:
        """Return what `function` returns in a process of its own, on the producer's core."""
        result: _Result = run_jobs([Job(function, self.cores.producer, arguments)], None, limit_s)[0]
        return result

    def solo(self, peer: Peer, spec: Spec, role: Callable[[Station], _Result], **options: Any) -> _Result:
        """Return what `role` returns, both sides of the peer in one process."""
        result: _Result = run_jobs([Job(role, self.cores.producer)], Station.plan(peer, spec, **options), _LIMIT_S)[0]
        return result

    def apart(
        self, peer: Peer, spec: Spec, produce: Callable[..., Any], consume: Callable[..., Any], **options: Any
    ) -> tuple[Any, list[Any]]:
        """Return what the producer and each of the consumers return, each in a process of its own."""
        station = Station.plan(peer, spec, **options)
        jobs = [Job(produce, self.cores.producer)]
        jobs += [Job(consume, self.cores.consumer, (index,)) for index in range(spec.readers)]
        produced, *consumed = run_jobs(jobs, station, _LIMIT_S)
        return produced, consumed


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing that is measured.

    Attributes:
        name: as in options and headings.
        title: what it measures, in one sentence.
        contenders: ``"peers"`` of the ring, ``"tickers"``, or only what ChronoStream has, by its ``"cores"`` or its
            ``"own"`` default.
        metrics: what comes out; the first is the one that is compared.
        cases: what it varies.
        measure: one turn of one contender in one case.
        limits: the same of the machine itself, by what it does there.
        rounds: how often, if not as often as everything else.
        draw: the kind of picture.
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
        """Measure a contender, or a limit, once; what goes wrong is part of the result."""
        try:
            if isinstance(contender, str):
                return self.limits[contender](bench, case)
            return self.measure(bench, contender, case)
        except FailedError as error:
            return Sample(failure=str(error))

"""How much a run measures: a full run, a quick one of a few minutes, and a smoke run that only checks the bench."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FULL", "QUICK", "SMOKE", "Effort"]


@dataclass(frozen=True, slots=True)
class Effort:
    """Counts and times of one run.

    Attributes:
        name: ``"full"``, ``"quick"`` or ``"smoke"``.
        rounds: turns of each contender in each scenario.
        budget_s: duration of one measurement of a cost or a throughput.
        checked: records compared word by word after each measurement of throughput.
        spins: messages of a latency measurement with a spinning receiver.
        sleeps: messages of a latency measurement with a sleeping receiver.
        idle_s: duration of the idle measurement.
        ticks: consecutive second boundaries of one turn.
        events: events generated at once.
        consumers: numbers of consumers, in the scenarios with several.
        sizes: bytes of a record.
        capacities: records that the ring holds, powers of two.
    """

    name: str
    rounds: int
    budget_s: float
    checked: int
    spins: int
    sleeps: int
    idle_s: int
    ticks: int
    events: int
    consumers: tuple[int, ...]
    sizes: tuple[int, ...]
    capacities: tuple[int, ...]


# Half an hour, a third of it in the tick scenario.
FULL = Effort(
    name="full",
    rounds=4,
    budget_s=0.3,
    checked=200_000,
    spins=5_000,
    sleeps=1_000,
    idle_s=10,
    ticks=30,
    events=1_000_000,
    consumers=(1, 2, 4, 8, 16),
    sizes=(16, 64, 256, 1024, 4096, 16384, 65536),
    capacities=tuple(1 << bits for bits in (6, 9, 12, 15, 18, 20)),
)
QUICK = Effort(
    name="quick",
    rounds=2,
    budget_s=0.15,
    checked=50_000,
    spins=2_000,
    sleeps=300,
    idle_s=4,
    ticks=5,
    events=200_000,
    consumers=(1, 8),
    sizes=(16, 1024, 65536),
    capacities=(1 << 8, 1 << 14, 1 << 18),
)
SMOKE = Effort(
    name="smoke",
    rounds=1,
    budget_s=0.002,
    checked=2_000,
    spins=50,
    sleeps=5,
    idle_s=1,
    ticks=1,
    events=1_000,
    consumers=(2,),
    sizes=(4096,),
    capacities=(1 << 8,),
)

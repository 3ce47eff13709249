"""One simulation from start to end: hosts, faults and checks."""

from __future__ import annotations

import itertools
import logging
import os
import random
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, get_args
from unittest.mock import patch

from chronostream._values import SECOND_NS, check_positive, checked_int
from chronostream.calendar.calendar import PERIOD_NS
from chronostream.errors import ChronoStreamError, SimulationError
from chronostream.event import Frequency
from chronostream.scheduler import Coalesce
from chronostream.stream.config import SequencerKind, StreamConfig
from chronostream.testing.chaos import Chaos
from chronostream.testing.checker import Checker, Violation, check_agreement
from chronostream.testing.host import Death, SimulatedHost

__all__ = ["ZONES", "Plan", "Summary", "simulate"]

ZONES = (
    "UTC",
    "Africa/Casablanca",
    "America/Havana",
    "America/New_York",
    "America/Sao_Paulo",
    "Antarctica/Troll",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Europe/Dublin",
    "Pacific/Apia",
    "Pacific/Kwajalein",
)
"""Zones with unusual rules, from which a seed draws one."""

_DAY_NS = PERIOD_NS[Frequency.DAY]
_STARTS_S = range(94_694_400, 2_051_222_400)  # 1973 to 2034
# A clock without a battery starts in the past or anywhere.
_FIRST_OFF_NS = (0, 0, -40 * 366 * _DAY_NS, 70 * 366 * _DAY_NS)
_MAX_DAYS = 150 * 366  # From the latest start, this is still within int64 nanoseconds.
_FREQUENCIES = ((1,), (1, 2), (1, 2, 3, 4), (2, 3), (3, 4), (4,))
# Check after this many publishes, and after each action with this probability.
_CHECK_AFTER, _CHECK_PROBABILITY = 4000, 0.2
_simulations = itertools.count()
_engine_log = logging.getLogger("chronostream.producer.engine")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The arguments of a simulation, given or drawn: see `simulate`."""

    seed: int
    frequencies: tuple[Frequency, ...]
    days: float
    hosts: int
    timezone: str
    sequencer: SequencerKind
    coalesce: Coalesce
    capacity: int

    @property
    def command(self) -> str:
        """The command that repeats the simulation."""
        words = ["python", "-m", "chronostream.testing", "--seed", str(self.seed)]
        for frequency in self.frequencies:
            words += ["--frequency", frequency.label]
        for name in ("days", "hosts", "timezone", "sequencer", "coalesce", "capacity"):
            words += [f"--{name}", str(getattr(self, name))]
        return shlex.join(words)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The result of a simulation: numbers of events, steps and deaths on all hosts, and the real seconds it took."""

    plan: Plan
    events: dict[Frequency, int]
    steps: int
    deaths: dict[Death, int]
    took_s: float


def simulate(
    seed: int,
    *,
    frequencies: Iterable[Frequency | str | int] | None = None,
    days: float | None = None,
    hosts: int | None = None,
    timezone: str | None = None,
    sequencer: SequencerKind | None = None,
    coalesce: Coalesce | None = None,
    capacity: int | None = None,
    on_progress: Callable[[float], object] | None = None,
) -> Summary:
    """Run engines under fake clocks through the faults of a seed, and check the promises of docs/time.md.

    The engines and rings are real; nothing waits or uses threads. Arguments that are not given are drawn from the seed.

    Args:
        seed: of all draws; the same seed and arguments always give the same simulation.
        frequencies: of the stream.
        days: simulated time on each host.
        hosts: the number of hosts; they run one after the other.
        timezone: IANA zone of hours and days.
        sequencer: ``"counting"`` or ``"boundary"``; with the latter, hosts must agree on every id.
        coalesce: ``"earliest"``, ``"latest"`` or ``"all"``.
        capacity: of the ring in events, a power of two.
        on_progress: called from time to time with the days simulated since the last call.

    Raises:
        SimulationError: a promise does not hold; the message says which, and gives the command that repeats it.
    """
    given = {
        "frequencies": None if frequencies is None else Frequency.parse_all(frequencies),
        "days": days,
        "hosts": hosts,
        "timezone": timezone,
        "sequencer": sequencer,
        "coalesce": coalesce,
        "capacity": capacity,
    }
    plan = _plan(seed, given)
    began_s = time.monotonic()
    checkers: list[Checker] = []
    steps, deaths = 0, Counter[Death]()
    try:
        with patch.object(_engine_log, "disabled", True):  # An engine reports every fault.
            for number in range(plan.hosts):
                host, checker = _run(plan, number, on_progress)
                checkers.append(checker)
                steps += host.steps
                deaths += host.deaths
        if plan.sequencer == "boundary":
            check_agreement(checkers)
    except (ChronoStreamError, Violation) as error:
        cause = None if isinstance(error, Violation) else error
        raise SimulationError(f"{error}. To repeat it: {plan.command}") from cause
    events = {frequency: sum(checker.events[frequency] for checker in checkers) for frequency in plan.frequencies}
    return Summary(plan=plan, events=events, steps=steps, deaths=dict(deaths), took_s=time.monotonic() - began_s)


def _plan(seed: int, given: dict[str, Any]) -> Plan:
    """Draw what was not given. All values are drawn, so that a given one does not change the others."""
    chance = random.Random(f"{seed} plan")  # noqa: S311 - must be repeatable
    frequencies = given["frequencies"] or tuple(Frequency(number) for number in chance.choice(_FREQUENCIES))
    drawn = {
        "frequencies": frequencies,
        "days": chance.randint(2000, 10_000) * PERIOD_NS[frequencies[0]] / _DAY_NS,
        "hosts": chance.randint(1, 3),
        "timezone": chance.choice(ZONES),
        "sequencer": chance.choice(get_args(SequencerKind)),
        "coalesce": chance.choice(get_args(Coalesce)),
        "capacity": 1 << chance.randint(4, 10),
    }
    plan = Plan(seed=seed, **drawn | {name: value for name, value in given.items() if value is not None})
    checked_int("seed", seed)
    checked_int("hosts", plan.hosts, 1)
    check_positive("days", plan.days, _MAX_DAYS)
    _config(plan, 0)
    return plan


def _config(plan: Plan, number: int) -> StreamConfig:
    """Return the stream of one host."""
    return StreamConfig(
        name=f"simulation-{os.getpid()}-{next(_simulations)}",
        frequencies=plan.frequencies,
        timezone=plan.timezone,
        capacity=plan.capacity,
        sequencer=plan.sequencer,
        coalesce=plan.coalesce,
        catch_up_window_s=60 * PERIOD_NS[plan.frequencies[0]] / SECOND_NS,
        instance_id=f"host-{number}",
    )


def _run(plan: Plan, number: int, on_progress: Callable[[float], object] | None) -> tuple[SimulatedHost, Checker]:
    """Run one host from start to end."""
    chance = random.Random(f"{plan.seed} host {number}")  # noqa: S311 - must be repeatable
    start_s = random.Random(f"{plan.seed} start").choice(_STARTS_S)  # noqa: S311 - repeatable, and equal on all hosts
    start_ns, off_ns = start_s * SECOND_NS + chance.randrange(SECOND_NS), chance.choice(_FIRST_OFF_NS)
    host = SimulatedHost(_config(plan, number), start_ns, chance, off_ns)
    try:
        checker = Checker(host)
        chaos = Chaos(host, PERIOD_NS[plan.frequencies[0]], chance)
        if off_ns:
            chaos.wait_in_doubt()
            checker.check()
            chaos.begin(off_ns)
        end_ns, reported_ns = plan.days * _DAY_NS, 0
        while host.elapsed_ns < end_ns:
            chaos.act()
            if host.waiting > _CHECK_AFTER or chance.random() < _CHECK_PROBABILITY:
                checker.check()
                if on_progress is not None:
                    on_progress((host.elapsed_ns - reported_ns) / _DAY_NS)
                    reported_ns = host.elapsed_ns
        checker.check()
    finally:
        host.remove()
    return host, checker

"""An engine under a fake clock, driven by hypothesis: random actions in random order, shrunk on failure."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterable
from typing import Any, get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chronostream.event import Frequency
from chronostream.scheduler import Coalesce
from chronostream.stream.config import StreamConfig
from chronostream.testing.checker import Checker
from chronostream.testing.host import Death, SimulatedHost

_NS = 1_000_000_000
_HOUR_NS, _YEAR_NS = 3600 * _NS, 366 * 86_400 * _NS
_numbers = itertools.count()
_FREQUENCIES = st.sets(st.sampled_from([each for each in Frequency if each]), min_size=1)
# Just before New York and Havana change their clocks, and just before Apia skips a day.
_STARTS_S = st.sampled_from((1_710_050_000, 1_730_600_000, 1_325_230_000))
_ZONES = st.sampled_from(("UTC", "America/New_York", "America/Havana", "Pacific/Apia", "Australia/Lord_Howe"))
_ABSENCES_NS = st.integers(0, 10 * _NS) | st.integers(0, 100 * _HOUR_NS)


class Machine(RuleBasedStateMachine):
    """One host, checked after each rule as in a simulation."""

    host: SimulatedHost | None = None

    @initialize(
        frequencies=_FREQUENCIES,
        start_s=_STARTS_S,
        tz=_ZONES,
        sequencer=st.sampled_from(("counting", "boundary")),
        coalesce=st.sampled_from(get_args(Coalesce)),
        capacity=st.sampled_from((1, 16, 1024)),
    )
    def begin(
        self, frequencies: Iterable[Any], start_s: int, tz: str, sequencer: Any, coalesce: Any, capacity: int
    ) -> None:
        config = StreamConfig(
            name=f"test-{os.getpid()}-machine-{next(_numbers)}",
            frequencies=frequencies,
            timezone=tz,
            capacity=capacity,
            sequencer=sequencer,
            coalesce=coalesce,
            catch_up_window_s=100,
        )
        self.host = SimulatedHost(config, start_s * _NS, random.Random(0))
        self.checker = Checker(self.host)

    @property
    def machine(self) -> SimulatedHost:
        assert self.host is not None
        return self.host

    @rule(late_ns=st.integers(0, 3 * _NS) | st.integers(0, 30 * _HOUR_NS))
    def wake_late(self, late_ns: int) -> None:
        self.machine.run_to_deadline(late_ns)

    @rule(steps=st.integers(1, 20), ppm=st.sampled_from((-100_000, -500, 0, 500, 83_333, 100_000)))
    def run_slewed(self, steps: int, ppm: int) -> None:
        self.machine.drift_ppm = ppm
        for _ in range(steps):
            self.machine.run_to_deadline()

    @rule(by_ns=st.integers(-3 * _NS, 3 * _NS) | st.integers(-_HOUR_NS, 3 * _HOUR_NS) | st.integers(0, _YEAR_NS))
    def set_clock(self, by_ns: int) -> None:
        self.machine.set_clock(by_ns)
        self.machine.step()

    @rule(ns=_ABSENCES_NS)
    def suspend(self, ns: int) -> None:
        self.machine.clock.suspend(ns)
        self.machine.step()

    @rule(ns=st.integers(0, 20 * _NS))
    def look_early(self, ns: int) -> None:
        self.machine.advance(ns)
        self.machine.step()

    @rule(death=st.sampled_from(Death), ns=_ABSENCES_NS, at_the_deadline=st.booleans())
    def die(self, death: Death, ns: int, at_the_deadline: bool) -> None:
        host = self.machine
        if at_the_deadline:
            host.advance_to_deadline()
        host.die(Death.IDLE if death is Death.WHILE_OPENING else death)
        host.advance(ns)
        host.restart(dies_opening=death is Death.WHILE_OPENING)

    @rule(ns=_ABSENCES_NS, off_ns=st.just(0) | st.integers(-100 * _HOUR_NS, 2 * _HOUR_NS))
    def reboot(self, ns: int, off_ns: int) -> None:
        self.machine.stop()
        self.machine.advance(ns)
        self.machine.reboot(off_ns)
        self.machine.restart()

    @invariant()
    @precondition(lambda self: self.host is not None)
    def everything_holds(self) -> None:
        self.checker.check()

    def teardown(self) -> None:
        if self.host is not None:
            self.host.remove()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=50, stateful_step_count=25)

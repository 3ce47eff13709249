"""A simulated host: a clock that the simulation moves, an engine on a real ring, and deaths at any point of a step.

Nothing here sleeps or uses threads. The host steps the engine and records what the engine publishes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from itertools import groupby
from operator import itemgetter
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from chronostream import ring
from chronostream._values import SECOND_NS
from chronostream.calendar.calendar import Calendar
from chronostream.clock import FakeClock
from chronostream.clock.credibility import ClockTrust
from chronostream.event import EVENT_DTYPE, Frequency
from chronostream.producer.engine import Engine
from chronostream.stream.config import StreamConfig
from chronostream.stream.state import StateReader

__all__ = ["Death", "Emitted", "SimulatedClock", "SimulatedHost"]

_MILLION = 1_000_000


class Death(Enum):
    """The point at which an engine dies."""

    IDLE = "idle"
    """Between two steps."""
    BEFORE_PUBLISH = "before publishing"
    """The due events have numbers, but none is visible."""
    WHILE_PUBLISHING = "while publishing"
    """Some of the due events are visible."""
    BEFORE_SAVE = "before saving"
    """All due events are visible, but not in the checkpoint."""
    WHILE_SAVING = "while saving"
    """The checkpoint is half written."""
    WHILE_OPENING = "while opening"
    """The stream was taken over, and the first checkpoint is half written."""


class _Died(BaseException):
    """Ends an engine's step; a `BaseException`, so that no handler in the engine catches it."""


class SimulatedClock(FakeClock):
    """A clock that is in doubt at times."""

    is_doubted = False

    def doubt(self, trust: ClockTrust, realtime_ns: int) -> str:
        """Return why not to believe this reading; empty: believe it."""
        return super().doubt(trust, realtime_ns) or ("not set yet" if self.is_doubted else "")


class Emitted:
    """Published records, shape ``(n,)``, and for each the Unix nanoseconds at which it became visible.

    Each of the `parts` is the bytes of one publish, its time, and the calendar of its engine.
    """

    def __init__(self, parts: list[tuple[bytes, int, Calendar]]) -> None:
        self.records: npt.NDArray[np.void] = np.frombuffer(b"".join(raw for raw, _, _ in parts), EVENT_DTYPE)
        counts = [len(raw) // EVENT_DTYPE.itemsize for raw, _, _ in parts]
        self.seen_ns = np.repeat(np.array([time_ns for _, time_ns, _ in parts], np.int64), counts)
        self._ends = list(zip([calendar for _, _, calendar in parts], np.cumsum(counts).tolist(), strict=True))

    def by_calendar(self) -> Iterator[tuple[Calendar, npt.NDArray[np.void]]]:
        """Yield the records that were made with one calendar after another, in order."""
        start = 0
        for calendar, group in groupby(self._ends, key=itemgetter(0)):
            *_, (_, end) = group
            yield calendar, self.records[start:end]
            start = end


class SimulatedHost:
    """A host that runs one stream, from `start_ns` on; `chance` draws boot ids and the exact points of death.

    At first its clock is wrong by `off_ns`; unless that is 0, the clock is in doubt until `begin`.

    Attributes:
        calendar: of the zone data that the host has; an engine that starts takes it.
        accounts: for each frequency, from which boundary on to count those that passed, and how many were emitted or
            missed before; that begins anew when an engine starts with other zone data.
        deadline_ns: when the engine is to be stepped next, Unix nanoseconds.
        elapsed_ns: the time that passed over all boots.
        drift_ppm: by how much the clock is slewed, parts per million.
        calm_since_ns: `boottime_ns` of the first step since the clock was last set; None before that step.
        steps: the number of steps of all engines.
        deaths: the number of deaths at each point.
    """

    def __init__(self, config: StreamConfig, start_ns: int, chance: random.Random, off_ns: int = 0) -> None:
        self.config = config
        self._chance = chance
        self.clock = self._boot(start_ns + off_ns, chance.randrange(10**15))
        self.clock.is_doubted = off_ns != 0
        self.calendar = Calendar.for_zone(config.timezone)
        self._accounted_with = self.calendar
        self._emitted: Counter[int] = Counter()
        self._account_from(start_ns)
        self.elapsed_ns = 0
        self.drift_ppm = 0
        self.steps = 0
        self.deaths: Counter[Death] = Counter()
        self._death: Death | None = None
        self._parts: list[tuple[bytes, int, Calendar]] = []
        self.calm_since_ns: int | None = None
        self._open()
        self._consumer = ring.Consumer.attach(config.name, register=False)
        self.step()

    @property
    def waiting(self) -> int:
        """The number of publishes since the last `emitted`."""
        return len(self._parts)

    def step(self) -> None:
        """Step the engine."""
        self.steps += 1
        if self.calm_since_ns is None:
            self.calm_since_ns = self.clock.boottime_ns()
        self.deadline_ns = self.engine.step()

    def advance(self, ns: int) -> None:
        """Let time pass."""
        drift_ns = ns * self.drift_ppm // _MILLION
        self.clock.advance(ns)
        self.clock.step(drift_ns)
        self.elapsed_ns += ns
        # A real engine looks every few seconds. After a day, the drift is as far as a clock that was set.
        if drift_ns > self.config.max_step_s * SECOND_NS:
            self.calm_since_ns = None

    def set_clock(self, by_ns: int) -> None:
        """Set the clock, forward or back."""
        self.clock.step(by_ns)
        self.calm_since_ns = None

    def begin(self, off_ns: int) -> None:
        """Set a clock right that was in doubt by `off_ns`: now the stream begins."""
        self.set_clock(-off_ns)
        self.clock.is_doubted = False
        self._account_from(self.clock.realtime_ns())
        self.step()

    def run_to_deadline(self, late_ns: int = 0) -> None:
        """Let time pass until the clock reads `late_ns` after the deadline, and step the engine."""
        self.advance_to_deadline(late_ns)
        self.step()

    def advance_to_deadline(self, late_ns: int = 0) -> None:
        """Let time pass until the clock reads `late_ns` after the deadline."""
        by_ns = max(0, self.deadline_ns - self.clock.realtime_ns()) + late_ns
        self.advance(-(-by_ns * _MILLION // (_MILLION + self.drift_ppm)))

    def stop(self) -> None:
        """Close the engine; `restart` starts the next one."""
        self.engine.close()

    def die(self, death: Death) -> None:
        """Kill the engine at this point of a step; `restart` starts the next one."""
        self.deaths[death] += 1
        before = bytes(self.engine.ring.application)
        self._death = death
        with suppress(_Died):
            if death is not Death.IDLE:
                self.engine.step()
        self._death = None
        if death is Death.WHILE_SAVING:
            self._tear(before)
        self._abandon()

    def restart(self, *, dies_opening: bool = False) -> None:
        """Start an engine that takes the stream over; with `dies_opening`, the first one dies at once."""
        if dies_opening:
            self.deaths[Death.WHILE_OPENING] += 1
            before = bytes(self._consumer.application)
            self._open()
            self._tear(before)
            self._abandon()
        self._open()
        self.step()

    def reboot(self, off_ns: int) -> None:
        """Reboot a host whose engine was stopped or killed: the clock is off by `off_ns`, the boot clock is another."""
        realtime_ns = self.clock.realtime_ns() + off_ns
        boottime_ns = self._chance.randrange(self._chance.choice((10**11, 10**18)))
        self.clock = self._boot(realtime_ns, boottime_ns)
        self.calm_since_ns = None

    def emitted(self) -> Emitted:
        """Return the records published since the last call."""
        emitted = Emitted(self._parts)
        self._parts.clear()
        return emitted

    def read(self) -> npt.NDArray[np.void]:
        """Return the records that a consumer finds in the ring, shape ``(n,)``."""
        return self._consumer.read()

    def remove(self) -> None:
        """Delete the stream."""
        self._consumer.close()
        self.engine.close()
        ring.remove(self.config.name)

    def _open(self) -> None:
        calendar = self.calendar
        with patch.object(Calendar, "for_zone", lambda _timezone: calendar):
            self.engine = Engine(self.config, clock=self.clock)
        if calendar is not self._accounted_with:
            self._begin_accounts(calendar)
        self.calm_since_ns = None
        publish_many = self.engine.ring.publish_many

        def publish(records: Any) -> None:
            if not len(records):
                return  # The engine warms up by publishing nothing.
            if self._death is Death.BEFORE_PUBLISH:
                raise _Died
            visible = records
            if self._death is Death.WHILE_PUBLISHING:
                visible = records[: self._chance.randint(1, len(records))]
            publish_many(visible)
            self._parts.append((visible.tobytes(), self.clock.realtime_ns(), calendar))
            self._emitted.update(visible["frequency"].tolist())
            if self._death in {Death.WHILE_PUBLISHING, Death.BEFORE_SAVE}:
                raise _Died

        self.engine.ring.publish_many = publish  # type: ignore[method-assign]

    def _account_from(self, start_ns: int) -> None:
        self.accounts = {Frequency.parse(frequency): (start_ns, 0) for frequency in self.config.frequencies}

    def _begin_accounts(self, calendar: Calendar) -> None:
        self._accounted_with = calendar
        checkpoint = StateReader(self.engine.ring.application).checkpoint()
        if checkpoint is not None:
            for known in checkpoint.scheduler.frequencies:
                self.accounts[known.frequency] = known.floor_ns, known.missed + self._emitted[known.frequency]

    def _abandon(self) -> None:
        """Release the stream as a death does: without marking it closed."""
        self.engine.ring._segment.close()  # noqa: SLF001 - no public method releases a stream without closing it

    def _tear(self, before: bytes) -> None:
        """Undo part of the last write to the engine's state, as if the engine had died during it."""
        area = self.engine.ring.application
        after = bytes(area)
        different = np.flatnonzero(np.frombuffer(before, np.uint8) != np.frombuffer(after, np.uint8))
        if len(different):
            cut = self._chance.randint(int(different[0]), int(different[-1]))
            area[:] = after[:cut] + before[cut:]

    def _boot(self, realtime_ns: int, boottime_ns: int) -> SimulatedClock:
        return SimulatedClock(realtime_ns, boottime_ns=boottime_ns, boot_id=self._chance.randbytes(16))

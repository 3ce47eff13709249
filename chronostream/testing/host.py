"""One simulated machine: a clock that the simulation moves, an engine on a real ring, and deaths at any point.

Nothing here sleeps or runs in another thread: the engine is stepped by hand, and what it publishes is caught on its
way into the ring. It knows how a machine may die, not when, and judges nothing.
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from chronostream import ring as rings
from chronostream.clock import FakeClock
from chronostream.event import EVENT_DTYPE
from chronostream.producer.engine import Engine
from chronostream.stream.config import StreamConfig

__all__ = ["Death", "Emitted", "Host"]

_BOOT_ID_SIZE = 16


class Death(Enum):
    """Where in its work an engine can die."""

    IDLE = "idle"
    """Between two steps."""
    BEFORE_PUBLISH = "before publishing"
    """What is due was numbered, but nobody saw it."""
    WHILE_PUBLISHING = "while publishing"
    """Some of what is due is visible."""
    BEFORE_SAVE = "before saving"
    """All that is due is visible, but no checkpoint knows."""
    WHILE_SAVING = "while saving"
    """The checkpoint is half written."""
    WHILE_OPENING = "while opening"
    """The stream was taken over, and the first checkpoint is half written."""


class _Died(BaseException):
    """Thrown through an engine; nothing of ours catches it on its way."""


class Emitted:
    """What became visible since the last look: the records, and what the clock read when each did."""

    def __init__(self, parts: list[bytes], times_ns: list[int]) -> None:
        self.records: npt.NDArray[np.void] = np.frombuffer(b"".join(parts), EVENT_DTYPE)
        counts = [len(part) // EVENT_DTYPE.itemsize for part in parts]
        self.seen_ns = np.repeat(np.array(times_ns, np.int64), counts)


class Host:
    """A machine that runs one stream.

    Args:
        config: the stream.
        start_ns: what its clock reads at first, Unix nanoseconds.
        chance: for where exactly it dies, and the names of its boots.

    Attributes:
        config: the stream.
        clock: its clock; the simulation moves it.
        engine: the engine that lives at this moment.
        deadline_ns: when the engine wants to look again.
        elapsed_ns: how much time passed, over all boots.
        born_ns: where the stream began, Unix nanoseconds.
        calm_since_ns: `boottime_ns` of the first step since the clock was last set.
        steps: how many steps its engines took.
        deaths: how often it died at each point.
    """

    def __init__(self, config: StreamConfig, start_ns: int, chance: random.Random) -> None:
        self.config = config
        self._chance = chance
        self.clock = FakeClock(start_ns, boottime_ns=chance.randrange(10**15), boot_id=self._new_boot_id())
        self.elapsed_ns = 0
        self.born_ns = start_ns
        self.steps = 0
        self.deaths: Counter[Death] = Counter()
        self._death: Death | None = None
        self._parts: list[bytes] = []
        self._times_ns: list[int] = []
        self.calm_since_ns: int | None = None
        self._open()
        self._consumer = rings.Consumer.attach(config.name, register=False)
        self.step()

    @property
    def waiting(self) -> int:
        """How many times something was published since the last `emitted`."""
        return len(self._parts)

    def step(self) -> None:
        """Let the engine do what is due now."""
        self.steps += 1
        if self.calm_since_ns is None:
            self.calm_since_ns = self.clock.boottime_ns()
        self.deadline_ns = self.engine.step()

    def advance(self, ns: int) -> None:
        """Let time pass."""
        self.clock.advance(ns)
        self.elapsed_ns += ns

    def set_clock(self, by_ns: int) -> None:
        """Set the clock, either way."""
        self.clock.step(by_ns)
        self.calm_since_ns = None

    def run_to_deadline(self, late_ns: int = 0, drift_ppm: int = 0) -> None:
        """Let time pass up to the deadline and some more, the clock slewed by so much, and step."""
        ns = max(0, self.deadline_ns - self.clock.realtime_ns()) + late_ns
        self.advance(ns)
        if drift_ppm:
            self.clock.step(ns * drift_ppm // 1_000_000)
        self.step()

    def stop(self) -> None:
        """End the engine in good order; the machine is without one until `restart`."""
        self.engine.close()

    def die(self, death: Death) -> None:
        """Kill the engine at that point of a step now; the machine is without one until `restart`."""
        self.deaths[death] += 1
        before = bytes(self.engine.ring.application)
        self._death = death
        with suppress(_Died):
            if death is not Death.IDLE:
                self.engine.step()
        self._death = None
        if death is Death.WHILE_SAVING:
            self._tear(before)
        self._bury()

    def restart(self, *, dies_opening: bool = False) -> None:
        """Take the stream over, at the second attempt if the first `dies_opening`."""
        if dies_opening:
            self.deaths[Death.WHILE_OPENING] += 1
            before = bytes(self._consumer.application)
            self._open()
            self._tear(before)
            self._bury()
        self._open()
        self.step()

    def reboot(self, off_ns: int) -> None:
        """Start the machine anew, with its clock off by so much; the engine must have ended before."""
        realtime_ns = self.clock.realtime_ns() + off_ns
        self.clock = FakeClock(realtime_ns, boottime_ns=self._chance.randrange(10**11), boot_id=self._new_boot_id())
        self.calm_since_ns = None

    def emitted(self) -> Emitted:
        """Return what was published since the last call."""
        emitted = Emitted(self._parts, self._times_ns)
        self._parts.clear()
        self._times_ns.clear()
        return emitted

    def read(self) -> npt.NDArray[np.void]:
        """Return what a consumer that looks only now still finds of it."""
        return self._consumer.read()

    def remove(self) -> None:
        """Delete the stream."""
        self._consumer.close()
        self.engine.close()
        rings.remove(self.config.name)

    def _open(self) -> None:
        self.engine = Engine(self.config, clock=self.clock)
        self.calm_since_ns = None
        really_publish = self.engine.ring.publish_many

        def publish(records: Any) -> None:
            if not len(records):
                return  # The engine goes the way of a publish with nothing in hand.
            if self._death is None:
                shown = records
            elif self._death is Death.BEFORE_PUBLISH:
                raise _Died
            else:
                some = self._chance.randint(1, len(records))
                shown = records[:some] if self._death is Death.WHILE_PUBLISHING else records
            really_publish(shown)
            self._parts.append(shown.tobytes())
            self._times_ns.append(self.clock.realtime_ns())
            if self._death in {Death.WHILE_PUBLISHING, Death.BEFORE_SAVE}:
                raise _Died

        self.engine.ring.publish_many = publish  # type: ignore[method-assign]

    def _bury(self) -> None:
        """Let go of the stream as a death does: the lock is gone, and nothing is written any more."""
        self.engine.ring._segment.close()  # noqa: SLF001 - nobody else may end a producer without closing its stream

    def _tear(self, before: bytes) -> None:
        """Have the last that was written to the engine's state written in part only."""
        area = self.engine.ring.application
        after = bytes(area)
        different = np.flatnonzero(np.frombuffer(before, np.uint8) != np.frombuffer(after, np.uint8))
        if len(different):
            cut = self._chance.randint(int(different[0]), int(different[-1]))
            area[:] = after[:cut] + before[cut:]

    def _new_boot_id(self) -> bytes:
        return self._chance.randbytes(_BOOT_ID_SIZE)

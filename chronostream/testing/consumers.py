"""Somebody's consumer behind a stream that meets with every fault of the simulator."""

from __future__ import annotations

import itertools
import logging
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from chronostream._values import SECOND_NS, checked_int
from chronostream.calendar.calendar import PERIOD_NS
from chronostream.event import EVENT_DTYPE, Event, Frequency, to_events
from chronostream.stream.config import StreamConfig
from chronostream.stream.events import EventStream, subscribe
from chronostream.stream.status import stream_status
from chronostream.testing.chaos import Chaos
from chronostream.testing.host import SimulatedHost

__all__ = ["ChaosRun", "run_through_chaos"]

_STARTS_S = range(946_684_800, 1_893_456_000)  # 2000 to 2029
_numbers = itertools.count()
_engine_log = logging.getLogger("chronostream.producer.engine")


@dataclass(frozen=True, kw_only=True, eq=False)
class ChaosRun:
    """What happened to the stream behind which a consumer ran.

    Attributes:
        published: all its events, records of `EVENT_DTYPE`, shape ``(n,)``.
        lost: how many of them were overwritten before the consumer read them.
        missed: the boundaries of each frequency that were never emitted.
        deaths: how often its producer died.
    """

    published: npt.NDArray[np.void]
    lost: int
    missed: dict[Frequency, int]
    deaths: int


def run_through_chaos(
    consume: Callable[[list[Event], int], object],
    seed: int,
    *,
    actions: int = 100,
    capacity: int = 1024,
    **options: Any,
) -> ChaosRun:
    """Give a consumer the events of a stream whose clock is set and whose machine and producer fail.

    The faults, and when the consumer reads, follow from the seed. An exception of the consumer ends the run; a note on
    it names the seed and the action.

    Args:
        consume: called with the next events, at least one, and with the number of events that were lost before them.
        seed: an integer.
        actions: the number of faults, and of undisturbed stretches, at least 1.
        capacity: events that the ring holds, a power of two; a small one makes losses likely.
        options: further fields of `StreamConfig`.
    """
    chance = random.Random(checked_int("seed", seed))  # noqa: S311 - must be repeatable
    checked_int("actions", actions, 1)
    config = StreamConfig(name=f"chaos-{os.getpid()}-{next(_numbers)}", capacity=capacity, **options)
    unit_ns = PERIOD_NS[min(config.scheduler().frequencies)]
    published: list[npt.NDArray[np.void]] = []
    with patch.object(_engine_log, "disabled", True):  # An engine reports every fault.
        host = SimulatedHost(config, chance.choice(_STARTS_S) * SECOND_NS, chance)
        try:
            chaos = Chaos(host, unit_ns, chance)
            with subscribe(config.name, start="oldest", label="chaos") as stream:
                for action in range(1, actions + 1):
                    chaos.act()
                    published.append(host.emitted().records)
                    if action == actions or chance.randrange(2):
                        try:
                            _deliver(stream, consume)
                        except Exception as error:
                            error.add_note(f"run_through_chaos: seed {seed}, action {action}")
                            raise
                status = stream_status(config.name).engine
                lost = stream.lost
        finally:
            host.remove()
    return ChaosRun(
        published=np.concatenate([np.empty(0, EVENT_DTYPE), *published]),
        lost=lost,
        missed={known.frequency: known.missed for known in status.frequencies} if status is not None else {},
        deaths=sum(host.deaths.values()),
    )


def _deliver(stream: EventStream, consume: Callable[[list[Event], int], object]) -> None:
    """Hand over what can be read. Nothing is published meanwhile, so that losses come before all of it."""
    lost = stream.lost
    records = stream.read()
    if len(records):
        consume(to_events(records), stream.lost - lost)

"""What a step returns: ticks, a deadline, and notices for the log. Plain values without behaviour."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum

from chronostream.event import Frequency

__all__ = ["Condition", "Notice", "NoticeKind", "SchedulerStatus", "Step", "Tick"]


@dataclass(frozen=True, slots=True)
class Tick:
    """One boundary to emit now, in Unix nanoseconds, however late it is emitted."""

    frequency: Frequency
    boundary_ns: int


class NoticeKind(Enum):
    """What a step can notice; the status counts each kind."""

    LATE = "late", logging.INFO
    """A boundary was emitted more than 0.1 s late, but within its period."""
    GAP = "gap", logging.WARNING
    """Several boundaries of a frequency passed at once: late, resumed, restarted, or stepped forward."""
    STEP_FORWARD = "step_forward", logging.INFO
    """The wall clock was set forward."""
    STEP_BACK = "step_back", logging.INFO
    """The wall clock was set back."""
    HOLD = "hold", logging.WARNING
    """The clock is before the floor: nothing is due until it is past it."""
    HELD = "held", logging.ERROR
    """A hold lasts, or will last, longer than `max_hold_s`."""
    RELEASED = "released", logging.INFO
    """A hold is over."""
    QUARANTINE = "quarantine", logging.WARNING
    """The clock is further ahead than `max_step_s`, unconfirmed, or a new stream's clock is in doubt."""
    RETURNED = "returned", logging.INFO
    """A quarantine ended because the clock came back, or is no longer in doubt."""
    SETTLED = "settled", logging.WARNING
    """A quarantine ended because the clock stayed where it is, and is believed now."""
    BARRED = "barred", logging.INFO
    """A boundary passed whose sequence was used already, before the zone data changed: it is missed."""

    def __init__(self, label: str, level: int) -> None:
        self.label = label
        self.level = level


@dataclass(frozen=True, slots=True)
class Notice:
    """Something for the log, one line at ``kind.level``."""

    kind: NoticeKind
    message: str


@dataclass(frozen=True, slots=True)
class Step:
    """The ticks to emit, in this order, and the notices to log; mostly there are none.

    Take the next step when the wall clock reads `deadline_ns`, Unix nanoseconds, or is set.
    """

    ticks: tuple[Tick, ...]
    deadline_ns: int
    notices: tuple[Notice, ...]


class Condition(Enum):
    """The condition of a scheduler."""

    RUNNING = "running"
    HOLDING = "holding"
    """The clock is before the floor."""
    HELD = "held"
    """The clock is before the floor for longer than `max_hold_s`: a person should look at it."""
    QUARANTINED = "quarantined"
    """The clock is far ahead, or a new stream's clock is in doubt: it is not believed yet."""

    @property
    def advice(self) -> str:
        """What to do; empty if there is nothing to do."""
        return _ADVICE.get(self, "")


_ADVICE = {
    Condition.HELD: "set the clock right, or wait; if it is right, `chronostream remove` the stream and start it again",
    Condition.QUARANTINED: "set the clock right; if it is right, wait until it has settled, or use --trust any",
}


@dataclass(frozen=True, slots=True)
class SchedulerStatus:
    """The condition of a scheduler, and what it noticed.

    Attributes:
        missed: boundaries never emitted, per frequency, in the life of the stream.
        counts: how often each kind of notice occurred in this run.
    """

    condition: Condition
    missed: dict[Frequency, int]
    counts: dict[NoticeKind, int]

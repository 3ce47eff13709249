"""The scheduler: which boundary is due now, and when to look again.

A pure core without sleeping and without I/O; the table in docs/time.md is its specification.
"""

from __future__ import annotations

from chronostream.scheduler.core import Coalesce, Scheduler
from chronostream.scheduler.facts import Condition, Fact, FactKind, SchedulerStatus, Step, Tick
from chronostream.scheduler.state import FrequencyState, SchedulerState

__all__ = [
    "Coalesce",
    "Condition",
    "Fact",
    "FactKind",
    "FrequencyState",
    "Scheduler",
    "SchedulerState",
    "SchedulerStatus",
    "Step",
    "Tick",
]

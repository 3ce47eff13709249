"""The scheduler: which boundary is due now, and when to look again.

A pure core without sleeping and without I/O; the table in docs/time.md is its specification.
"""

from __future__ import annotations

from chronostream.scheduler.core import Coalesce, Scheduler
from chronostream.scheduler.state import FrequencyState, SchedulerState
from chronostream.scheduler.step import Condition, Notice, NoticeKind, SchedulerStatus, Step, Tick

__all__ = [
    "Coalesce",
    "Condition",
    "FrequencyState",
    "Notice",
    "NoticeKind",
    "Scheduler",
    "SchedulerState",
    "SchedulerStatus",
    "Step",
    "Tick",
]

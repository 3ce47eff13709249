"""ChronoStream: one immutable event at every aligned wall-clock boundary, in a shared-memory ring.

>>> import chronostream as cs
>>> config = cs.StreamConfig(name="market-clock", frequencies=("second", "minute"), remove=True)
>>> with cs.start(config), cs.subscribe("market-clock", frequencies={"second"}) as events:
...     print(next(events).frequency.label)
second

The names below are loaded when they are first used, so that a consumer does not pay for the producer's parts.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from chronostream.version import __version__

if TYPE_CHECKING:
    from chronostream import aio, backfill, boundaries, errors, recorder, ring, tables
    from chronostream.backfill import replay
    from chronostream.clock import FakeClock, Stop, SystemClock
    from chronostream.config import StreamConfig
    from chronostream.engine import Engine
    from chronostream.event import (
        EVENT_DTYPE,
        Event,
        Frequency,
        build_event,
        build_events,
        event_ids,
        to_events,
        to_records,
    )
    from chronostream.gaps import Gap, find_gaps
    from chronostream.patterns import LatestStream, every, history
    from chronostream.process import ProducerProcess, start
    from chronostream.sequencer import BoundarySequencer, CountingSequencer
    from chronostream.status import StreamStatus, stream_status
    from chronostream.stream import EventStream, subscribe

__all__ = [
    "EVENT_DTYPE",
    "BoundarySequencer",
    "CountingSequencer",
    "Engine",
    "Event",
    "EventStream",
    "FakeClock",
    "Frequency",
    "Gap",
    "LatestStream",
    "ProducerProcess",
    "Stop",
    "StreamConfig",
    "StreamStatus",
    "SystemClock",
    "__version__",
    "aio",
    "backfill",
    "boundaries",
    "build_event",
    "build_events",
    "errors",
    "event_ids",
    "every",
    "find_gaps",
    "history",
    "recorder",
    "replay",
    "ring",
    "start",
    "stream_status",
    "subscribe",
    "tables",
    "to_events",
    "to_records",
]

_MODULES = ("aio", "backfill", "boundaries", "errors", "recorder", "ring", "tables")
_HOMES = {
    "backfill": ("replay",),
    "clock": ("FakeClock", "Stop", "SystemClock"),
    "config": ("StreamConfig",),
    "engine": ("Engine",),
    "event": (
        "EVENT_DTYPE",
        "Event",
        "Frequency",
        "build_event",
        "build_events",
        "event_ids",
        "to_events",
        "to_records",
    ),
    "gaps": ("Gap", "find_gaps"),
    "patterns": ("LatestStream", "every", "history"),
    "process": ("ProducerProcess", "start"),
    "sequencer": ("BoundarySequencer", "CountingSequencer"),
    "status": ("StreamStatus", "stream_status"),
    "stream": ("EventStream", "subscribe"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"chronostream.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'chronostream' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"chronostream.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))

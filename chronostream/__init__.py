"""ChronoStream: one immutable event at every aligned wall-clock boundary, in a shared-memory ring.

>>> import chronostream as cs
>>> config = cs.StreamConfig(name="market-clock", frequencies=("second", "minute"), remove=True)
>>> with cs.start(config), cs.subscribe("market-clock", frequencies={"second"}) as events:
...     print(next(events).frequency.label)
second

A public name is loaded when it is first used, so that a consumer does not pay for the producer's parts.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from chronostream.version import __version__

if TYPE_CHECKING:
    from chronostream import aio, backfill, boundaries, errors, recorder, ring, tables
    from chronostream.backfill import replay
    from chronostream.calendar.gaps import Gap, find_gaps
    from chronostream.calendar.sequencer import BoundarySequencer, CountingSequencer
    from chronostream.clock import FakeClock, Stop, SystemClock
    from chronostream.errors import ChronoStreamError, LostError
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
    from chronostream.producer.engine import Engine
    from chronostream.producer.process import ProducerProcess, start
    from chronostream.ring import Consumer, Producer, remove
    from chronostream.stream.config import StreamConfig
    from chronostream.stream.events import EventStream, subscribe
    from chronostream.stream.patterns import LatestStream, every, history
    from chronostream.stream.status import StreamStatus, stream_status

__all__ = [
    "EVENT_DTYPE",
    "BoundarySequencer",
    "ChronoStreamError",
    "Consumer",
    "CountingSequencer",
    "Engine",
    "Event",
    "EventStream",
    "FakeClock",
    "Frequency",
    "Gap",
    "LatestStream",
    "LostError",
    "Producer",
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
    "remove",
    "replay",
    "ring",
    "start",
    "stream_status",
    "subscribe",
    "tables",
    "to_events",
    "to_records",
]

# Where each name lives; a public name that is not here is a module.
_HOMES = {
    "backfill": ["replay"],
    "calendar.gaps": ["Gap", "find_gaps"],
    "calendar.sequencer": ["BoundarySequencer", "CountingSequencer"],
    "clock": ["FakeClock", "Stop", "SystemClock"],
    "errors": ["ChronoStreamError", "LostError"],
    "event": [
        "EVENT_DTYPE",
        "Event",
        "Frequency",
        "build_event",
        "build_events",
        "event_ids",
        "to_events",
        "to_records",
    ],
    "producer.engine": ["Engine"],
    "producer.process": ["ProducerProcess", "start"],
    "ring": ["Consumer", "Producer", "remove"],
    "stream.config": ["StreamConfig"],
    "stream.events": ["EventStream", "subscribe"],
    "stream.patterns": ["LatestStream", "every", "history"],
    "stream.status": ["StreamStatus", "stream_status"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        value = getattr(importlib.import_module(f"chronostream.{_HOME_OF[name]}"), name)
    elif name in __all__:
        value = importlib.import_module(f"chronostream.{name}")
    else:
        raise AttributeError(f"module 'chronostream' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))

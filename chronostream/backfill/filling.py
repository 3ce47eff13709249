"""Events that somebody kept into a new ring, with the state that their own engine would have left with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from chronostream.backfill.replaying import open_new_ring
from chronostream.boundaries import last_boundary
from chronostream.clock import StopFlag, SystemClock
from chronostream.config import StreamConfig
from chronostream.event import Frequency
from chronostream.scheduler import FrequencyState, SchedulerState
from chronostream.state import Checkpoint, Description, Published, StateWriter

__all__ = ["fill"]


def fill(
    config: StreamConfig,
    parts: Iterable[npt.NDArray[np.void]],
    *,
    stop: StopFlag | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> int:
    """Publish events into a new stream, and close it; return how many they were.

    The stream is kept with all that belongs to it: ``chronostream run`` goes on behind the last event.

    Args:
        config: what the stream is to be; the events must be of its frequencies, zone and sequencer.
        parts: arrays of `EVENT_DTYPE`, shape ``(n,)``, in order. The first is asked for before anything is made.
        stop: ends it early when set, after a whole part.
        on_progress: called with the number of events, each time that some were published.

    Raises:
        StreamExistsError: there is such a stream, dead or closed.
        ProducerActiveError: there is, and it is live.
        StreamRemovedError: somebody deleted the stream meanwhile.
        OutOfSharedMemoryError: there is no room for it.
    """
    frequencies = tuple(Frequency.parse(frequency) for frequency in config.frequencies)
    coming = iter(parts)
    events = next(coming, None)
    producer = open_new_ring(config)
    published = dict.fromkeys(frequencies, Published())
    try:
        state = StateWriter(producer.application)
        state.describe(Description(frequencies, config.timezone, config.sequencer))
        while events is not None and not (stop is not None and stop.is_set()):
            producer.check()
            producer.publish_many(events)
            for frequency in map(Frequency, np.unique(events["frequency"])):
                last = events[events["frequency"] == frequency][-1]
                published[frequency] = Published(int(last["sequence"]), int(last["timestamp"]))
            if on_progress is not None:
                on_progress(len(events))
            events = next(coming, None)
        with SystemClock() as clock:
            realtime_ns, boottime_ns = clock.both_ns()
            reached_ns = max((last.timestamp for last in published.values() if last.sequence), default=realtime_ns)
            floors = tuple(
                FrequencyState(each, last_boundary(reached_ns, each, config.timezone), 0) for each in frequencies
            )
            now = SchedulerState(realtime_ns, boottime_ns, floors)
            state.save(Checkpoint(producer.head, clock.boot_id(), now, published))
        return producer.head
    finally:
        producer.close(unlink=config.remove)

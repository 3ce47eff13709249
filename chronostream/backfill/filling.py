"""Publish events of the past into a new stream, with the state that its own engine would have left there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import chain, islice

import numpy as np
import numpy.typing as npt

from chronostream.boundaries import last_boundary
from chronostream.calendar.calendar import Calendar
from chronostream.calendar.zones import ZoneData
from chronostream.clock import Clock, StopFlag, SystemClock
from chronostream.errors import InvalidTypeError, InvalidValueError, StreamExistsError
from chronostream.event import Frequency, checked_records
from chronostream.ring import Producer
from chronostream.scheduler import FrequencyState, SchedulerState
from chronostream.stream.config import StreamConfig, checked_config
from chronostream.stream.description import Description
from chronostream.stream.state import Checkpoint, Published, StateWriter, StreamZoneData

__all__ = ["fill"]

_Records = npt.NDArray[np.void]


def fill(
    config: StreamConfig,
    parts: Iterable[_Records],
    *,
    range_ns: tuple[int, int] | None = None,
    clock: Clock | None = None,
    stop: StopFlag | None = None,
    on_progress: Callable[[int], object] | None = None,
    zone_data: ZoneData | None = None,
) -> int:
    """Publish events into a new stream, and close it; return their number.

    The stream is kept, with its state, even if an error or `stop` ends this early: ``chronostream run`` continues it.

    Args:
        config: the stream's configuration; the events must be of its frequencies, zone and sequencer.
        parts: arrays of `EVENT_DTYPE`, shape ``(n,)``, in order. The first one is taken before the stream is made.
        range_ns: start and end, in Unix nanoseconds, of the time that the parts cover: once all are published,
            ``chronostream run`` continues at the end. None: it continues behind the last event; without one, from now.
        clock: whose readings are kept with the stream; `SystemClock` if not given.
        stop: ends it early when set, after a whole part.
        on_progress: called with the number of events each time that some were published.
        zone_data: those that the events were made with; those of this process if None.

    Raises:
        InvalidValueError: a part has events of frequencies that the stream does not have; nothing of it is published.
        StreamExistsError: the stream exists, dead or closed.
        ProducerActiveError: it exists, and is live.
        StreamRemovedError: it was deleted meanwhile.
        OutOfSharedMemoryError: there is no room for it.
    """
    checked_config(config)
    if isinstance(parts, np.ndarray) or not isinstance(parts, Iterable):
        raise InvalidTypeError(f"parts are {type(parts).__name__}, expected arrays of EVENT_DTYPE, one after another")
    coming = iter(parts)
    first = list(islice(coming, 1))
    stopped: Callable[[], bool] = (lambda: False) if stop is None else stop.is_set
    frequencies = Frequency.parse_all(config.frequencies)
    published = dict.fromkeys(frequencies, Published())
    with ExitStack() as opened:
        clock = opened.enter_context(SystemClock()) if clock is None else clock
        reached_ns = clock.realtime_ns() if range_ns is None else range_ns[0] - 1
        producer = config.open_ring(_refuse_takeover)
        opened.callback(producer.close, remove=config.remove)
        state = StateWriter(producer.application)
        state.describe(Description(frequencies, config.timezone, config.sequencer))
        state.save_zone_data(StreamZoneData(zone_data or Calendar.for_zone(config.timezone).zone_data))
        try:
            for events in chain(first, coming):
                if stopped():
                    break
                producer.check()
                latest = _latest(events, frequencies)
                producer.publish_many(events)
                if not latest:
                    continue
                published |= latest
                reached_ns = int(events["timestamp"][-1])
                if on_progress is not None:
                    on_progress(len(events))
            if range_ns is not None and not stopped():
                reached_ns = range_ns[1] - 1
            return producer.head
        finally:
            floors = [FrequencyState(each, last_boundary(reached_ns, each, config.timezone), 0) for each in frequencies]
            scheduler = SchedulerState(*clock.both_ns(), tuple(floors))
            state.save(Checkpoint(producer.head, clock.boot_id(), scheduler, published))


def _latest(events: _Records, frequencies: tuple[Frequency, ...]) -> dict[Frequency, Published]:
    """Return the last event of each frequency that has some; refuse those of other frequencies."""
    numbers = checked_records(events)["frequency"].copy()  # contiguous, because each frequency looks at all of them
    places = {frequency: np.flatnonzero(numbers == int(frequency)) for frequency in frequencies}
    if sum(map(len, places.values())) < len(events):
        foreign = sorted(set(numbers.tolist()) - set(frequencies))
        expected = ", ".join(frequency.label for frequency in frequencies)
        raise InvalidValueError(f"events have frequencies {foreign}, expected only the stream's: {expected}")
    last = {frequency: events[where[-1]] for frequency, where in places.items() if len(where)}
    return {frequency: Published(int(row["sequence"]), int(row["timestamp"])) for frequency, row in last.items()}


def _refuse_takeover(producer: Producer) -> None:
    if producer.taken_over:
        raise StreamExistsError(
            f"stream {producer.name!r} exists, and a new one was requested: use another name, or remove it first "
            f"(`chronostream remove {producer.name}`)"
        )

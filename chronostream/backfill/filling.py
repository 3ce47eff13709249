"""Events of the past into a ring of their own, with the state that their own engine would have left with them.

It does not know where the events come from, nor when each is due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, islice

import numpy as np
import numpy.typing as npt

from chronostream.calendar.boundaries import last_boundary
from chronostream.clock import Clock, Stop, StopFlag, SystemClock
from chronostream.errors import InvalidTypeError, InvalidValueError, StreamExistsError
from chronostream.event import Frequency, checked_records
from chronostream.ring import Producer
from chronostream.scheduler import FrequencyState, SchedulerState
from chronostream.stream.config import StreamConfig, checked_config
from chronostream.stream.state import Checkpoint, Description, Published, StateWriter

__all__ = ["fill", "fill_range"]

_Records = npt.NDArray[np.void]


def fill(
    config: StreamConfig,
    parts: Iterable[_Records],
    *,
    stop: StopFlag | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> int:
    """Publish events into a new stream, and close it; return how many they were.

    The stream is kept with all that belongs to it, whatever ends this: ``chronostream run`` goes on behind the last
    event.

    Args:
        config: what the stream is to be; the events must be of its frequencies, zone and sequencer.
        parts: arrays of `EVENT_DTYPE`, shape ``(n,)``, in order. The first is asked for before anything is made.
        stop: ends it early when set, after a whole part.
        on_progress: called with the number of events, each time that some were published.

    Raises:
        InvalidTypeError: the parts are no arrays of `EVENT_DTYPE`, or another argument is of the wrong kind.
        InvalidValueError: one has events of frequencies that the stream does not have; nothing of it is published.
        StreamExistsError: there is such a stream, dead or closed.
        ProducerActiveError: there is, and it is live.
        StreamRemovedError: somebody deleted the stream meanwhile.
        OutOfSharedMemoryError: there is no room for it.
    """
    checked_config(config)
    if isinstance(parts, np.ndarray) or not isinstance(parts, Iterable):
        raise InvalidTypeError(f"parts are {type(parts).__name__}, expected arrays of EVENT_DTYPE, one after another")
    coming = iter(parts)
    parts = chain(list(islice(coming, 1)), coming)
    with SystemClock() as clock, Stop() as never:
        wanted = never if stop is None else stop
        return fill_range(config, parts, clock.realtime_ns(), None, clock, wanted, on_progress)


def fill_range(
    config: StreamConfig,
    parts: Iterable[_Records],
    before_ns: int,
    last_ns: int | None,
    clock: Clock,
    stop: StopFlag,
    on_progress: Callable[[int], object] | None,
) -> int:
    """Do what `fill` does, with a stream that is there before the first part is asked for.

    Args:
        config: as for `fill`.
        parts: as for `fill`.
        before_ns: behind which instant an engine goes on if there are no events, Unix nanoseconds.
        last_ns: behind which it goes on if all of them were published; None: the last event.
        clock: whose readings are kept with the stream.
        stop: as for `fill`.
        on_progress: as for `fill`.

    Raises:
        ChronoStreamError: as for `fill`.
    """
    frequencies = Frequency.parse_all(config.frequencies)
    published = dict.fromkeys(frequencies, Published())
    reached_ns = before_ns
    producer = config.open_ring(_refuse_takeover)
    try:
        state = StateWriter(producer.application)
        state.describe(Description(frequencies, config.timezone, config.sequencer))
        try:
            for events in parts:
                if stop.is_set():
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
            if last_ns is not None and not stop.is_set():
                reached_ns = last_ns
            return producer.head
        finally:
            floors = [FrequencyState(each, last_boundary(reached_ns, each, config.timezone), 0) for each in frequencies]
            scheduler = SchedulerState(*clock.both_ns(), tuple(floors))
            state.save(Checkpoint(producer.head, clock.boot_id(), scheduler, published))
    finally:
        producer.close(unlink=config.remove)


def _latest(events: _Records, frequencies: tuple[Frequency, ...]) -> dict[Frequency, Published]:
    """Return the last event of each frequency that has some; refuse those of other frequencies."""
    numbers = checked_records(events)["frequency"].copy()  # to look at several times: side by side, they are quicker
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
            f"stream {producer.name!r} exists, and a new one was asked for: use another name, or remove it first "
            f"(`chronostream remove {producer.name}`)"
        )

"""Verify what a ring holds of a stream, live or closed, by the description that its producer keeps there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from chronostream._renamed import renamed
from chronostream._values import Instant, open_range, utc_text
from chronostream.backfill.expectation import CHUNK
from chronostream.backfill.report import Report
from chronostream.backfill.verification import verify
from chronostream.calendar.calendar import Calendar
from chronostream.calendar.order import in_range
from chronostream.errors import InvalidValueError, LostError
from chronostream.event import Frequency
from chronostream.ring import Consumer
from chronostream.stream.config import SequencerKind
from chronostream.stream.description import Description
from chronostream.stream.events import require_events
from chronostream.stream.state import StreamZoneData, open_state

__all__ = ["verify_stream"]

_log = logging.getLogger(__name__)


@renamed(tz="timezone", version="producer_version", instance="instance_id")
def verify_stream(
    name: str,
    start_ns: Instant | None = None,
    end_ns: Instant | None = None,
    *,
    frequencies: Iterable[Frequency | str | int] | None = None,
    timezone: str | None = None,
    sequencer: SequencerKind | None = None,
    producer_version: str | None = None,
    instance_id: str | None = None,
    allow_missed: bool = False,
    limit: int = 1000,
    any_owner: bool = False,
    on_progress: Callable[[int], object] | None = None,
) -> Report:
    """Compare what a stream's ring holds now with what it must be by this host's zone data.

    A warning in the log says if the stream has other zone data. With counted sequences, a missed boundary shows only in
    the stream's count: at most so many may be without an event.

    By default the range is that of the events in the ring, and `frequencies`, `timezone` and `sequencer` are those of
    the stream. With `allow_missed`, as many events of a boundary sequencer may be absent as the stream counts as
    missed. `on_progress` is called with the number of events each time that some were compared. The other arguments are
    those of `verify` and `chronostream.subscribe`.

    Raises:
        LostError: events were overwritten while they were compared.
        InvalidValueError: neither the stream nor the arguments describe the stream.
        ChronoStreamError: as for `chronostream.subscribe`.
    """
    low_ns, high_ns = open_range(start_ns, end_ns)
    with require_events(Consumer.attach(name, register=False, any_owner=any_owner)) as consumer:
        state = open_state(consumer)
        known = None if state is None else state.description()
        chosen = None if frequencies is None else Frequency.parse_all(frequencies)
        if known is None and chosen is None:
            raise InvalidValueError(f"stream {name!r} does not say what it is: give its frequencies, and its zone")
        description = known or Description(chosen or (), "UTC", "boundary")
        if state is not None and timezone in (None, description.timezone):
            _compare_zone_data(name, state.zone_data())
        chosen = chosen or description.frequencies
        kind: Any = description.sequencer if sequencer is None else sequencer
        is_engines = known is not None and known.source is None
        with_missed = is_engines and (allow_missed or kind == "counting")
        left_out = [frequency for frequency in description.frequencies if frequency not in chosen]
        # Filled when all events are read: by then, the stream has counted what it missed among them.
        missed: dict[Frequency, int] = {}

        def records() -> Iterator[npt.NDArray[np.void]]:
            for events in _read(consumer):
                inside = ~np.isin(events["frequency"], left_out) & in_range(events, low_ns, high_ns)
                yield events if inside.all() else events[inside]
                if on_progress is not None:
                    on_progress(len(events))
            checkpoint = None if state is None else state.checkpoint()
            if checkpoint is not None:
                missed.update((kept.frequency, kept.missed) for kept in checkpoint.scheduler.frequencies)

        return verify(
            records(),
            chosen,
            low_ns,
            high_ns,
            timezone=description.timezone if timezone is None else timezone,
            sequencer=kind,
            producer_version=producer_version,
            instance_id=instance_id,
            missed=missed if with_missed else None,
            limit=limit,
        )


def _compare_zone_data(name: str, found: StreamZoneData | None) -> None:
    """Log if the stream has other zone data than this host, or once had."""
    if found is None:
        return
    here = Calendar.for_zone(found.current.timezone).zone_data
    if difference := found.current.difference(here, name):
        _log.warning("%s; what they must be follows from this host's", difference)
    if found.replaced is not None:
        before = (
            f"the events of {name} before {utc_text(found.replaced_at_ns)} were made with zone data {found.replaced}"
        )
        _log.warning("%s; what they must be follows from this host's, %s", before, here)


def _read(consumer: Consumer) -> Iterator[npt.NDArray[np.void]]:
    """Yield the events that the ring holds now, and none that come later."""
    end = consumer.position + consumer.lag
    lost = None
    while consumer.position < end:
        position = consumer.position
        events = consumer.read(min(CHUNK, end - position))
        if lost is not None and consumer.lost > lost:
            raise LostError(position, position + consumer.lost - lost - 1)
        lost = consumer.lost
        yield events

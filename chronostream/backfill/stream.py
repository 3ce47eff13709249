"""Verify a stream as it stands in its ring, live or closed, by what its engine says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from chronostream.backfill.expectation import CHUNK
from chronostream.backfill.report import Report
from chronostream.backfill.verification import verify
from chronostream.errors import InvalidValueError, LostError
from chronostream.event import Frequency
from chronostream.ring import Consumer
from chronostream.stream.config import SequencerKind
from chronostream.stream.description import Description
from chronostream.stream.events import require_events
from chronostream.stream.state import open_state

__all__ = ["verify_stream"]


def verify_stream(
    name: str,
    start_ns: int | None = None,
    end_ns: int | None = None,
    *,
    frequencies: Iterable[Frequency | str | int] | None = None,
    tz: str | None = None,
    sequencer: SequencerKind | None = None,
    version: str | None = None,
    instance: str | None = None,
    allow_missed: bool = False,
    limit: int = 1000,
    any_owner: bool = False,
    on_progress: Callable[[int], object] | None = None,
) -> Report:
    """Compare what a stream's ring holds at this moment with what it must be.

    With counted sequences, boundaries that were missed leave no mark but the stream's count of them: no more than it
    says may be without an event.

    Args:
        name: of the stream.
        start_ns: only events from here on, Unix nanoseconds; from the oldest that the ring holds by default.
        end_ns: only events before; up to the newest by default.
        frequencies: only events of these; all that the stream says it has by default.
        tz: IANA zone of hours and days; as the stream says by default.
        sequencer: ``"boundary"`` or ``"counting"``; as the stream says by default.
        version: the version text that each event must carry; any by default.
        instance: the instance that each event must carry; any by default.
        allow_missed: of a boundary sequencer's events, let as many be absent as the stream says that it missed.
        limit: how many faults to describe; all are counted.
        any_owner: also trust a stream that another user made.
        on_progress: called with a number of events, each time that some were compared.

    Raises:
        StreamNotFoundError: there is no such stream.
        LayoutMismatchError: the ring of that name does not carry events.
        LostError: events were overwritten while they were compared.
        InvalidValueError: the stream does not say what it is and neither do the arguments, or as for `verify`.
        CorruptSegmentError: its segment is damaged, or another program's.
        AccessDeniedError: it is another user's.
    """
    with require_events(Consumer.attach(name, register=False, any_owner=any_owner)) as consumer:
        state = open_state(consumer)
        described = None if state is None else state.description()
        if frequencies is not None:
            chosen = Frequency.parse_all(frequencies)
        elif described is not None:
            chosen = described.frequencies
        else:
            raise InvalidValueError(f"stream {name!r} does not say what it is: give its frequencies, and its zone")
        said = described or Description(chosen, "UTC", "boundary")
        kind: Any = said.sequencer if sequencer is None else sequencer
        of_engine = described is not None and described.source is None
        with_missed = of_engine and (allow_missed or kind == "counting")
        left_out = [frequency for frequency in said.frequencies if frequency not in chosen]
        # Filled when all is read: whatever was missed among what was read is counted by then.
        missed: dict[Frequency, int] = {}

        def records() -> Iterator[npt.NDArray[np.void]]:
            for events in _read(consumer):
                inside = ~np.isin(events["frequency"], left_out)
                if start_ns is not None:
                    inside &= events["timestamp"] >= start_ns
                if end_ns is not None:
                    inside &= events["timestamp"] < end_ns
                yield events if inside.all() else events[inside]
                if on_progress is not None:
                    on_progress(len(events))
            checkpoint = None if state is None else state.checkpoint()
            if checkpoint is not None:
                missed.update((kept.frequency, kept.missed) for kept in checkpoint.scheduler.frequencies)

        return verify(
            records(),
            chosen,
            start_ns,
            end_ns,
            tz=said.timezone if tz is None else tz,
            sequencer=kind,
            version=version,
            instance=instance,
            missed=missed if with_missed else None,
            limit=limit,
        )


def _read(consumer: Consumer) -> Iterator[npt.NDArray[np.void]]:
    """Yield what the ring holds now, and nothing that comes later."""
    end = consumer.position + consumer.lag
    lost = None
    while consumer.position < end:
        position = consumer.position
        events = consumer.read(min(CHUNK, end - position))
        if lost is not None and consumer.lost > lost:
            raise LostError(position, position + consumer.lost - lost - 1)
        lost = consumer.lost
        yield events

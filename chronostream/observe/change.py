"""What happened between two looks at the streams: rates, recent lateness, losses. Pure: numbers from numbers."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from chronostream._values import SECOND_NS
from chronostream.observe.survey import Survey
from chronostream.ring import ConsumerStatus
from chronostream.stream.lateness import percentile_ns
from chronostream.stream.status import FrequencyStatus, Lateness, StreamStatus

__all__ = ["ConsumerChange", "FrequencyChange", "History", "StreamChange", "changes"]


@dataclass(frozen=True, slots=True)
class FrequencyChange:
    """One frequency of a stream, and what happened to it since the look before.

    Attributes:
        now: its status.
        missed: boundaries missed since.
        recent: lateness of the events since; None if there was none.
    """

    now: FrequencyStatus
    missed: int
    recent: Lateness | None


@dataclass(frozen=True, slots=True)
class ConsumerChange:
    """One registered consumer, and what happened to it since the look before.

    Attributes:
        now: its status.
        fill: its lag as a part of the ring, 0 to 1; at 1 it loses records.
        lost: records lost since.
        rate: records per second that it read; None if it was not there before.
    """

    now: ConsumerStatus
    fill: float
    lost: int
    rate: float | None


@dataclass(frozen=True, slots=True)
class StreamChange:
    """One stream, and what happened to it since the look before.

    Attributes:
        now: its status.
        rate: records per second that were published; None if it was not there before.
        frequencies: one for each, the shortest first; none for a ring without an engine.
        consumers: one for each that is registered.
    """

    now: StreamStatus
    rate: float | None
    frequencies: tuple[FrequencyChange, ...]
    consumers: tuple[ConsumerChange, ...]


class History:
    """Keeps surveys as long as they are needed to say what happened in the last `window_s` seconds."""

    def __init__(self, window_s: float = 10.0) -> None:
        self.window_s = window_s
        self._surveys: deque[Survey] = deque()

    def add(self, now: Survey) -> tuple[StreamChange, ...]:
        """Return what happened within the window before this survey, and keep it."""
        start_ns = now.monotonic_ns - self.window_s * SECOND_NS
        # The window starts at the last survey before it, if there is one, so that it is not too short.
        while len(self._surveys) > 1 and self._surveys[1].monotonic_ns <= start_ns:
            self._surveys.popleft()
        self._surveys.append(now)
        return changes(self._surveys[0], now)


def changes(before: Survey, after: Survey) -> tuple[StreamChange, ...]:
    """Return the status of the streams of `after`, and what happened to them since `before`."""
    known = {stream.ring.name: stream for stream in before.streams}
    elapsed_s = (after.monotonic_ns - before.monotonic_ns) / SECOND_NS
    return tuple(_stream(known.get(stream.ring.name), stream, elapsed_s) for stream in after.streams)


def _stream(before: StreamStatus | None, now: StreamStatus, elapsed_s: float) -> StreamChange:
    if before is not None and _made_again(before, now):
        before = None
    frequencies = {past.frequency: past for past in before.engine.frequencies} if before and before.engine else {}
    # A slot in the table of consumers, and the time at which it was taken, are one consumer.
    consumers = {(past.slot, past.started_ns): past for past in before.ring.consumers} if before else {}
    old_head, head = before.ring.head if before else 0, now.ring.head

    def consumer(known: ConsumerStatus) -> ConsumerChange:
        fill, past = min(1.0, known.lag / now.ring.capacity), consumers.get((known.slot, known.started_ns))
        if past is None:
            return ConsumerChange(known, fill, 0, None)
        lost = max(0, known.lost - past.lost)
        passed = (head - known.lag) - (old_head - past.lag)
        return ConsumerChange(known, fill, lost, _rate(max(0, passed - lost), elapsed_s))

    current = now.engine.frequencies if now.engine else ()
    return StreamChange(
        now,
        _rate(head - old_head, elapsed_s) if before else None,
        tuple(_frequency(frequencies.get(known.frequency), known) for known in current),
        tuple(map(consumer, now.ring.consumers)),
    )


def _made_again(before: StreamStatus, now: StreamStatus) -> bool:
    """Return whether the stream was removed and made again in between."""
    old, new = before.ring, now.ring
    return old.dtype != new.dtype or new.head < old.head or new.generation < old.generation


def _frequency(before: FrequencyStatus | None, now: FrequencyStatus) -> FrequencyChange:
    if before is None or now.lateness is None:
        return FrequencyChange(now, 0, None)
    counts = now.lateness.counts
    if before.lateness is not None:
        counts = counts - np.minimum(counts, before.lateness.counts)
    # The exact maximum within the window is not known: it is in the highest bucket, and at most that of all time.
    largest_ns = min(percentile_ns(counts, 100) or 0, now.lateness.max_ns)
    return FrequencyChange(now, max(0, now.missed - before.missed), Lateness.from_counts(counts, largest_ns))


def _rate(count: int, elapsed_s: float) -> float | None:
    return count / elapsed_s if elapsed_s > 0 else None

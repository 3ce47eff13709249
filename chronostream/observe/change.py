"""What happened between two looks at the streams: rates, lateness of late, losses. Pure: numbers from numbers."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
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
    """One frequency of a stream, and what became of it since the look before.

    Attributes:
        now: how it is.
        missed: boundaries missed since.
        recent: lateness of the events since; None if there was none.
    """

    now: FrequencyStatus
    missed: int
    recent: Lateness | None


@dataclass(frozen=True, slots=True)
class ConsumerChange:
    """One registered consumer, and what became of it since the look before.

    Attributes:
        now: how it is.
        fill: its lag as a part of the ring, 0 to 1; at 1 it loses records.
        lost: records lost since.
        rate: records that it read in a second; None if it was not there before.
    """

    now: ConsumerStatus
    fill: float
    lost: int
    rate: float | None


@dataclass(frozen=True, slots=True)
class StreamChange:
    """One stream, and what became of it since the look before.

    Attributes:
        now: how it is.
        rate: records published in a second; None if it was not there before.
        frequencies: one for each, the shortest first; none for a ring that no engine writes.
        consumers: one for each that is registered.
    """

    now: StreamStatus
    rate: float | None
    frequencies: tuple[FrequencyChange, ...]
    consumers: tuple[ConsumerChange, ...]


class History:
    """Remembers surveys as long as they are needed to say what happened in the last `window_s` seconds."""

    def __init__(self, window_s: float = 10.0) -> None:
        self.window_s = window_s
        self._surveys: deque[Survey] = deque()

    def add(self, now: Survey) -> tuple[StreamChange, ...]:
        """Return what happened within the window before this survey, and remember it."""
        start_ns = now.monotonic_ns - self.window_s * SECOND_NS
        # The window begins at the last survey before it, if there is one, so that it is not shorter than asked for.
        while len(self._surveys) > 1 and self._surveys[1].monotonic_ns <= start_ns:
            self._surveys.popleft()
        self._surveys.append(now)
        return changes(self._surveys[0], now)


def changes(before: Survey, after: Survey) -> tuple[StreamChange, ...]:
    """Return how the streams of `after` are, and what happened to them since `before`."""
    known = {stream.ring.name: stream for stream in before.streams}
    elapsed_s = (after.monotonic_ns - before.monotonic_ns) / SECOND_NS
    return tuple(_stream(_same(known.get(stream.ring.name), stream), stream, elapsed_s) for stream in after.streams)


def _same(before: StreamStatus | None, now: StreamStatus) -> StreamStatus | None:
    """Return the earlier status, unless the stream was removed and made anew since."""
    if before is None or before.ring.dtype != now.ring.dtype:
        return None
    younger = now.ring.head < before.ring.head or now.ring.generation < before.ring.generation
    return None if younger else before


def _stream(before: StreamStatus | None, now: StreamStatus, elapsed_s: float) -> StreamChange:
    engine_before = before.engine if before else None
    frequencies = {known.frequency: known for known in engine_before.frequencies} if engine_before else {}
    readers = before.ring.consumers if before else ()
    return StreamChange(
        now=now,
        rate=_rate(now.ring.head - before.ring.head, elapsed_s) if before else None,
        frequencies=tuple(
            _frequency(frequencies.get(known.frequency), known)
            for known in (now.engine.frequencies if now.engine else ())
        ),
        consumers=tuple(
            _consumer(_reader(readers, consumer), before.ring.head if before else 0, consumer, now, elapsed_s)
            for consumer in now.ring.consumers
        ),
    )


def _frequency(before: FrequencyStatus | None, now: FrequencyStatus) -> FrequencyChange:
    if before is None or now.lateness is None:
        return FrequencyChange(now, 0, None)
    counts = now.lateness.counts
    if before.lateness is not None:
        counts = counts - np.minimum(counts, before.lateness.counts)
    # A window has no exact maximum of its own: its highest bucket, which the maximum of all time may cut short.
    largest_ns = min(percentile_ns(counts, 100) or 0, now.lateness.max_ns)
    return FrequencyChange(now, max(0, now.missed - before.missed), Lateness.from_counts(counts, largest_ns))


def _consumer(
    before: ConsumerStatus | None, head_before: int, now: ConsumerStatus, stream: StreamStatus, elapsed_s: float
) -> ConsumerChange:
    fill = min(1.0, now.lag / stream.ring.capacity)
    if before is None:
        return ConsumerChange(now, fill, 0, None)
    lost = max(0, now.lost - before.lost)
    passed = (stream.ring.head - now.lag) - (head_before - before.lag)
    return ConsumerChange(now, fill, lost, _rate(max(0, passed - lost), elapsed_s))


def _reader(before: Sequence[ConsumerStatus], now: ConsumerStatus) -> ConsumerStatus | None:
    """Return the earlier status of a consumer: the same slot in the table, taken at the same time."""
    return next((old for old in before if (old.slot, old.started_ns) == (now.slot, now.started_ns)), None)


def _rate(count: int, elapsed_s: float) -> float | None:
    return count / elapsed_s if elapsed_s > 0 else None

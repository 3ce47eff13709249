"""The status of a stream of events: its ring from outside, and what its engine says of itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from chronostream import ring
from chronostream.errors import CorruptSegmentError
from chronostream.event import EVENT_DTYPE, Frequency
from chronostream.ring import Consumer, RingStatus
from chronostream.stream.lateness import percentile_ns
from chronostream.stream.origin import Freshness, MirrorDescription, OriginReader
from chronostream.stream.state import Description, StateReader

__all__ = [
    "EngineStatus",
    "FrequencyStatus",
    "Lateness",
    "MirrorStatus",
    "StreamStatus",
    "describe",
    "description_of",
    "stream_status",
]

_PERCENTILES = (50, 99, 99.9)


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late the events of a frequency became visible, in nanoseconds.

    The percentiles are exact to within 6.25 % up to 73 minutes; beyond that they are 73 minutes. The maximum is exact.

    Attributes:
        counts: events per bucket of `chronostream.stream.lateness`, shape ``(BUCKETS,)``.
    """

    p50_ns: int
    p99_ns: int
    p99_9_ns: int
    max_ns: int
    counts: npt.NDArray[np.uint64] = field(repr=False, compare=False)

    @classmethod
    def of(cls, counts: npt.NDArray[np.uint64], largest_ns: int) -> Self | None:
        """Return the percentiles of a histogram whose largest lateness is known; None without events."""
        p50, p99, p99_9 = (percentile_ns(counts, percent) for percent in _PERCENTILES)
        if p50 is None or p99 is None or p99_9 is None:
            return None
        return cls(min(p50, largest_ns), min(p99, largest_ns), min(p99_9, largest_ns), largest_ns, counts)


@dataclass(frozen=True, slots=True)
class FrequencyStatus:
    """One frequency of a stream.

    Attributes:
        frequency: which one.
        last_timestamp: boundary of its last event, Unix nanoseconds; None before the first.
        last_sequence: that event's sequence; None before the first.
        missed: boundaries that were never emitted.
        lateness: of all its events; None before the first.
    """

    frequency: Frequency
    last_timestamp: int | None
    last_sequence: int | None
    missed: int
    lateness: Lateness | None


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What an engine says of itself.

    Attributes:
        timezone: IANA zone of hours and days.
        sequencer: ``"counting"`` or ``"boundary"``.
        condition: ``"running"``, ``"holding"``, ``"held"`` or ``"quarantined"`` (docs/time.md).
        counts: how often each kind of situation occurred in this run.
        frequencies: one entry for each, the shortest first.
    """

    timezone: str
    sequencer: str
    condition: str
    counts: dict[str, int]
    frequencies: tuple[FrequencyStatus, ...]


@dataclass(frozen=True, slots=True)
class MirrorStatus:
    """What a mirror says of itself.

    Attributes:
        description: what it mirrors.
        freshness: how fresh it is; only as good as the mirror's own process (the ring's state says if that lives).
    """

    description: MirrorDescription
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stream at one moment.

    Attributes:
        ring: the ring under it.
        engine: what its engine says; None for a ring that carries something else than events, or events of no engine
            that this version knows.
        mirror: what its mirror says; None for a ring that no mirror writes.
    """

    ring: RingStatus
    engine: EngineStatus | None
    mirror: MirrorStatus | None = None

    @property
    def description(self) -> Description | None:
        """What the stream is, by its engine or its mirror; None if neither says."""
        if self.engine is not None:
            frequencies = tuple(each.frequency for each in self.engine.frequencies)
            return Description(frequencies, self.engine.timezone, self.engine.sequencer)
        return None if self.mirror is None else _description(self.mirror)

    def as_dict(self) -> dict[str, Any]:
        """Return the same as plain values for JSON."""
        plain = asdict(self.ring) | {"dtype": str(self.ring.dtype), "core": ring.CORE}
        if self.mirror is not None:
            mirror = asdict(self.mirror.description) | asdict(self.mirror.freshness)
            plain["mirror"] = mirror | {"frequencies": [each.label for each in self.mirror.description.frequencies]}
        if self.engine is None:
            return plain
        engine = asdict(self.engine)
        engine["frequencies"] = {entry.pop("frequency").label: entry for entry in engine["frequencies"]}
        for entry in engine["frequencies"].values():
            if entry["lateness"] is not None:
                del entry["lateness"]["counts"]  # some hundred numbers that nobody reads
        return plain | engine


def stream_status(name: str, *, any_owner: bool = False) -> StreamStatus:
    """Return the status of the stream `name`.

    Raises:
        StreamNotFoundError: there is none.
        CorruptSegmentError: its segment is damaged, or another program's.
        LayoutMismatchError: it was made by another version of the layout.
        AccessDeniedError: it is another user's and `any_owner` is false, or its mode keeps this process out.
    """
    ring_status = ring.inspect(name, any_owner=any_owner)
    if ring_status.dtype != EVENT_DTYPE:
        return StreamStatus(ring_status, None)
    with Consumer.attach(name, register=False, any_owner=any_owner) as consumer:
        mirror = _mirror_status(consumer.application)
        if mirror is not None:
            return StreamStatus(ring_status, None, mirror)
        try:
            return StreamStatus(ring_status, _engine_status(StateReader(consumer.application)))
        except CorruptSegmentError:
            return StreamStatus(ring_status, None)  # A ring of events that no engine writes, such as a replay.


def describe(area: memoryview) -> Description | None:
    """Return what the stream with this application area is, by its engine or its mirror; None if neither says.

    Raises:
        CorruptSegmentError: it was written by another version, or is damaged.
    """
    mirror = _mirror_status(area)
    if mirror is not None:
        return _description(mirror)
    try:
        state = StateReader(area)
    except CorruptSegmentError:
        return None  # Too small to be an engine's.
    return state.description()


def description_of(consumer: Consumer) -> Description | None:
    """Return what the stream is that a consumer reads, whatever it carries; None if nobody says."""
    if consumer.dtype != EVENT_DTYPE:
        return None
    try:
        return describe(consumer.application)
    except CorruptSegmentError:
        return None  # Of another version, or not an engine's at all: then what it carries must do.


def _description(mirror: MirrorStatus) -> Description:
    of = mirror.description
    return Description(of.frequencies, of.timezone, of.sequencer)


def _mirror_status(area: memoryview) -> MirrorStatus | None:
    try:
        origin = OriginReader(area)
    except CorruptSegmentError:
        return None
    description = origin.description()
    return None if description is None else MirrorStatus(description, origin.freshness())


def _engine_status(state: StateReader) -> EngineStatus | None:
    description, checkpoint = state.description(), state.checkpoint()
    if description is None or checkpoint is None:
        return None
    condition, counts = state.condition()
    return EngineStatus(
        timezone=description.timezone,
        sequencer=description.sequencer,
        condition=condition.value,
        counts={kind.label: count for kind, count in counts.items()},
        frequencies=tuple(
            FrequencyStatus(
                frequency=known.frequency,
                last_timestamp=last.timestamp if last.sequence else None,
                last_sequence=last.sequence or None,
                missed=known.missed,
                lateness=Lateness.of(*state.lateness(known.frequency)),
            )
            for known in checkpoint.scheduler.frequencies
            for last in [checkpoint.published[known.frequency]]
        ),
    )

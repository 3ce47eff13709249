"""The status of a stream: its ring, and what its producer keeps with it, both read from one open segment."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from chronostream import ring
from chronostream._values import SECOND_NS
from chronostream.calendar.calendar import Calendar
from chronostream.calendar.zones import ZoneData, zone_data
from chronostream.clock import Clock, SystemClock
from chronostream.errors import ChronoStreamError, CorruptSegmentError, InvalidValueError
from chronostream.event import Frequency
from chronostream.ring import Consumer, RingStatus
from chronostream.scheduler import Condition
from chronostream.stream.description import Description
from chronostream.stream.lateness import percentile_ns
from chronostream.stream.state import Checkpoint, Freshness, Published, StateReader, StreamZoneData, open_state

__all__ = ["EngineStatus", "FrequencyStatus", "Lateness", "StreamStatus", "stream_status"]

_PERCENTILES = (50, 99, 99.9)
# An event is overdue when it is later than this. Even a very busy machine wakes a process sooner.
_OVERDUE_NS = 5 * SECOND_NS
_CLOCK: Clock = SystemClock("sleep")  # without a timer, because it only reads


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
    def from_counts(cls, counts: npt.NDArray[np.uint64], largest_ns: int) -> Self | None:
        """Return the percentiles of a histogram whose largest lateness is known; None without events."""
        if not counts.any():
            return None
        p50, p99, p99_9 = (min(percentile_ns(counts, percent) or 0, largest_ns) for percent in _PERCENTILES)
        return cls(p50, p99, p99_9, largest_ns, counts)


@dataclass(frozen=True, slots=True)
class FrequencyStatus:
    """One frequency of a stream.

    Attributes:
        last_timestamp: boundary of its last event, Unix nanoseconds; None before the first.
        last_sequence: that event's sequence; None before the first.
        missed: how many boundaries were never emitted.
        lateness: of all its events; None before the first.
    """

    frequency: Frequency
    last_timestamp: int | None
    last_sequence: int | None
    missed: int
    lateness: Lateness | None


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """How an engine is.

    Attributes:
        condition: ``"running"``, ``"holding"``, ``"held"`` or ``"quarantined"`` (docs/time.md).
        counts: how often each kind of notice occurred in this run.
    """

    condition: str
    counts: dict[str, int]
    frequencies: tuple[FrequencyStatus, ...]


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stream at one moment.

    Attributes:
        ring: the ring under it.
        description: what it is; None for a ring of something else, and for events that no engine or mirror writes.
        engine: how its engine is; None if it has none, or one that has not begun.
        freshness: how fresh it is; None if it is not a mirror. If the mirror hangs or died, the stream is stale since
            its last look; if it does not run, it is not connected.
        error: why the state that its producer keeps cannot be read: another version wrote it, or it is damaged.
        overdue_since_ns: since when the next event of a live stream is overdue, Unix nanoseconds: its producer hangs,
            or nothing reaches its mirror. None if no event is overdue.
        zone_data: which zone data it has, a mirror those of its source; None if that is not known.
        zone_difference: how they differ from those that this host has on disk now; None if they agree.
    """

    ring: RingStatus
    description: Description | None = None
    engine: EngineStatus | None = None
    freshness: Freshness | None = None
    error: str | None = None
    overdue_since_ns: int | None = None
    zone_data: StreamZoneData | None = None
    zone_difference: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the same as plain values for JSON."""
        plain = asdict(self.ring) | {"dtype": str(self.ring.dtype), "core": ring.CORE}
        plain["overdue_since_ns"] = self.overdue_since_ns
        if self.error is not None:
            plain["error"] = self.error
        if self.description is None:
            return plain
        about = {"timezone": self.description.timezone, "sequencer": self.description.sequencer}
        source = self.description.source
        if source is not None and self.freshness is not None:
            plain["mirror"] = {
                "source": source.name,
                "stream": source.stream,
                "frequencies": [frequency.label for frequency in self.description.frequencies],
                **about,
                "zone_data": source.zone_data,
                "stale": self.freshness.stale,
                **asdict(self.freshness),
            }
        if self.engine is None:
            return plain
        if (zones := self.zone_data) is not None:
            plain["zone_data"] = {
                "current": str(zones.current),
                "replaced": zones.replaced and str(zones.replaced),
                "replaced_at_ns": zones.replaced_at_ns or None,
                "on_disk": zones.on_disk and str(zones.on_disk),
                "difference": self.zone_difference,
            }
        engine = asdict(self.engine)
        engine["frequencies"] = {entry.pop("frequency").label: entry for entry in engine["frequencies"]}
        for entry in engine["frequencies"].values():
            if entry["lateness"] is not None:
                del entry["lateness"]["counts"]  # several hundred numbers, too many for a person
        return plain | about | engine


def stream_status(name: str, *, any_owner: bool = False) -> StreamStatus:
    """Return the status of the stream `name`, whatever its records are; errors as for `Consumer.attach`."""
    # The clocks first: if this process stalls behind this line, no event seems overdue that was not.
    realtime_ns, boottime_ns = _CLOCK.both_ns()
    with Consumer.attach(name, register=False, any_owner=any_owner) as consumer:
        found, state, description = consumer.status(), open_state(consumer), None
        try:
            if state is None or (description := state.description()) is None:
                return StreamStatus(found)
            known = state.zone_data()
            difference = None if known is None else _difference(known.current, name)
            status = StreamStatus(found, description, zone_data=known, zone_difference=difference)
            overdue_ns = None
            if description.source is not None:
                freshness = _judged(state.freshness(), found, realtime_ns)
                if _had_time(found):
                    overdue_ns = freshness.stale_since_ns
                return replace(status, freshness=freshness, overdue_since_ns=overdue_ns)
            checkpoint = state.checkpoint()
            engine = _engine_status(state, description, checkpoint)
            if engine and checkpoint and engine.condition != "quarantined" and _had_time(found):
                overdue_ns = _overdue_boundary_ns(description.timezone, checkpoint, realtime_ns, boottime_ns)
            return replace(status, engine=engine, overdue_since_ns=overdue_ns)
        except CorruptSegmentError as error:
            return StreamStatus(found, description, error=str(error))


def _difference(current: ZoneData, name: str) -> str | None:
    try:
        return current.difference(zone_data(current.timezone), name)
    except InvalidValueError as error:
        return str(error)


def _engine_status(state: StateReader, description: Description, checkpoint: Checkpoint | None) -> EngineStatus | None:
    condition, counts = state.condition()
    missed, published = dict.fromkeys(description.frequencies, 0), dict.fromkeys(description.frequencies, Published())
    if checkpoint is not None:
        missed = {known.frequency: known.missed for known in checkpoint.scheduler.frequencies}
        published = checkpoint.published
    elif condition is not Condition.QUARANTINED:  # A new stream whose clock is not believed yet has no checkpoint.
        return None
    return EngineStatus(
        condition=condition.value,
        counts={kind.label: count for kind, count in counts.items()},
        frequencies=tuple(
            FrequencyStatus(
                frequency=frequency,
                last_timestamp=last.timestamp if last.sequence else None,
                last_sequence=last.sequence or None,
                missed=missed[frequency],
                lateness=Lateness.from_counts(*state.lateness(frequency)),
            )
            for frequency, last in published.items()
        ),
    )


def _had_time(found: RingStatus) -> bool:
    """Return whether a producer lives, and had time to emit what was due when it took over."""
    return found.state == "live" and not 0 <= _CLOCK.realtime_ns() - found.started_ns <= _OVERDUE_NS


def _overdue_boundary_ns(timezone: str, checkpoint: Checkpoint, realtime_ns: int, boottime_ns: int) -> int | None:
    """Return which boundary an engine should have emitted by now; None if it may still be in time.

    Both clocks must have passed it. By the wall clock alone, an event would be overdue when that clock is set forward;
    by the boot clock alone, while the wall clock is behind.
    """
    if checkpoint.boot_id != _CLOCK.boot_id():
        return None
    saved = checkpoint.scheduler
    try:
        calendar = Calendar.for_zone(timezone)
        next_ns = min(calendar.next(known.frequency, known.floor_ns) for known in saved.frequencies)
    except ChronoStreamError:  # There is no later boundary, or this process has no data of the zone.
        return None
    due_boottime_ns = saved.boottime_ns + max(0, next_ns - saved.realtime_ns)
    late_ns = min(realtime_ns - next_ns, boottime_ns - due_boottime_ns)
    return next_ns if late_ns > _OVERDUE_NS else None


def _judged(freshness: Freshness, found: RingStatus, realtime_ns: int) -> Freshness:
    """Return how fresh a mirrored stream is now, by what its mirror wrote and by when it last looked."""
    if found.state == "closed":
        return replace(freshness, connected=False)  # It was stopped on purpose.
    hangs = _had_time(found) and realtime_ns - freshness.checked_ns > _OVERDUE_NS
    if found.state == "dead" or hangs:
        since_ns = freshness.checked_ns if freshness.stale_since_ns is None else freshness.stale_since_ns
        return replace(freshness, stale_since_ns=since_ns, connected=False)
    return freshness

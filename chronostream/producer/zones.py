"""The zone data of an engine's stream: what a change of them means for it, and whether those on disk changed.

The rules are in docs/time.md, "Zone data". The engine writes the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from chronostream._values import utc_text
from chronostream.calendar.calendar import Calendar
from chronostream.calendar.sequencer import Sequencer
from chronostream.calendar.zones import zone_data
from chronostream.errors import InvalidValueError
from chronostream.event import Frequency
from chronostream.scheduler import SchedulerState
from chronostream.stream.state import Published, StreamZoneData

__all__ = ["ZoneWatch", "barred_boundaries", "behind_published", "missed_between"]

# Two releases of a zone's data may differ by this many days: a move of the date line is one.
_MOST_DAYS = 3


class ZoneWatch:
    """Compares the zone data that an engine uses with those that its stream had before, and with those on disk.

    `kept` is what the stream has, None if that is not known; `is_new` says that the stream has just been made.

    Attributes:
        stream_data: to save with the stream.
        difference: how the data that the stream had differ from the engine's; None if they agree, or are not known.
    """

    def __init__(
        self, name: str, calendar: Calendar, kept: StreamZoneData | None, now_ns: int, *, is_new: bool
    ) -> None:
        here = calendar.zone_data
        self.difference = None if kept is None else kept.current.difference(here, name)
        if kept is not None and self.difference is None:
            self.stream_data = replace(kept, current=here, on_disk=None)
        else:
            self.stream_data = StreamZoneData(here, None if kept is None else kept.current, 0 if is_new else now_ns)

    def look(self) -> bool:
        """Look at the data on disk; return whether `stream_data` changed."""
        before = self.stream_data
        try:
            found = zone_data(before.current.timezone)
        except InvalidValueError:
            return False  # They are just being replaced, or gone.
        self.stream_data = replace(before, on_disk=None if found.agrees(before.current) else found)
        return self.stream_data != before


def behind_published(
    state: SchedulerState, published: Mapping[Frequency, Published], calendar: Calendar
) -> SchedulerState:
    """Return the state in which every boundary before the stream's last event was emitted or missed."""
    keys = [last.timestamp + frequency for frequency, last in published.items() if last.sequence]
    return state.behind(max(keys), calendar) if keys else state


def barred_boundaries(
    state: SchedulerState, published: Mapping[Frequency, Published], calendar: Calendar, sequencer: Sequencer
) -> dict[Frequency, int]:
    """Return by frequency, if there is one, the last boundary above the floor whose sequence the stream has used.

    Raises:
        InvalidValueError: no change of zone data explains so high a last sequence.
    """
    barred_ns: dict[Frequency, int] = {}
    for known in state.frequencies:
        used, boundary_ns = published[known.frequency].sequence, known.floor_ns
        while used:
            boundary_ns = calendar.next(known.frequency, boundary_ns)
            sequence = sequencer.peek(known.frequency, boundary_ns)
            if sequence > used:
                break
            if used - sequence > _MOST_DAYS:
                label, text = known.frequency.label, utc_text(boundary_ns)
                raise InvalidValueError(f"its last {label} event has sequence {used}, and {text} has {sequence}")
            barred_ns[known.frequency] = boundary_ns
    return barred_ns


def missed_between(before: SchedulerState, after: SchedulerState) -> list[str]:
    """Return as text how many boundaries of each frequency were missed between two states of a stream."""
    return [
        f"{later.missed - earlier.missed} {later.frequency.label} boundaries"
        for earlier, later in zip(before.frequencies, after.frequencies, strict=True)
        if later.missed > earlier.missed
    ]

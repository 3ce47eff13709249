"""What is absent from events: which boundaries, and whether they were ever emitted."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from chronostream._renamed import renamed
from chronostream._values import INT64_MAX, Instant, instant_text, open_range
from chronostream.calendar.calendar import Calendar
from chronostream.calendar.order import in_range
from chronostream.errors import InvalidValueError
from chronostream.event import Frequency, checked_records

__all__ = ["Coverage", "Gap", "find_gaps"]

_NO_END_NS = INT64_MAX
_MORE_THAN_ANY_SEQUENCE = 1 << 64


@dataclass(frozen=True, slots=True)
class Gap:
    """Consecutive boundaries of one frequency whose events are absent.

    Attributes:
        first_ns: the first absent boundary, Unix nanoseconds.
        last_ns: the last one.
        boundaries: how many there are.
        sequences: of those events that were emitted nevertheless: they were lost on the way, or not read. Empty if the
            stream missed its boundaries, because the machine slept or the producer did not run. None if that cannot be
            known: at the edge of a window, or in a stream whose sequences are computed from boundaries.
    """

    frequency: Frequency
    first_ns: int
    last_ns: int
    boundaries: int
    sequences: range | None

    def __str__(self) -> str:
        several = self.boundaries > 1
        absent = f"{self.boundaries} {self.frequency.label} event{'s' * several} absent, {instant_text(self.first_ns)}"
        if several:
            absent += f" to {instant_text(self.last_ns)}"
        if self.sequences is None:
            return absent
        if not self.sequences:
            return f"{absent}: never emitted"
        return f"{absent}: sequences {self.sequences[0]} to {self.sequences[-1]} were emitted"


@renamed(tz="timezone")
def find_gaps(
    records: npt.NDArray[np.void],
    timezone: str = "UTC",
    *,
    frequencies: Iterable[Frequency | str | int] | None = None,
    start_ns: Instant | None = None,
    end_ns: Instant | None = None,
) -> list[Gap]:
    """Return which events are absent from those that were read.

    Args:
        records: events of one stream in its order, array of `EVENT_DTYPE`, shape ``(n,)``.
        timezone: the stream's IANA time zone.
        frequencies: which ones to look at; those that the records have if None.
        start_ns: start of the range; the first event if None.
        end_ns: end of the range (exclusive); just behind the last event if None.

    Returns:
        The gaps, by frequency and in order.

    Raises:
        InvalidValueError: the records are not in order, or one is no boundary of this zone.
    """
    calendar = Calendar.for_zone(timezone)
    low_ns, high_ns = open_range(start_ns, end_ns)
    if not len(checked_records(records)) and frequencies is None:
        return []
    chosen = Frequency.parse_all(np.unique(records["frequency"]).tolist() if frequencies is None else frequencies)
    return [gap for frequency in chosen for gap in _find(calendar, frequency, records, low_ns, high_ns)]


def _find(
    calendar: Calendar, frequency: Frequency, records: npt.NDArray[np.void], low_ns: int | None, high_ns: int | None
) -> list[Gap]:
    chosen = (records["frequency"] == frequency) & in_range(records, low_ns, high_ns)
    stamps, sequences = records["timestamp"][chosen], records["sequence"][chosen]
    if not len(stamps) and (low_ns is None or high_ns is None):
        return []
    start_ns = int(stamps[0]) if low_ns is None else low_ns
    ranks = calendar.ranks(frequency, stamps, start_ns)
    _check(calendar, frequency, stamps, ranks)
    coverage = Coverage(calendar, frequency, start_ns)
    coverage.add(stamps, ranks, sequences)
    gaps = coverage.gaps(int(stamps[-1]) + 1 if high_ns is None else high_ns)
    if len(stamps) and stamps[0] >= 0 and np.array_equal(calendar.sequences(frequency, stamps), sequences):
        return [replace(gap, sequences=None) for gap in gaps]  # Computed from boundaries, they show no loss.
    return gaps


def _check(
    calendar: Calendar, frequency: Frequency, stamps: npt.NDArray[np.int64], ranks: npt.NDArray[np.int64]
) -> None:
    for place in np.flatnonzero(np.diff(stamps) <= 0)[:1].tolist():
        raise InvalidValueError(
            f"the {frequency.label} events are not in order: {instant_text(int(stamps[place + 1]))} comes after "
            f"{instant_text(int(stamps[place]))}; give those of one stream, as they were read"
        )
    for instant in stamps[ranks < 0][:1].tolist():
        text = f"{instant_text(instant)} is no {frequency.label} boundary"
        if frequency in (Frequency.SECOND, Frequency.MINUTE):  # the same in every zone
            raise InvalidValueError(f"{text}: the record is damaged")
        raise InvalidValueError(
            f"{text} in {calendar.timezone}: give the stream's time zone (timezone=...); if that is it, the stream has "
            f"other zone data than this host, {calendar.zone_data}"
        )


class _Hole(NamedTuple):
    """Boundaries ``start_ns <= b < end_ns`` without an event so far, and the sequences of the events around them."""

    start_ns: int
    end_ns: int
    before: int | None
    after: int | None


class Coverage:
    """Which boundaries of one frequency, from `start_ns` on, have their event, and which have none.

    Events may come out of order, and more than once. The time between two events costs nothing, however long it is.
    With `counted`, sequences are counted, and `add` checks whether they fit.

    Attributes:
        found: how many boundaries have their event.
    """

    def __init__(self, calendar: Calendar, frequency: Frequency, start_ns: int, *, counted: bool = False) -> None:
        self.frequency = frequency
        self.found = 0
        self._calendar = calendar
        self._start_ns = start_ns
        self._counted = counted
        self._fitting: tuple[int, int] | None = None  # rank and sequence of the latest event whose sequence fits
        self._reached = -1  # rank of the latest boundary that has its event
        # In order; the last one has no end. Where it starts, the latest event ends.
        self._holes = [_Hole(start_ns, _NO_END_NS, None, None)]

    def ranks(self, stamps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the rank of each boundary, shape ``(n,)``; -1 where it is none or before the start."""
        return self._calendar.ranks(self.frequency, stamps, self._start_ns)

    def add(
        self, stamps: npt.NDArray[np.int64], ranks: npt.NDArray[np.int64], sequences: npt.NDArray[np.uint64]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Take in events that are on boundaries, shape ``(n,)`` each.

        Returns:
            Which of them are duplicates, and which have a counted sequence that does not fit between its neighbours';
            both of shape ``(n,)``.
        """
        reached = np.maximum.accumulate(np.concatenate([[self._reached], ranks]))
        skipped = ranks - reached[:-1] - 1
        late = skipped < 0
        # The place of the latest boundary's event before each event; -1 where that came with an earlier call.
        latest = np.maximum.accumulate(np.concatenate([[-1], np.where(late, -1, np.arange(len(ranks)))]))
        unfit = self._unfit(ranks, sequences, late) if self._counted else np.zeros(len(ranks), np.bool_)
        duplicate = np.zeros(len(ranks), np.bool_)
        for at in np.flatnonzero(skipped).tolist():
            self._advance(latest[at], stamps, sequences)
            sequence = int(sequences[at])
            hole = self._fill(int(stamps[at]), sequence)
            if hole is None:
                duplicate[at] = True
            elif late[at] and self._counted:
                unfit[at] = not (hole.before or 0) < sequence < (hole.after or _MORE_THAN_ANY_SEQUENCE)
        self._advance(latest[-1], stamps, sequences)
        self._reached = int(reached[-1])
        self.found += len(ranks) - int(duplicate.sum())
        return duplicate, unfit

    def _unfit(
        self, ranks: npt.NDArray[np.int64], sequences: npt.NDArray[np.uint64], late: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        """Return which events in order have a sequence that does not fit behind the one before, shape ``(n,)``.

        A sequence that fits behind the latest one that fitted is right, too: then the event between them is wrong.
        """
        unfit = np.zeros(len(ranks), np.bool_)
        places = np.flatnonzero(~late)
        rank, sequence = ranks[places], sequences[places]
        known = self._holes[-1].before
        if known is None:
            before = rank[:1] - 1, sequence[:1] - np.uint64(1)  # The first event fits.
        else:
            before = np.array([self._reached]), np.array([known], np.uint64)
        step = np.diff(sequence, prepend=before[1]).view(np.int64)
        wrong = (step < 1) | (step > np.diff(rank, prepend=before[0])) | (sequence == 0)
        for at in np.flatnonzero(wrong).tolist():
            if at and not wrong[at - 1]:
                self._fitting = int(rank[at - 1]), int(sequence[at - 1])
            if self._fitting is not None:
                fitting_rank, fitting_sequence = self._fitting
                wrong[at] = not 1 <= int(sequence[at]) - fitting_sequence <= int(rank[at]) - fitting_rank
        for at in np.flatnonzero(~wrong)[-1:].tolist():
            self._fitting = int(rank[at]), int(sequence[at])
        unfit[places] = wrong
        return unfit

    def count(self, end_ns: int) -> int:
        """Return how many boundaries there are up to `end_ns` (exclusive)."""
        return self._calendar.count(self.frequency, self._start_ns, end_ns)

    def gaps(self, end_ns: int) -> list[Gap]:
        """Return the boundaries up to `end_ns` (exclusive) that have no event, in order."""
        return [gap for hole in self._holes for gap in self._gap(hole._replace(end_ns=min(hole.end_ns, end_ns)))]

    def _gap(self, hole: _Hole) -> Iterator[Gap]:
        count = self._calendar.count(self.frequency, hole.start_ns, hole.end_ns)
        if count:
            first_ns = self._calendar.next(self.frequency, hole.start_ns - 1)
            last_ns = self._calendar.last(self.frequency, hole.end_ns - 1)
            sequences = None
            if hole.before is not None and hole.after is not None:
                sequences = range(hole.before + 1, max(hole.after, hole.before + 1))
            yield Gap(self.frequency, first_ns, last_ns, count, sequences)

    def _advance(self, at: int, stamps: npt.NDArray[np.int64], sequences: npt.NDArray[np.uint64]) -> None:
        """Make the event at this index the latest one; -1: none."""
        if at >= 0:
            self._holes[-1] = _Hole(int(stamps[at]) + 1, _NO_END_NS, int(sequences[at]), None)

    def _fill(self, stamp: int, sequence: int) -> _Hole | None:
        """Take a boundary out of its hole; return the hole, or None if it is in none."""
        at = bisect_right(self._holes, stamp, key=attrgetter("start_ns")) - 1
        if at < 0 or stamp >= self._holes[at].end_ns:
            return None
        hole = self._holes[at]
        parts = [
            _Hole(hole.start_ns, stamp, hole.before, sequence),
            _Hole(stamp + 1, hole.end_ns, sequence, hole.after),
        ]
        self._holes[at : at + 1] = [
            part
            for part in parts
            if part.end_ns == _NO_END_NS or self._calendar.count(self.frequency, part.start_ns, part.end_ns)
        ]
        return hole

"""One frequency of a verification: which boundaries have their event, and where there are gaps.

Boundaries count by rank, from 0 at the start of the range: so what is between two events is a subtraction, however
far they are apart. This module knows records as columns of numbers only, and writes no report.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from chronostream.calendar.boundaries import PERIOD_NS, boundaries, count_boundaries, last_boundary, next_boundary
from chronostream.event import Frequency

__all__ = ["Gap", "Lane"]

# Boundaries made at once, to find out which instants are some.
_WINDOW = 1 << 16
_BEYOND = 1 << 64


@dataclass(slots=True)
class Gap:
    """A run of boundaries without an event.

    Attributes:
        first: rank of the first.
        end: rank of the first behind it.
        first_ns: the first boundary, Unix nanoseconds.
        last_ns: the last boundary.
        before: sequence of the event before it; None if it begins the range.
        after: sequence of the event behind it; None if it ends the range.
    """

    first: int
    end: int
    first_ns: int
    last_ns: int
    before: int | None
    after: int | None

    @property
    def count(self) -> int:
        """How many boundaries."""
        return self.end - self.first


class Lane:
    """The events of one frequency from `start_ns` on, in the order in which they come."""

    def __init__(self, frequency: Frequency, tz: str, start_ns: int) -> None:
        self.frequency = frequency
        self.gaps: list[Gap] = []
        self.found = 0
        self._tz = tz
        self._start_ns = start_ns
        self._next = 0  # rank of the first boundary that nothing was said about yet
        self._last_ns = start_ns - 1
        self._last_sequence: int | None = None

    def ranks(self, stamps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the rank of each instant, shape ``(n,)``; -1 where it is no boundary."""
        distinct, inverse = np.unique(stamps, return_inverse=True)
        ranks = np.full(len(distinct), -1, np.int64)
        at = 0
        while at < len(distinct):
            first_ns = int(distinct[at])
            stop = int(np.searchsorted(distinct, first_ns + _WINDOW * PERIOD_NS[self.frequency]))
            known = boundaries(self.frequency, first_ns, int(distinct[stop - 1]) + 1, self._tz)
            if len(known):
                part = distinct[at:stop]
                where = np.searchsorted(known, part).clip(max=len(known) - 1)
                base = count_boundaries(self.frequency, self._start_ns, first_ns, self._tz)
                ranks[at:stop] = np.where(known[where] == part, where + base, -1)
            at = stop
        return ranks[inverse]

    def take(
        self, stamps: npt.NDArray[np.int64], ranks: npt.NDArray[np.int64], sequences: npt.NDArray[np.uint64]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Take in events that stand on boundaries, shape ``(n,)`` each.

        Returns:
            Which of them are duplicates, and which have a sequence that does not fit between its neighbours', were
            it counted; both of shape ``(n,)``.
        """
        reached = np.maximum.accumulate(np.concatenate([[self._next - 1], ranks]))[:-1]
        ahead = ranks > reached
        skipped = ranks - reached - 1
        # Of each event, the one before it among those that are ahead; -1 where that is of an earlier call.
        before = np.concatenate([[-1], np.maximum.accumulate(np.where(ahead, np.arange(len(ranks)), -1))])
        step = (sequences - np.where(before[:-1] >= 0, sequences[before[:-1]], self._last_sequence or 0)).view(np.int64)
        unfit = ahead & ((step < 1) | (step > skipped + 1))
        if self._last_sequence is None:
            unfit &= before[:-1] >= 0
        duplicate = np.zeros(len(ranks), np.bool_)
        for at in np.flatnonzero((skipped > 0) | ~ahead).tolist():
            rank, stamp, sequence = int(ranks[at]), int(stamps[at]), int(sequences[at])
            if ahead[at]:
                self._pass(before[at], stamps, sequences)
                last_ns = last_boundary(stamp - 1, self.frequency, self._tz)
                first_ns = self._following(self._last_ns)
                self.gaps.append(Gap(rank - int(skipped[at]), rank, first_ns, last_ns, self._last_sequence, sequence))
            elif (gap := self._fill(rank, stamp, sequence)) is None:
                duplicate[at] = True
            else:
                unfit[at] = not (gap.before or 0) < sequence < (gap.after or _BEYOND)
        self._pass(before[-1], stamps, sequences)
        self._next = max(self._next, int(ranks.max(initial=-1)) + 1)
        self.found += len(ranks) - int(duplicate.sum())
        return duplicate, unfit

    def finish(self, end_ns: int) -> int:
        """Close the range before `end_ns`; return how many boundaries it has."""
        total = count_boundaries(self.frequency, self._start_ns, max(end_ns, self._start_ns), self._tz)
        if total > self._next:
            last_ns = last_boundary(end_ns - 1, self.frequency, self._tz)
            first_ns = self._following(self._last_ns)
            self.gaps.append(Gap(self._next, total, first_ns, last_ns, self._last_sequence, None))
        return total

    def _pass(self, at: int, stamps: npt.NDArray[np.int64], sequences: npt.NDArray[np.uint64]) -> None:
        if at >= 0:
            self._last_ns, self._last_sequence = int(stamps[at]), int(sequences[at])

    def _fill(self, rank: int, stamp: int, sequence: int) -> Gap | None:
        """Take out of its gap a boundary that was passed; return the gap, or None if it is in none."""
        at = bisect_right(self.gaps, rank, key=attrgetter("first")) - 1
        if at < 0 or rank >= self.gaps[at].end:
            return None
        gap = self.gaps[at]
        parts = []
        if gap.first < rank:
            last_ns = last_boundary(stamp - 1, self.frequency, self._tz)
            parts.append(Gap(gap.first, rank, gap.first_ns, last_ns, gap.before, sequence))
        if rank + 1 < gap.end:
            parts.append(Gap(rank + 1, gap.end, self._following(stamp), gap.last_ns, sequence, gap.after))
        self.gaps[at : at + 1] = parts
        return gap

    def _following(self, stamp: int) -> int:
        return next_boundary(stamp, self.frequency, self._tz)

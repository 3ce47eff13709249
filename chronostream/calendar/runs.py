"""The boundaries of a zone as regular runs.

Every boundary is a whole second, and in each zone the boundaries of a frequency are a few hundred regular runs, broken
only where the zone's offset changes. All times here are Unix seconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from chronostream._values import INT64_MAX, INT64_MIN, SECOND_NS
from chronostream.calendar.zones import Period, find_periods

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from zoneinfo import ZoneInfo

__all__ = ["DAY_S", "MINUTES", "SECONDS", "WHOLE_SPAN_S", "Runs", "ZoneRuns", "day_runs", "hour_runs"]

_HOUR_S, DAY_S = 3600, 86_400
WHOLE_SPAN_S = INT64_MIN // SECOND_NS, INT64_MAX // SECOND_NS + 1
# More than the two days between boundaries where a zone repeats a date, and than the repetition itself. So the runs of
# a span hold the neighbours of each of its instants, and earlier changes of the offset do not matter.
_MARGIN_S = 4 * DAY_S


class Runs:
    """Boundaries in ascending order, numbered from 0: run k starts at ``firsts[k]`` and goes on by `step_s`.

    Valid only for instants within the span that it was made for.
    """

    __slots__ = ("_firsts", "_numbers", "_step_s")

    def __init__(self, step_s: int, runs: Iterable[tuple[int, int]]) -> None:
        firsts, counts = zip(*((first, count) for first, count in runs if count > 0), strict=True)
        self._step_s = step_s
        self._firsts: list[int] = list(firsts)
        self._numbers: list[int] = list(accumulate(counts, initial=0))

    def rank(self, second: int) -> int:
        """Return how many boundaries come before `second`."""
        run = bisect_left(self._firsts, second) - 1
        passed = -((self._firsts[run] - second) // self._step_s)
        return min(self._numbers[run] + passed, self._numbers[run + 1])

    def ranks(self, seconds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the number of each boundary, shape ``(n,)``; -1 where an instant is no boundary."""
        firsts, numbers = np.array(self._firsts, np.int64), np.array(self._numbers, np.int64)
        runs = np.searchsorted(firsts, seconds, side="right") - 1 if len(firsts) > 1 else 0
        steps, rest = np.divmod(seconds - firsts[runs], self._step_s)
        ranks = numbers[runs] + steps
        ranks[(rest != 0) | (ranks >= numbers[runs + 1])] = -1
        return ranks

    def select(self, number: int) -> int:
        """Return the boundary with this number."""
        run = bisect_right(self._numbers, number) - 1
        return self._firsts[run] + (number - self._numbers[run]) * self._step_s

    def slice(self, start: int, end: int) -> npt.NDArray[np.int64]:
        """Return the boundaries numbered ``start <= number < end``."""
        first, last = bisect_right(self._numbers, start) - 1, bisect_left(self._numbers, end)
        numbers = np.array(self._numbers[first : last + 1], np.int64)
        # As if each run had gone on by the same step since number 0: then a boundary is its run's base plus its number.
        bases = np.array(self._firsts[first:last], np.int64) - numbers[:-1] * self._step_s
        seconds = np.arange(start, end, dtype=np.int64)
        seconds *= self._step_s
        seconds += np.repeat(bases, np.diff(numbers.clip(start, end)))
        return seconds


class ZoneRuns:
    """The hours and days of one zone from `start_s` to `end_s`, computed at the first use."""

    def __init__(self, zone: ZoneInfo, start_s: int, end_s: int) -> None:
        self._zone = zone
        self._span_s = start_s - _MARGIN_S, end_s + _MARGIN_S

    @cached_property
    def periods(self) -> list[Period]:
        """The stretches with one UTC offset, which cover the span."""
        return find_periods(self._zone, *self._span_s)

    @cached_property
    def hours(self) -> Runs:
        """The hour boundaries."""
        return Runs(_HOUR_S, hour_runs(self.periods))

    @cached_property
    def days(self) -> Runs:
        """The day boundaries."""
        return Runs(DAY_S, day_runs(self.periods))


def hour_runs(periods: list[Period]) -> Iterator[tuple[int, int]]:
    """Yield first boundary and length of each run of hours; a length may be 0 or less."""
    before_s = periods[0].offset_s
    for start, end, offset_s in periods:
        whole = -(-(start + offset_s) // _HOUR_S) * _HOUR_S - offset_s
        # The next hour of the old offset, placed by the new one; if that is before the start, the gap swallowed it.
        awaited = -(-(start + before_s) // _HOUR_S) * _HOUR_S - offset_s
        if awaited < start < whole:
            yield start, 1
        yield whole, -((whole - end) // _HOUR_S)
        before_s = offset_s


def day_runs(periods: list[Period]) -> Iterator[tuple[int, int]]:
    """Yield first boundary and length of each run of days; a length may be 0 or less."""
    seen = (periods[0].start_s + periods[0].offset_s) // DAY_S  # has begun already
    for start, end, offset_s in periods:
        day = max((start + offset_s) // DAY_S, seen + 1)
        if day * DAY_S - offset_s < start:
            yield start, 1
            day += 1
        last_day = (end - 1 + offset_s) // DAY_S
        yield day * DAY_S - offset_s, last_day - day + 1
        seen = max(seen, last_day)


def _regular(step_s: int) -> Runs:
    first_s = (WHOLE_SPAN_S[0] - _MARGIN_S) // step_s * step_s
    return Runs(step_s, [(first_s, (WHOLE_SPAN_S[1] + _MARGIN_S - first_s) // step_s)])


SECONDS, MINUTES = _regular(1), _regular(60)
"""The same in every zone."""

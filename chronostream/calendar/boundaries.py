"""Calendar alignment: which instants are boundaries (the rules: docs/time.md, "What a boundary is").

Every boundary is a whole second, and in each zone the boundaries of a frequency are a few hundred regular runs,
broken only where the zone's offset changes. The runs are found once; after that, the next boundary, all those of a
range and their count are a bisection and a little integer arithmetic. This module is pure: it knows no clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import date
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from chronostream._values import INT64_MAX, INT64_MIN, SECOND_NS, checked_ns
from chronostream.calendar.zones import Period, check_zone, find_periods
from chronostream.errors import InvalidTypeError, InvalidValueError
from chronostream.event import Frequency

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "MAX_BOUNDARIES",
    "PERIOD_NS",
    "boundaries",
    "check_timestamps",
    "check_zone",
    "count_boundaries",
    "last_boundary",
    "local_days",
    "next_boundary",
]

MAX_BOUNDARIES = 200_000_000
"""The most that `boundaries` returns at once, six years of seconds: 1.6 GB, and twice that while it is made."""

PERIOD_NS = {
    Frequency.SECOND: 1_000_000_000,
    Frequency.MINUTE: 60_000_000_000,
    Frequency.HOUR: 3_600_000_000_000,
    Frequency.DAY: 86_400_000_000_000,
}
"""How far apart boundaries are, as a rule; in some zones two of them are closer once in a while."""

_HOUR_S, _DAY_S = 3600, 86400
_EPOCH_DAY = date(1970, 1, 1).toordinal()

_Span = tuple[int, int]
_WHOLE: _Span = (INT64_MIN // SECOND_NS, INT64_MAX // SECOND_NS + 1)
# 1970 to 2040: found in a tenth of the time that the whole of int64 takes, which few ever ask for.
_COMMON: _Span = (0, 2_208_988_800)
# More than the two days between boundaries where a zone repeats a date, and than such a repetition itself: the runs
# of a span hold the neighbours of each of its instants, and what happened before does not matter to them.
_MARGIN_S = 4 * _DAY_S


def next_boundary(now_ns: int, frequency: Frequency | str | int, tz: str = "UTC") -> int:
    """Return the first boundary strictly after `now_ns`; both in Unix nanoseconds.

    Args:
        now_ns: within int64.
        frequency: a `Frequency`, its name or its number.
        tz: an IANA time zone; it matters to hours and days only.

    Raises:
        UnknownFrequencyError: not a frequency that events have.
        InvalidValueError: unknown time zone, or `now_ns` or the boundary is outside int64.
        InvalidTypeError: `now_ns` is not an integer, or `tz` not a string.
    """
    later_s = checked_ns("now_ns", now_ns) // SECOND_NS + 1
    runs = _runs(frequency, tz, later_s, later_s)
    return _boundary_ns(runs.select(runs.rank(later_s)))


def last_boundary(now_ns: int, frequency: Frequency | str | int, tz: str = "UTC") -> int:
    """Return the greatest boundary at or before `now_ns`; arguments and errors as for `next_boundary`."""
    later_s = checked_ns("now_ns", now_ns) // SECOND_NS + 1
    runs = _runs(frequency, tz, later_s, later_s)
    return _boundary_ns(runs.select(runs.rank(later_s) - 1))


def boundaries(frequency: Frequency | str | int, start_ns: int, end_ns: int, tz: str = "UTC") -> npt.NDArray[np.int64]:
    """Return the boundaries ``start_ns <= b < end_ns``: int64 Unix nanoseconds, shape ``(n,)``, ascending.

    Args:
        frequency: a `Frequency`, its name or its number.
        start_ns: within int64.
        end_ns: within int64, not before `start_ns`; equal means an empty range.
        tz: an IANA time zone; it matters to hours and days only.

    Raises:
        UnknownFrequencyError: not a frequency that events have.
        InvalidValueError: unknown time zone, a time is outside int64, the range ends before it starts, or it holds
            more than `MAX_BOUNDARIES`.
        InvalidTypeError: a time is not an integer, or `tz` not a string.
    """
    runs, first, end = _ranks(frequency, start_ns, end_ns, tz)
    if end - first > MAX_BOUNDARIES:
        raise InvalidValueError(
            f"{end - first} boundaries between {start_ns} and {end_ns}, at most {MAX_BOUNDARIES} fit one array: "
            "take the range in parts, or count_boundaries() if their number is enough"
        )
    seconds = runs.slice(first, end)
    seconds *= SECOND_NS
    return seconds


def count_boundaries(frequency: Frequency | str | int, start_ns: int, end_ns: int, tz: str = "UTC") -> int:
    """Return how many boundaries there are, ``start_ns <= b < end_ns``, without making them.

    Arguments and errors are those of `boundaries`, but there is no limit to the number.
    """
    _, first, end = _ranks(frequency, start_ns, end_ns, tz)
    return end - first


def local_days(timestamps_ns: npt.NDArray[np.int64], tz: str = "UTC") -> npt.NDArray[np.int64]:
    """Return the local date at each instant, as `datetime.date.toordinal` numbers it: int64, of the same shape.

    Args:
        timestamps_ns: int64 Unix nanoseconds, of any shape.
        tz: an IANA time zone.

    Raises:
        InvalidValueError: unknown time zone.
        InvalidTypeError: `timestamps_ns` is not an int64 array, or `tz` not a string.
    """
    seconds = check_timestamps(timestamps_ns) // SECOND_NS
    if not seconds.size:
        return seconds
    periods = _periods(check_zone(tz), _span(int(seconds.min()), int(seconds.max())))
    starts, _, offsets = np.array(periods, np.int64).T
    seconds += offsets[np.searchsorted(starts, seconds, side="right") - 1]
    seconds //= _DAY_S
    seconds += _EPOCH_DAY
    return seconds


def check_timestamps(timestamps_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the array as it is, if it is one of int64.

    Raises:
        InvalidTypeError: it is something else.
    """
    if not isinstance(timestamps_ns, np.ndarray) or timestamps_ns.dtype != np.int64:
        found = timestamps_ns.dtype if isinstance(timestamps_ns, np.ndarray) else type(timestamps_ns).__name__
        raise InvalidTypeError(f"timestamps_ns are {found}, expected an int64 array of Unix nanoseconds")
    return timestamps_ns


class _Runs:
    """Boundaries in ascending order, numbered from 0: run k starts at ``firsts[k]`` and goes on by `step_s`.

    Asked about instants outside the span that it was made for, it has no answer.
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


def _regular(step_s: int) -> _Runs:
    first_s = (_WHOLE[0] - _MARGIN_S) // step_s * step_s
    return _Runs(step_s, [(first_s, (_WHOLE[1] + _MARGIN_S - first_s) // step_s)])


_SECONDS, _MINUTES = _regular(1), _regular(60)


def _hour_runs(periods: list[Period]) -> Iterator[tuple[int, int]]:
    before_s = periods[0].offset_s
    for start, end, offset_s in periods:
        whole = -(-(start + offset_s) // _HOUR_S) * _HOUR_S - offset_s
        # The hour that the old offset had coming, where the new one puts it: before the start means swallowed.
        awaited = -(-(start + before_s) // _HOUR_S) * _HOUR_S - offset_s
        if awaited < start < whole:
            yield start, 1
        yield whole, -((whole - end) // _HOUR_S)
        before_s = offset_s


def _day_runs(periods: list[Period]) -> Iterator[tuple[int, int]]:
    seen = (periods[0].start_s + periods[0].offset_s) // _DAY_S  # has begun already
    for start, end, offset_s in periods:
        day = max((start + offset_s) // _DAY_S, seen + 1)
        if day * _DAY_S - offset_s < start:
            yield start, 1
            day += 1
        last_day = (end - 1 + offset_s) // _DAY_S
        yield day * _DAY_S - offset_s, last_day - day + 1
        seen = max(seen, last_day)


@lru_cache(maxsize=128)
def _periods(tz: str, span: _Span) -> list[Period]:
    return find_periods(tz, span[0] - _MARGIN_S, span[1] + _MARGIN_S)


@lru_cache(maxsize=128)
def _hours(tz: str, span: _Span) -> _Runs:
    return _Runs(_HOUR_S, _hour_runs(_periods(tz, span)))


@lru_cache(maxsize=128)
def _days(tz: str, span: _Span) -> _Runs:
    return _Runs(_DAY_S, _day_runs(_periods(tz, span)))


def _span(low_s: int, high_s: int) -> _Span:
    return _COMMON if _COMMON[0] <= low_s and high_s <= _COMMON[1] else _WHOLE


def _runs(frequency: Frequency | str | int, tz: str, low_s: int, high_s: int) -> _Runs:
    """Return the runs that know the boundaries from `low_s` to `high_s` and their neighbours on both sides."""
    frequency = Frequency.parse(frequency)
    tz = check_zone(tz)
    if frequency == Frequency.SECOND:
        return _SECONDS
    if frequency == Frequency.MINUTE:
        return _MINUTES
    find = _hours if frequency == Frequency.HOUR else _days
    return find(tz, _span(low_s, high_s))


def _ranks(frequency: Frequency | str | int, start_ns: int, end_ns: int, tz: str) -> tuple[_Runs, int, int]:
    """Return the runs of a range with the numbers of its first boundary and of the first one behind its end."""
    start, end = checked_ns("start_ns", start_ns), checked_ns("end_ns", end_ns)
    if start > end:
        raise InvalidValueError(f"start_ns {start} is later than end_ns {end}: a range ends where it starts or later")
    start_s, end_s = -(-start // SECOND_NS), -(-end // SECOND_NS)
    runs = _runs(frequency, tz, start_s, end_s)
    return runs, runs.rank(start_s), runs.rank(end_s)


def _boundary_ns(second: int) -> int:
    boundary_ns = second * SECOND_NS
    if not INT64_MIN <= boundary_ns <= INT64_MAX:
        raise InvalidValueError(
            f"the boundary asked for, {second} s of Unix time, is outside int64 nanoseconds: stay within 1677 to 2262"
        )
    return boundary_ns

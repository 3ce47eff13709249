"""All boundaries of one time zone, and the number of each (the rules: docs/time.md, "What a boundary is")."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import date
from functools import cached_property, lru_cache
from operator import attrgetter
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from chronostream._values import INT64_MAX, INT64_MIN, SECOND_NS
from chronostream.calendar.order import upto_ns
from chronostream.calendar.runs import DAY_S, MINUTES, SECONDS, WHOLE_SPAN_S, Runs, ZoneRuns
from chronostream.calendar.zones import COMMON_SPAN_S, ZoneData, check_zone, data_of
from chronostream.errors import InvalidTypeError, InvalidValueError
from chronostream.event import Frequency

__all__ = ["MAX_BOUNDARIES", "PERIOD_NS", "Calendar", "check_timestamps"]

MAX_BOUNDARIES = 200_000_000
"""The most that one array holds, six years of seconds: 1.6 GB, and twice that while it is made."""

PERIOD_NS = {
    Frequency.SECOND: SECOND_NS,
    Frequency.MINUTE: 60 * SECOND_NS,
    Frequency.HOUR: 3600 * SECOND_NS,
    Frequency.DAY: DAY_S * SECOND_NS,
}
"""The usual distance between boundaries; in some zones, a few are closer."""

_COMMON_START_S, _COMMON_END_S = COMMON_SPAN_S
_EVERYWHERE = {Frequency.SECOND: SECONDS, Frequency.MINUTE: MINUTES}
# Sequences of hours count minutes: in some zones two hour boundaries fall within one hour of Unix time.
_NUMBERED_BY_NS = PERIOD_NS | {Frequency.HOUR: 60 * SECOND_NS}
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_START_S = attrgetter("start_s")


class Calendar:
    """The boundaries of every frequency in one time zone.

    `for_zone` returns a shared one, so that a zone is searched for its periods once. The other methods do not check
    their arguments: a `Frequency` other than ``UNKNOWN``, and instants in Unix nanoseconds.
    """

    def __init__(self, timezone: str) -> None:
        self.timezone = check_zone(timezone)
        self._zone = ZoneInfo(timezone)

    @classmethod
    def for_zone(cls, timezone: str) -> Calendar:
        """Return the calendar of a zone."""
        return _shared(timezone if type(timezone) is str else check_zone(timezone))

    @cached_property
    def zone_data(self) -> ZoneData:
        """The data that these boundaries are made with."""
        return data_of(self.timezone, self._common.periods)

    @cached_property
    def _common(self) -> ZoneRuns:
        # Found in a tenth of the time that the whole of int64 takes, which few callers need.
        return self._zone_runs(*COMMON_SPAN_S)

    @cached_property
    def _whole(self) -> ZoneRuns:
        return self._zone_runs(*WHOLE_SPAN_S)

    def _zone_runs(self, start_s: int, end_s: int) -> ZoneRuns:
        return ZoneRuns(self._zone, start_s, end_s)

    def _span(self, low_s: int, high_s: int) -> ZoneRuns:
        return self._common if low_s >= _COMMON_START_S and high_s <= _COMMON_END_S else self._whole

    def _runs(self, frequency: Frequency, low_s: int, high_s: int) -> Runs:
        """Return the runs that hold the boundaries from `low_s` to `high_s` and their neighbours on both sides."""
        if (runs := _EVERYWHERE.get(frequency)) is not None:
            return runs
        span = self._span(low_s, high_s)
        return span.hours if frequency is Frequency.HOUR else span.days

    def next(self, frequency: Frequency, after_ns: int) -> int:
        """Return the first boundary after an instant."""
        later_s = after_ns // SECOND_NS + 1
        runs = self._runs(frequency, later_s, later_s)
        return _boundary_ns(runs.select(runs.rank(later_s)))

    def last(self, frequency: Frequency, at_ns: int) -> int:
        """Return the greatest boundary at or before an instant."""
        later_s = at_ns // SECOND_NS + 1
        runs = self._runs(frequency, later_s, later_s)
        return _boundary_ns(runs.select(runs.rank(later_s) - 1))

    def count(self, frequency: Frequency, start_ns: int, end_ns: int) -> int:
        """Return how many boundaries there are, ``start_ns <= b < end_ns``."""
        _, first, end = self._numbers(frequency, start_ns, end_ns)
        return end - first

    def between(self, frequency: Frequency, start_ns: int, end_ns: int) -> npt.NDArray[np.int64]:
        """Return at most `MAX_BOUNDARIES` boundaries ``start_ns <= b < end_ns``: int64, shape ``(n,)``, ascending."""
        runs, first, end = self._numbers(frequency, start_ns, end_ns)
        if end - first > MAX_BOUNDARIES:
            raise InvalidValueError(
                f"{end - first} boundaries between {start_ns} and {end_ns}, at most {MAX_BOUNDARIES} fit one array: "
                "take the range in parts, or count_boundaries() if their number is enough"
            )
        seconds = runs.slice(first, end)
        seconds *= SECOND_NS
        return seconds

    def ranks(self, frequency: Frequency, stamps: npt.NDArray[np.int64], start_ns: int) -> npt.NDArray[np.int64]:
        """Return how many boundaries there are from `start_ns` on before each instant: int64, shape ``(n,)``.

        It is -1 where an instant is no boundary, or comes before `start_ns`.
        """
        if not len(stamps):
            return np.empty(0, np.int64)
        seconds, rest = np.divmod(stamps, SECOND_NS)
        start_s = -(-start_ns // SECOND_NS)
        runs = self._runs(frequency, min(start_s, int(seconds.min())), max(start_s, int(seconds.max())))
        ranks = np.maximum(runs.ranks(seconds) - runs.rank(start_s), -1)
        ranks[rest != 0] = -1
        return ranks

    def next_key(self, frequencies: Iterable[Frequency], key: int) -> int:
        """Return the order key of the event of these frequencies that comes directly behind a key."""
        return min(self.next(frequency, upto_ns(key, frequency)) + frequency for frequency in frequencies)

    def count_between(self, frequencies: Iterable[Frequency], after: int, before: int) -> dict[Frequency, int]:
        """Return how many events of each frequency come between two order keys; those without any are left out."""
        counts = {
            frequency: self.count(frequency, upto_ns(after, frequency) + 1, upto_ns(before, frequency))
            for frequency in frequencies
        }
        return {frequency: count for frequency, count in counts.items() if count > 0}

    def sequence(self, frequency: Frequency, boundary_ns: int) -> int:
        """Return the number of a boundary from 1970 on, which follows from the boundary alone."""
        if boundary_ns < 0:
            raise _before_1970(boundary_ns)
        if frequency is Frequency.DAY:
            second = boundary_ns // SECOND_NS
            periods = self._span(second, second).periods
            offset_s = periods[bisect_right(periods, second, key=_START_S) - 1].offset_s
            return (second + offset_s) // DAY_S + _EPOCH_DAY
        return boundary_ns // _NUMBERED_BY_NS[frequency]

    def sequences(self, frequency: Frequency, stamps: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        """Return the number of each boundary, as `sequence` does: uint64, of the same shape."""
        if stamps.size and stamps.min() < 0:
            raise _before_1970(int(stamps.min()))
        if frequency is Frequency.DAY:
            return self.local_days(stamps).astype(np.uint64)
        return (stamps // _NUMBERED_BY_NS[frequency]).astype(np.uint64)

    def local_days(self, stamps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the local date at each instant, as `datetime.date.toordinal` numbers it: int64, of the same shape."""
        seconds = stamps // SECOND_NS
        if not seconds.size:
            return seconds
        periods = self._span(int(seconds.min()), int(seconds.max())).periods
        starts, _, offsets = np.array(periods, np.int64).T
        seconds += offsets[np.searchsorted(starts, seconds, side="right") - 1]
        seconds //= DAY_S
        seconds += _EPOCH_DAY
        return seconds

    def _numbers(self, frequency: Frequency, start_ns: int, end_ns: int) -> tuple[Runs, int, int]:
        """Return the runs of a range, the number of its first boundary, and that of the first one behind its end."""
        start_s, end_s = -(-start_ns // SECOND_NS), -(-max(start_ns, end_ns) // SECOND_NS)
        runs = self._runs(frequency, start_s, end_s)
        return runs, runs.rank(start_s), runs.rank(end_s)


_shared = lru_cache(maxsize=128)(Calendar)


def check_timestamps(timestamps_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the array as it is, if it is one of int64."""
    if not isinstance(timestamps_ns, np.ndarray) or timestamps_ns.dtype != np.int64:
        found = timestamps_ns.dtype if isinstance(timestamps_ns, np.ndarray) else type(timestamps_ns).__name__
        raise InvalidTypeError(f"timestamps_ns are {found}, expected an int64 array of Unix nanoseconds")
    return timestamps_ns


def _before_1970(boundary_ns: int) -> InvalidValueError:
    return InvalidValueError(
        f"boundary {boundary_ns} ns lies before 1970, where boundary sequences begin: use a CountingSequencer"
    )


def _boundary_ns(second: int) -> int:
    boundary_ns = second * SECOND_NS
    if not INT64_MIN <= boundary_ns <= INT64_MAX:
        raise InvalidValueError(
            f"the requested boundary, {second} s of Unix time, is outside int64 nanoseconds: stay within 1677 to 2262"
        )
    return boundary_ns

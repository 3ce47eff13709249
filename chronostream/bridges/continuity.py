"""What comes directly behind what in a stream, and how many events are absent between two of them.

By the calendar where every boundary has its event, and by the sequences where a producer counts. This module is pure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from chronostream._values import SECOND_NS
from chronostream.calendar.calendar import Calendar
from chronostream.calendar.order import order_keys
from chronostream.event import Frequency

__all__ = ["BoundaryContinuity", "Continuity", "CountingContinuity", "Position"]


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a stream: behind one event.

    Attributes:
        key: the order key of that event.
        sequences: of each frequency, the last sequence up to there, as far as it is known.
    """

    key: int
    sequences: dict[Frequency, int] = field(default_factory=dict)

    def behind(self, records: npt.NDArray[np.void]) -> Position:
        """Return the position behind the last of these records, which follow this one."""
        found = {
            frequency: int(records["sequence"][records["frequency"] == frequency][-1])
            for frequency in map(Frequency, np.unique(records["frequency"]))
        }
        return Position(int(order_keys(records[-1:])[0]), self.sequences | found)


class BoundaryContinuity:
    """By the calendar: with the boundary sequencer each boundary has its event, whichever host it comes from.

    Args:
        frequencies: those of the stream.
        timezone: its IANA time zone.
    """

    def __init__(self, frequencies: Iterable[Frequency], timezone: str) -> None:
        self._frequencies = tuple(frequencies)
        self._calendar = Calendar.for_zone(timezone)

    def unbroken(self, position: Position, records: npt.NDArray[np.void]) -> int:
        """Return how many of the first records follow the position with no boundary left out."""
        keys = order_keys(records).tolist()

        def broken(count: int) -> bool:
            return sum(self._between(position.key, keys[count - 1] + 1).values()) != count

        if keys and not broken(len(keys)):
            return len(keys)
        return bisect_left(range(1, len(keys) + 1), True, key=broken)

    def absent(self, position: Position, record: npt.NDArray[np.void]) -> dict[Frequency, int]:
        """Return how many events of each frequency are absent between the position and a record, shape ``(1,)``."""
        return self._between(position.key, int(order_keys(record)[0]))

    def due_ns(self, key: int) -> int:
        """Return the boundary of the event that comes directly behind an order key, in Unix nanoseconds."""
        return self._calendar.next_key(self._frequencies, key) // SECOND_NS * SECOND_NS

    def _between(self, after: int, before: int) -> dict[Frequency, int]:
        return self._calendar.count_between(self._frequencies, after, before)


class CountingContinuity:
    """By the sequences: a counting producer numbers what it emits without leaving a number out."""

    def unbroken(self, position: Position, records: npt.NDArray[np.void]) -> int:
        """Return how many of the first records go on with the sequences; a frequency that is new begins anywhere."""
        broken = len(records)
        for frequency in map(Frequency, np.unique(records["frequency"])):
            (places,) = np.nonzero(records["frequency"] == frequency)
            numbers = records["sequence"][places].astype(np.uint64)
            before = position.sequences.get(frequency)
            previous = np.concatenate([[numbers[0] - 1 if before is None else before], numbers[:-1]]).astype(np.uint64)
            (jumps,) = np.nonzero(numbers != previous + np.uint64(1))
            if len(jumps):
                broken = min(broken, int(places[jumps[0]]))
        return broken

    def absent(self, position: Position, record: npt.NDArray[np.void]) -> dict[Frequency, int]:
        """Return how many numbers were left out; none if the numbers began anew."""
        frequency = Frequency(int(record["frequency"][0]))
        sequence, before = int(record["sequence"][0]), position.sequences.get(frequency)
        return {} if before is None or sequence <= before + 1 else {frequency: sequence - before - 1}


Continuity: TypeAlias = BoundaryContinuity | CountingContinuity
"""Either of them."""

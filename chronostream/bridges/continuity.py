"""What comes directly behind what: the one order of a stream's events, and how many are absent between two of them.

Events go by boundary, and those that fall together shortest first. One integer, the order, says so: eight times the
boundary in Unix seconds, plus the frequency. This module is pure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from chronostream._values import SECOND_NS
from chronostream.calendar.boundaries import count_boundaries, last_boundary, next_boundary
from chronostream.event import Event, Frequency

__all__ = ["BoundaryContinuity", "Continuity", "CountingContinuity", "Mark", "order_before", "order_of", "orders_of"]

_WIDTH = 8  # more than there are frequencies


def order_of(event: Event) -> int:
    """Return where an event stands in its stream."""
    return event.timestamp // SECOND_NS * _WIDTH + event.frequency


def order_before(time_ns: int) -> int:
    """Return an order behind which come exactly the events of boundaries at `time_ns`, Unix nanoseconds, and later."""
    return -(-time_ns // SECOND_NS) * _WIDTH


def orders_of(records: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    """Return where each record (array of `EVENT_DTYPE`, shape ``(n,)``) stands in its stream: int64, ``(n,)``."""
    orders: npt.NDArray[np.int64] = records["timestamp"] // SECOND_NS * _WIDTH + records["frequency"]
    return orders


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a stream: behind one event.

    Attributes:
        order: of that event.
        sequences: of each frequency, the last sequence up to there, as far as it is known.
    """

    order: int
    sequences: dict[Frequency, int] = field(default_factory=dict)

    def behind(self, records: npt.NDArray[np.void]) -> Mark:
        """Return the place behind the last of these records, which follow this one."""
        found = {
            frequency: int(records["sequence"][records["frequency"] == frequency][-1])
            for frequency in map(Frequency, np.unique(records["frequency"]))
        }
        return Mark(int(orders_of(records[-1:])[0]), self.sequences | found)


class Continuity(Protocol):
    """Knows which event comes directly behind which."""

    def unbroken(self, mark: Mark, records: npt.NDArray[np.void]) -> int:
        """Return how many of the first records follow the mark, and each other, with nothing absent in between."""
        ...

    def absent(self, mark: Mark, record: npt.NDArray[np.void]) -> dict[Frequency, int]:
        """Return how many events of each frequency are absent between the mark and a record, of shape ``(1,)``."""
        ...


class BoundaryContinuity:
    """By the calendar: with the boundary sequencer each boundary has its event, whichever host it comes from.

    Args:
        frequencies: those of the stream.
        tz: its IANA time zone.
    """

    def __init__(self, frequencies: Iterable[Frequency], tz: str) -> None:
        self._frequencies = tuple(frequencies)
        self._tz = tz

    def unbroken(self, mark: Mark, records: npt.NDArray[np.void]) -> int:
        """Return how many of the first records follow the mark with no boundary left out."""
        orders = orders_of(records).tolist()

        def broken(count: int) -> bool:
            return sum(self._between(mark.order, orders[count - 1] + 1).values()) != count

        if orders and not broken(len(orders)):
            return len(orders)
        return bisect_left(range(1, len(orders) + 1), True, key=broken)

    def absent(self, mark: Mark, record: npt.NDArray[np.void]) -> dict[Frequency, int]:
        """Return how many boundaries of each frequency lie between the mark and a record."""
        return self._between(mark.order, int(orders_of(record)[0]))

    def due_ns(self, order: int) -> int:
        """Return the boundary of the event that comes directly behind an order, in Unix nanoseconds."""
        at_ns, last = _split(order)
        later = [next_boundary(at_ns, frequency, self._tz) for frequency in self._frequencies]
        together = [f for f in self._frequencies if f > last and last_boundary(at_ns, f, self._tz) == at_ns]
        return at_ns if together else min(later)

    def _between(self, after: int, before: int) -> dict[Frequency, int]:
        """Return the number of boundaries of each frequency with ``after < order < before``, those without left out."""
        (start_ns, first), (end_ns, last) = _split(after), _split(before)
        counts = {}
        for frequency in self._frequencies:
            low, high = start_ns + (frequency <= first), end_ns + (frequency < last)
            if low < high and (count := count_boundaries(frequency, low, high, self._tz)):
                counts[frequency] = count
        return counts


class CountingContinuity:
    """By the sequences: a counting producer numbers what it emits without leaving a number out."""

    def unbroken(self, mark: Mark, records: npt.NDArray[np.void]) -> int:
        """Return how many of the first records go on with the sequences; a frequency that is new begins anywhere."""
        broken = len(records)
        for frequency in map(Frequency, np.unique(records["frequency"])):
            (places,) = np.nonzero(records["frequency"] == frequency)
            numbers = records["sequence"][places].astype(np.uint64)
            before = mark.sequences.get(frequency)
            previous = np.concatenate([[numbers[0] - 1 if before is None else before], numbers[:-1]]).astype(np.uint64)
            (jumps,) = np.nonzero(numbers != previous + np.uint64(1))
            if len(jumps):
                broken = min(broken, int(places[jumps[0]]))
        return broken

    def absent(self, mark: Mark, record: npt.NDArray[np.void]) -> dict[Frequency, int]:
        """Return how many numbers were left out; none if the numbers began anew."""
        frequency = Frequency(int(record["frequency"][0]))
        sequence, before = int(record["sequence"][0]), mark.sequences.get(frequency)
        return {} if before is None or sequence <= before + 1 else {frequency: sequence - before - 1}


def _split(order: int) -> tuple[int, int]:
    return order // _WIDTH * SECOND_NS, order % _WIDTH

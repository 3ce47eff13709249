"""What is absent from events that were read: which boundaries, and whether they were ever emitted.

This module is pure: it knows the events that it is given, and the calendar; no stream, and no ring.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chronostream._values import checked_int, instant_text
from chronostream.calendar.boundaries import (
    PERIOD_NS,
    boundaries,
    check_zone,
    count_boundaries,
    last_boundary,
    next_boundary,
)
from chronostream.calendar.sequencer import BoundarySequencer
from chronostream.errors import InvalidValueError
from chronostream.event import Frequency, checked_records

__all__ = ["Gap", "check_window", "find_gaps"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Boundaries of one frequency, in a row, whose events are absent.

    Attributes:
        frequency: which one.
        first_ns: the first absent boundary, Unix nanoseconds.
        last_ns: the last one.
        boundaries: how many there are.
        sequences: of those events that were emitted nevertheless: they were lost on the way, or not read. None are if
            the stream missed its boundaries, because the machine slept or the producer did not run. None if it
            cannot be known: at the edge of a window, or in a stream whose sequences are computed from boundaries.
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


def find_gaps(
    records: npt.NDArray[np.void],
    tz: str = "UTC",
    *,
    frequencies: Iterable[Frequency | str | int] | None = None,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> list[Gap]:
    """Return what is absent from events that were read: "did I miss one?".

    Args:
        records: events of one stream in its order, array of `EVENT_DTYPE`, shape ``(n,)``.
        tz: the stream's time zone.
        frequencies: which ones to look at; those that the records have if None.
        start_ns: from which boundary on they should be there; from the first that is if None.
        end_ns: up to which boundary, itself excluded, they should be there; to the last that is if None.

    Returns:
        The gaps, by frequency and in order; an empty list if nothing is absent.

    Raises:
        InvalidValueError: the records are not in order, one is no boundary of this zone, there is no such zone, or the
            window ends before it starts.
        InvalidTypeError: they are not events.
        UnknownFrequencyError: not a frequency that events have.
    """
    checked_records(records)
    check_zone(tz)
    check_window(start_ns, end_ns)
    if frequencies is None and len(records):
        frequencies = np.unique(records["frequency"]).tolist()
    gaps: list[Gap] = []
    for frequency in () if frequencies is None else Frequency.parse_all(frequencies):
        of = records[records["frequency"] == frequency]
        if start_ns is not None:
            of = of[of["timestamp"] >= start_ns]
        if end_ns is not None:
            of = of[of["timestamp"] < end_ns]
        gaps += _gaps_of(frequency, of, tz, start_ns, end_ns)
    return gaps


def check_window(start_ns: int | None, end_ns: int | None) -> None:
    """Check a window of time, each side in Unix nanoseconds or open.

    Raises:
        InvalidValueError: it ends before it starts.
        InvalidTypeError: a side is not an integer.
    """
    for what, instant in (("start_ns", start_ns), ("end_ns", end_ns)):
        if instant is not None:
            checked_int(what, instant)
    if start_ns is not None and end_ns is not None and end_ns < start_ns:
        raise InvalidValueError(f"the window ends at {end_ns}, before it starts at {start_ns}")


def _gaps_of(
    frequency: Frequency, records: npt.NDArray[np.void], tz: str, start_ns: int | None, end_ns: int | None
) -> Iterator[Gap]:
    stamps, numbers = records["timestamp"].astype(np.int64), records["sequence"]
    if not len(stamps):
        if start_ns is not None and end_ns is not None:
            yield from _gap(frequency, start_ns, end_ns, tz, None)
        return
    if start_ns is not None:
        yield from _gap(frequency, start_ns, int(stamps[0]), tz, None)
    ranks = _ranks(frequency, stamps, tz)
    computed = stamps[0] >= 0 and bool(np.all(BoundarySequencer(tz).sequences(frequency, stamps) == numbers))
    for before in np.flatnonzero(np.diff(ranks) > 1).tolist():
        last_read, next_read = int(numbers[before]), int(numbers[before + 1])
        sequences = None if computed else range(last_read + 1, max(next_read, last_read + 1))
        yield from _gap(frequency, int(stamps[before]) + 1, int(stamps[before + 1]), tz, sequences)
    if end_ns is not None:
        yield from _gap(frequency, int(stamps[-1]) + 1, end_ns, tz, None)


def _gap(frequency: Frequency, start_ns: int, end_ns: int, tz: str, sequences: range | None) -> Iterator[Gap]:
    """Yield the gap of all boundaries ``start_ns <= b < end_ns``, if there are any."""
    count = count_boundaries(frequency, start_ns, end_ns, tz)
    if count:
        first_ns, last_ns = next_boundary(start_ns - 1, frequency, tz), last_boundary(end_ns - 1, frequency, tz)
        yield Gap(frequency, first_ns, last_ns, count, sequences)


def _ranks(frequency: Frequency, stamps: npt.NDArray[np.int64], tz: str) -> npt.NDArray[np.int64]:
    """Number the boundaries, neighbours with neighbouring numbers.

    Raises:
        InvalidValueError: they do not ascend, or an instant is no boundary in this zone.
    """
    for place in np.flatnonzero(np.diff(stamps) <= 0)[:1].tolist():
        raise InvalidValueError(
            f"the {frequency.label} events are not in order: {instant_text(int(stamps[place + 1]))} comes after "
            f"{instant_text(int(stamps[place]))}; give those of one stream, as they were read"
        )
    if frequency <= Frequency.MINUTE:
        ranks, rest = np.divmod(stamps, PERIOD_NS[frequency])
        odd = rest != 0
    else:
        every_one = boundaries(frequency, int(stamps[0]), int(stamps[-1]) + 1, tz)
        ranks = np.searchsorted(every_one, stamps)
        odd = ~np.isin(stamps, every_one)
    for instant in stamps[odd][:1].tolist():
        raise InvalidValueError(
            f"{instant_text(instant)} is no {frequency.label} boundary in {tz}: give the stream's time zone (tz=...)"
        )
    return ranks

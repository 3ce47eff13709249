"""The records that are sent. The first word of a record is its position, and all other words follow from it.

So a receiver can tell whether a record is complete or repeated, and how many are missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["FIRST", "WORD", "Checks", "Rows", "check", "make_rows", "positions_of"]

WORD = 8
FIRST = 1
"""The first position. Record 0 would look like memory that was never written."""

Rows = npt.NDArray[np.uint64]
_ODD = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class Checks:
    """Counts of records.

    Attributes:
        sent: records sent to each receiver.
        received: records that arrived, complete or not.
        reported: records that the peer itself reported as lost; None if it does not report losses.
        torn: records with words of several records.
        repeated: records that arrived again, or after a later one.
    """

    sent: int
    received: int
    reported: int | None
    torn: int
    repeated: int

    @property
    def missing(self) -> int:
        """Records that never arrived complete."""
        return self.sent - (self.received - self.torn - self.repeated)

    @property
    def unreported(self) -> int:
        """Missing records that the peer did not report; below zero, it reported too many."""
        return self.missing - (self.reported or 0)

    @property
    def right(self) -> bool:
        """Whether all records arrived complete, once and in order, except for those reported as lost."""
        return not (self.torn or self.repeated or self.unreported)

    @property
    def verdict(self) -> str:
        """The result as text."""
        if self.right:
            return f"right; {self.missing:,} lost, all reported" if self.missing else "right"
        faults = [(self.torn, "torn"), (self.repeated, "repeated")]
        if self.unreported > 0:
            faults.append((self.unreported, "lost silently" if self.reported is None else "lost but not reported"))
        elif self.unreported < 0:
            faults.append((-self.unreported, "reported lost but not lost"))
        return "WRONG: " + ", ".join(f"{count:,} {what}" for count, what in faults if count)

    def __add__(self, other: Checks) -> Checks:
        reported = None if self.reported is None or other.reported is None else self.reported + other.reported
        return Checks(
            self.sent + other.sent,
            self.received + other.received,
            reported,
            self.torn + other.torn,
            self.repeated + other.repeated,
        )


def make_rows(first: int, count: int, size: int) -> Rows:
    """Return `count` records from position `first` on, shape ``(count, size // 8)``."""
    positions = np.arange(first, first + count, dtype=np.uint64)
    return positions[:, None] * _factors(size)


def positions_of(data: Any, size: int) -> npt.NDArray[np.int64]:
    """Return the positions of consecutive records of `size` bytes."""
    return _rows_of(data, size)[:, 0].astype(np.int64)


def check(data: Any, size: int, *, sent: int, reported: int | None) -> Checks:
    """Compare the consecutive records that one receiver got, in order of arrival, with those that were sent."""
    rows = _rows_of(data, size)
    whole = (rows == rows[:, :1] * _factors(size)).all(axis=1) & (rows[:, 0] >= FIRST)
    positions = rows[whole, 0].astype(np.int64)
    latest = np.maximum.accumulate(positions)
    repeated = int((positions[1:] <= latest[:-1]).sum())
    return Checks(sent, len(rows), reported, int((~whole).sum()), repeated)


def _rows_of(data: Any, size: int) -> Rows:
    return np.frombuffer(data, np.uint64).reshape(-1, size // WORD)


def _factors(size: int) -> Rows:
    factors = np.arange(size // WORD, dtype=np.uint64) * np.uint64(2 * _ODD & (1 << 64) - 1) + np.uint64(1)
    return factors[None, :]

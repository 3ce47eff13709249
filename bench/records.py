"""The records that are sent: each says its position in its first word, and every other word follows from it.

So whoever receives one can tell whether it is whole, whether it came before, and how many are missing in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["FIRST", "WORD", "Checks", "Rows", "check", "make_rows", "positions_of"]

WORD = 8
FIRST = 1
"""The first position: every word of record 0 would be 0, as in memory that nobody wrote."""

Rows = npt.NDArray[np.uint64]
_ODD = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class Checks:
    """What became of the records that were sent.

    Attributes:
        sent: records that the sender got rid of, for each receiver.
        received: records that arrived, whole or not.
        told: records that the peer itself says were lost; None if it never says.
        torn: records whose words do not belong together.
        repeated: records that came again, or after a later one.
    """

    sent: int
    received: int
    told: int | None
    torn: int
    repeated: int

    @property
    def missing(self) -> int:
        """How many never came whole."""
        return self.sent - (self.received - self.torn - self.repeated)

    @property
    def untold(self) -> int:
        """How many of them the peer did not speak of; below zero, it spoke of too many."""
        return self.missing - (self.told or 0)

    @property
    def right(self) -> bool:
        """Whether all came whole, once and in order, or else each absent one was told of."""
        return not (self.torn or self.repeated or self.untold)

    @property
    def verdict(self) -> str:
        """The same in words."""
        if self.right:
            return f"right; {self.missing:,} lost, all told" if self.missing else "right"
        faults = [(self.torn, "torn"), (self.repeated, "repeated")]
        if self.untold > 0:
            faults.append((self.untold, "lost without a word" if self.told is None else "lost beyond what it told"))
        elif self.untold < 0:
            faults.append((-self.untold, "told lost that were not"))
        return "WRONG: " + ", ".join(f"{count:,} {what}" for count, what in faults if count)

    def __add__(self, other: Checks) -> Checks:
        told = None if self.told is None or other.told is None else self.told + other.told
        return Checks(
            self.sent + other.sent,
            self.received + other.received,
            told,
            self.torn + other.torn,
            self.repeated + other.repeated,
        )


def make_rows(first: int, count: int, size: int) -> Rows:
    """Return the records from position `first` on: shape ``(count, size // 8)``."""
    positions = np.arange(first, first + count, dtype=np.uint64)
    return positions[:, None] * _factors(size)


def positions_of(data: Any, size: int) -> npt.NDArray[np.int64]:
    """Return the positions that records of `size` bytes, end to end in `data`, claim for themselves."""
    return _rows_of(data, size)[:, 0].astype(np.int64)


def check(data: Any, size: int, *, sent: int, told: int | None) -> Checks:
    """Compare what one receiver got, end to end in the order of its arrival, with what was sent."""
    rows = _rows_of(data, size)
    whole = (rows == rows[:, :1] * _factors(size)).all(axis=1) & (rows[:, 0] >= FIRST)
    positions = rows[whole, 0].astype(np.int64)
    latest = np.maximum.accumulate(positions)
    repeated = int((positions[1:] <= latest[:-1]).sum())
    return Checks(sent, len(rows), told, int((~whole).sum()), repeated)


def _rows_of(data: Any, size: int) -> Rows:
    return np.frombuffer(data, np.uint64).reshape(-1, size // WORD)


def _factors(size: int) -> Rows:
    factors = np.arange(size // WORD, dtype=np.uint64) * np.uint64(2 * _ODD & (1 << 64) - 1) + np.uint64(1)
    return factors[None, :]

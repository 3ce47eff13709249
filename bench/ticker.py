"""The interface of each way to wake up at a second: it measures how late it is, second by second."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from bench.host import Cores
from bench.peer import Contender

__all__ = ["SECOND_NS", "Ticker", "Ticks"]

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Ticks:
    """The result of a ticker.

    Attributes:
        late_ns: lateness at each boundary, in order.
        cpu_share: share of one core that the waiting process used.
        texts: further results as text.
    """

    late_ns: list[int]
    cpu_share: float
    texts: dict[str, str] = field(default_factory=dict)


class Ticker(Contender, ABC):
    """Something that acts at every aligned second. Runs in a process of its own, pinned to the producer's core."""

    @abstractmethod
    def tick(self, count: int, cores: Cores) -> Ticks:
        """Wait for `count` boundaries."""

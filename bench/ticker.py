"""What is asked of each way to be woken at the second: to tell how late it was, second after second."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from bench.host import Cores
from bench.peer import Contender

__all__ = ["SECOND_NS", "Ticker", "Ticks"]

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Ticks:
    """What came of it.

    Attributes:
        late_ns: one for each boundary, in order.
        cpu_share: of one core, of whoever waited for the boundaries.
        texts: what else it says of itself.
    """

    late_ns: list[int]
    cpu_share: float
    texts: dict[str, str] = field(default_factory=dict)


class Ticker(Contender, ABC):
    """Something that acts at every aligned second. Runs in a process of its own, pinned to the producer's core."""

    @abstractmethod
    def tick(self, count: int, cores: Cores) -> Ticks:
        """Wait for `count` boundaries."""

"""What tests of the consumer's side share: rings, and events to publish into them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chronostream.event import EVENT_DTYPE, Frequency, build_events
from chronostream.ring import Producer

NS = 1_000_000_000
NOON_NS = 1_700_000_000 // 86_400 * 86_400 * NS + 43_200 * NS
"""A noon in UTC."""


def event_ring(name: str, capacity: int = 64) -> Producer:
    return Producer.create(name, EVENT_DTYPE, capacity)


def seconds(
    first: int, count: int, *, frequency: Frequency = Frequency.SECOND, start_ns: int = NOON_NS, instance: str = "host"
) -> npt.NDArray[np.void]:
    """Return `count` events, the one with sequence 1 at `start_ns`, the others each a period later."""
    period_ns = {Frequency.SECOND: NS, Frequency.MINUTE: 60 * NS, Frequency.HOUR: 3600 * NS}[frequency]
    sequences = np.arange(first, first + count, dtype=np.uint64)
    stamps = start_ns + (sequences.astype(np.int64) - 1) * period_ns
    return build_events(frequency, stamps, sequences, "1.0", instance)


def sequences(records: npt.NDArray[np.void]) -> list[int]:
    numbers: list[int] = records["sequence"].tolist()
    return numbers

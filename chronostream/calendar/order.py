"""The order of a stream's events: by boundary, and at one boundary the shortest frequency first.

The order key is one integer: the boundary in Unix nanoseconds, plus the number of the frequency. Boundaries are whole
seconds, so the keys of two boundaries never mix.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chronostream._values import SECOND_NS
from chronostream.event import Event, Frequency

__all__ = ["in_range", "key_before", "order_key", "order_keys", "upto_ns"]


def order_key(event: Event) -> int:
    """Return where an event stands in its stream."""
    return event.timestamp + event.frequency


def order_keys(records: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    """Return where each record (array of `EVENT_DTYPE`, shape ``(n,)``) stands in its stream: int64, ``(n,)``."""
    keys: npt.NDArray[np.int64] = records["timestamp"] + records["frequency"]
    return keys


def in_range(records: npt.NDArray[np.void], start_ns: int | None, end_ns: int | None) -> npt.NDArray[np.bool_]:
    """Return which records are within a range of time, an end of which may be open: bool, ``(n,)``."""
    stamps = records["timestamp"]
    inside = np.ones(len(records), np.bool_) if start_ns is None else stamps >= start_ns
    return inside if end_ns is None else inside & (stamps < end_ns)


def key_before(time_ns: int) -> int:
    """Return a key behind which come exactly the events of boundaries at `time_ns`, Unix nanoseconds, and later."""
    return -(-time_ns // SECOND_NS) * SECOND_NS


def upto_ns(key: int, frequency: Frequency) -> int:
    """Return the instant up to which the boundaries of `frequency` come no later than a key."""
    return key - frequency

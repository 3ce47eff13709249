"""Lateness in fixed buckets: log-linear, as in HdrHistogram, so that a reader needs no coordination with the writer.

Every power of two is cut into 16 equal buckets, so that a bucket is at most 1/16 (6.25 %) wider than its lower bound;
below 16 ns each nanosecond has its own. The last bucket holds everything from 2^42 ns (73 minutes) on. A histogram is
an array of counts, the events per bucket, of shape ``(BUCKETS,)``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["BUCKETS", "bucket_of", "bucket_top_ns", "events_below", "percentile_ns"]

_CUT_BITS = 4
_CUT = 1 << _CUT_BITS
_TOP_BIT = 42

BUCKETS = (_TOP_BIT - _CUT_BITS + 1) * _CUT + 1
"""How many buckets a histogram has."""


def bucket_of(lateness_ns: int) -> int:
    """Return the bucket of a lateness; below zero, because the clock was set back, counts as zero."""
    lateness_ns = max(0, lateness_ns)
    power = max(0, lateness_ns.bit_length() - 1 - _CUT_BITS)
    return min(power * _CUT + (lateness_ns >> power), BUCKETS - 1)


def bucket_top_ns(bucket: int) -> int:
    """Return the largest lateness that falls into this bucket; for the last one, the smallest."""
    if bucket >= BUCKETS - 1:
        return 1 << _TOP_BIT
    power = max(0, bucket // _CUT - 1)
    return ((bucket - power * _CUT + 1) << power) - 1


def percentile_ns(counts: npt.NDArray[np.uint64], percent: float) -> int | None:
    """Return the lateness that `percent` of the events did not exceed, to the bucket's width; None without events."""
    cumulative = np.cumsum(counts)
    total = int(cumulative[-1])
    if not total:
        return None
    rank = max(1, -int(-total * percent // 100))
    return bucket_top_ns(int(np.searchsorted(cumulative, rank)))


def events_below(counts: npt.NDArray[np.uint64], power: int) -> int:
    """Return how many events were late by less than ``2**power`` nanoseconds; exact for `power` from 0 to 42."""
    return int(counts[: bucket_of(1 << power)].sum())

"""The past of a stream: compute its events, publish them into a ring, compare a stream with them.

``expected`` computes the events of a range from their boundaries. ``replay`` publishes them into a ring, and ``fill``
publishes recorded ones. ``verify`` and ``verify_stream`` compare events with what they must be (docs/time.md).
"""

from __future__ import annotations

from chronostream._values import instant_ns
from chronostream.backfill.expectation import MAX_EVENTS, count_expected, expected, expected_chunks
from chronostream.backfill.filling import fill
from chronostream.backfill.replaying import replay
from chronostream.backfill.report import Fault, FaultKind, Report
from chronostream.backfill.stream import verify_stream
from chronostream.backfill.verification import verify

__all__ = [
    "MAX_EVENTS",
    "Fault",
    "FaultKind",
    "Report",
    "count_expected",
    "expected",
    "expected_chunks",
    "fill",
    "instant_ns",
    "replay",
    "verify",
    "verify_stream",
]

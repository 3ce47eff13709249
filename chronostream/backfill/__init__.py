"""The past: what a stream must have held, computed, replayed into a ring, and compared with what it holds.

``expected`` makes the events of a range from their boundaries, ``replay`` publishes them into a ring, ``fill`` those
that somebody kept, and ``verify`` and ``verify_stream`` compare what is there with them. They know nothing of the
engine: what both share is the rule of docs/time.md.
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

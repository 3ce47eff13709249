"""A stream that says of itself that it is a mirror, without any NATS behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from chronostream.event import EVENT_DTYPE, Frequency
from chronostream.ring import Producer
from chronostream.stream.description import Description, MirrorSource
from chronostream.stream.state import STATE_SIZE, Freshness, StateWriter

SOURCE = MirrorSource("hub-clock", "CHRONOSTREAM_hub-clock", "2026a")
DESCRIPTION = Description((Frequency.SECOND, Frequency.HOUR), "Europe/Berlin", "boundary", SOURCE)
# Its last look is later than any test: it never looks like a mirror that hangs.
FRESH = Freshness(checked_ns=1 << 62, stale_since_ns=None, connected=True, sequence=7, skipped=3)


@contextmanager
def mirrored(name: str, *, stale: bool = False, connected: bool = True, skipped: int = 3) -> Iterator[Producer]:
    """Have such a stream while the block runs; give its ring."""
    with Producer.create(name, EVENT_DTYPE, 8, application_size=STATE_SIZE) as producer:
        state = StateWriter(producer.application)
        state.describe(DESCRIPTION)
        freshness = replace(FRESH, stale_since_ns=1 if stale else None, connected=connected, skipped=skipped)
        state.save_freshness(freshness)
        yield producer

"""A stream that says of itself that it is a mirror, without any NATS behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from chronostream.event import EVENT_DTYPE, Frequency
from chronostream.ring import Producer
from chronostream.stream.origin import ORIGIN_SIZE, Freshness, MirrorDescription, OriginWriter

DESCRIPTION = MirrorDescription(
    source="hub-clock",
    stream="CHRONOSTREAM_hub-clock",
    frequencies=(Frequency.SECOND, Frequency.HOUR),
    timezone="Europe/Berlin",
    sequencer="boundary",
    zone_data="2026a",
)
FRESH = Freshness(stale=False, stale_since_ns=None, connected=True, checked_ns=1, sequence=7, skipped=3)


@contextmanager
def mirrored(name: str, *, stale: bool = False, connected: bool = True) -> Iterator[Producer]:
    """Have such a stream while the block runs; give its ring."""
    with Producer.create(name, EVENT_DTYPE, 8, application_size=ORIGIN_SIZE) as producer:
        origin = OriginWriter(producer.application)
        origin.describe(DESCRIPTION)
        origin.show(replace(FRESH, stale=stale, stale_since_ns=1 if stale else None, connected=connected))
        yield producer

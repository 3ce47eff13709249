"""From JetStream into a ring of the same layout, so that `chronostream.subscribe` works on another host unchanged.

The ring is all that a mirror keeps: it goes on behind the last event in it. So one that was killed takes its own ring
over, and continues with the next event, which JetStream still has.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from functools import partial

from chronostream._values import checked_seconds
from chronostream.bridges.connection import Connection, ConnectionOptions
from chronostream.bridges.continuity import BoundaryContinuity
from chronostream.bridges.jetstream import Origin, stream_for
from chronostream.bridges.reader import JetStreamReader
from chronostream.bridges.running import first_of
from chronostream.calendar.order import order_keys
from chronostream.errors import StreamMismatchError
from chronostream.event import EVENT_DTYPE
from chronostream.ring import Producer
from chronostream.stream.config import StreamConfig
from chronostream.stream.description import Description, MirrorSource
from chronostream.stream.state import STATE_SIZE, Freshness, StateWriter
from chronostream.version import __version__

__all__ = ["Mirror"]

_log = logging.getLogger(__name__)

_LOOK_S = 0.2


class Mirror:
    """Fills a ring with the events of a stream of other hosts, until told to stop.

    Args:
        name: the stream's name where it is produced, or what its relay calls it.
        connection: where NATS is.
        local_name: the ring's name here; the same by default.
        stream: the JetStream stream; ``CHRONOSTREAM_`` and the name by default.
        capacity: events that the ring holds, a power of two. A new one begins with as many of the newest as it holds.
        stale_after_s: how long after its boundary an event may come before the stream is marked stale.
        mode: permissions of the ring's segment.
        group: its group, by name or number.

    Raises:
        InvalidValueError: an argument is out of its range.
        InvalidTypeError: an argument is of the wrong kind.
    """

    def __init__(
        self,
        name: str,
        connection: ConnectionOptions,
        *,
        local_name: str | None = None,
        stream: str | None = None,
        capacity: int = 65536,
        stale_after_s: float = 5,
        mode: int = 0o600,
        group: str | int | None = None,
    ) -> None:
        self._name = name
        self._local_name = name if local_name is None else local_name
        self._config = StreamConfig(name=self._local_name, capacity=capacity, mode=mode, group=group)
        self._stream = stream_for(name, stream)
        self._link = Connection(connection, f"chronostream mirror {name}")
        self._stale_after_ns = round(checked_seconds("stale_after_s", stale_after_s) * 1e9)
        self._opened = False
        self._sequence = 0
        self._skipped = 0
        self._stale_since_ns: int | None = None

    async def run(self, stop: asyncio.Event) -> bool:
        """Mirror until `stop` is set, then mark the ring closed; it is kept.

        Returns:
            Whether there is a ring; not if JetStream never told what to mirror.

        Raises:
            ProducerActiveError: the local name is live.
            LayoutMismatchError: there is a stream of that name with another capacity.
            StreamMismatchError: it is no mirror, or mirrors another stream, and is left as it was; or JetStream holds
                other events.
            CorruptSegmentError: it was made by another version, or is damaged.
            StreamRemovedError: it was removed.
            BridgeError: the server does not let us in.
        """
        try:
            await first_of(self._work(), stop.wait())
        finally:
            await self._link.close()
        return self._opened

    async def _work(self) -> None:
        reader = JetStreamReader(self._link, self._stream, self._name, newest=self._config.capacity)
        ring = self._open_ring(await reader.open())
        with contextlib.ExitStack() as closing:
            closing.callback(ring.close, remove=False)
            self._opened = True
            reader.after = _last_key(ring)
            _log.info("ready: stream %r mirrors %r, process %d", self._local_name, self._name, os.getpid())
            await first_of(self._fill(reader, ring), self._watch(reader, ring))

    def _open_ring(self, origin: Origin) -> Producer:
        return Producer.create(
            self._local_name,
            EVENT_DTYPE,
            self._config.capacity,
            application_size=STATE_SIZE,
            always_wake=True,
            mode=self._config.mode,
            group=self._config.group,
            producer_version=__version__,
            instance_id=f"mirror of {origin.name}"[:64],
            before_live=partial(self._describe, origin),
        )

    def _describe(self, origin: Origin, ring: Producer) -> None:
        """Enter what the ring mirrors, unless it is something else."""
        source = MirrorSource(origin.name, self._stream, str(origin.zone))
        state = StateWriter(ring.application)
        found = state.description()
        found_source = None if found is None else found.source
        if ring.taken_over and _route(found_source) != _route(source):
            raise StreamMismatchError(
                f"stream {self._local_name!r} {_route(found_source)}, requested is one that {_route(source)}: use "
                f"another name, or remove it first (`chronostream remove {self._local_name}`)"
            )
        description = Description(origin.frequencies, origin.zone.timezone, origin.sequencer, source)
        if description != found:
            state.describe(description)

    async def _fill(self, reader: JetStreamReader, ring: Producer) -> None:
        async for part in reader.parts():
            ring.publish_many(part.records)
            self._sequence = part.sequence
            self._skipped += len(part.skipped)

    async def _watch(self, reader: JetStreamReader, ring: Producer) -> None:
        """Say how fresh the stream is, over and over; end with an error once the ring was removed."""
        began_ns = time.time_ns()
        state = StateWriter(ring.application)
        while True:
            ring.check()
            now_ns = time.time_ns()
            due_ns = began_ns
            if reader.after is not None and reader.origin is not None:
                due_ns = BoundaryContinuity(reader.origin.frequencies, reader.origin.zone.timezone).due_ns(reader.after)
            self._mark(now_ns, due_ns)
            state.save_freshness(
                Freshness(
                    checked_ns=now_ns,
                    stale_since_ns=self._stale_since_ns,
                    connected=self._link.connected,
                    sequence=self._sequence,
                    skipped=self._skipped,
                )
            )
            await asyncio.sleep(_LOOK_S)

    def _mark(self, now_ns: int, due_ns: int) -> None:
        stale = now_ns > due_ns + self._stale_after_ns
        if stale and self._stale_since_ns is None:
            self._stale_since_ns = now_ns
            _log.warning("%s: stale: an event has been due for %.1f s", self._local_name, (now_ns - due_ns) / 1e9)
        elif not stale and self._stale_since_ns is not None:
            self._stale_since_ns = None
            _log.info("%s: current again", self._local_name)


def _route(source: MirrorSource | None) -> str:
    """Return whence the events of a stream come: a mirror keeps to that."""
    if source is None:
        return "is no mirror"
    return f"mirrors {source.name!r} through JetStream stream {source.stream}"


def _last_key(ring: Producer) -> int | None:
    """Return the order key of the last event in the ring."""
    if not ring.head:
        return None
    at = (ring.head - 1) & (ring.capacity - 1)
    return int(order_keys(ring.records[at : at + 1])[0])

"""Delivers the events of a ring to JetStream, each once, through crashes and failovers.

A relay finds the last event that JetStream holds and continues from there with the events of the ring. After any error
it does so again. So it stores no state: a killed relay, or one of several, continues like one that was disconnected.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from nats.js import JetStreamContext

from chronostream._renamed import renamed
from chronostream._values import checked_seconds, instant_text
from chronostream.bridges.backlog import Backlog
from chronostream.bridges.connection import TRANSIENT_ERRORS, Connection, ConnectionOptions
from chronostream.bridges.continuity import BoundaryContinuity, Continuity, CountingContinuity, Position
from chronostream.bridges.encoding import Encoding, all_subjects, subject_of
from chronostream.bridges.jetstream import Limits, Origin, ensure_stream, find_end, last_event, stream_for
from chronostream.bridges.publisher import MAX_BATCH, Batch, BatchSizeError, ConflictError, Publisher
from chronostream.bridges.relay_metrics import write_metrics
from chronostream.bridges.running import Backoff, Troubles, cancel, first_of
from chronostream.calendar.order import key_before, order_key
from chronostream.errors import ChronoStreamError, InvalidValueError
from chronostream.event import Frequency, event_ids
from chronostream.stream.events import LOOK_AGAIN_S, look_for_stream

__all__ = ["Loss", "Relay", "RelayReport"]

_log = logging.getLogger(__name__)

_LOOK_S = 0.25
_METRICS_S = 5.0


@dataclass(frozen=True, slots=True)
class Loss:
    """Missing events that neither the ring nor JetStream holds.

    Attributes:
        after: id of the last event in JetStream before the missing ones; empty if it is there no more.
        before: id of the event delivered next.
        counts: the number of missing events of each frequency.
    """

    after: str
    before: str
    counts: dict[Frequency, int]

    def __str__(self) -> str:
        counts = " and ".join(f"{count} of frequency {frequency.label}" for frequency, count in self.counts.items())
        after = f"event {self.after}" if self.after else "what JetStream holds no more"
        return f"{counts} between {after} and event {self.before}"


@dataclass(slots=True)
class RelayReport:
    """What a relay has done so far.

    Attributes:
        delivered: the number of events that it stored.
        present: the number of its events that JetStream held already.
        losses: the missing events.
    """

    delivered: int = 0
    present: int = 0
    losses: list[Loss] = field(default_factory=list)

    @property
    def lost(self) -> dict[Frequency, int]:
        """The number of missing events of each frequency."""
        return dict(sum((Counter(loss.counts) for loss in self.losses), Counter[Frequency]()))


class Relay:
    """Delivers the events of a ring to JetStream until the stream is closed.

    Args:
        name: the stream's name on this host.
        connection: addresses and credentials of NATS.
        to_name: its name in subjects and for mirrors; the same by default.
        to_stream: the JetStream stream; ``CHRONOSTREAM_`` and the name by default.
        limits: of the JetStream stream.
        encoding: of the payloads.
        gap_timeout_s: with the boundary sequencer, how long to wait for another relay to fill a gap, before continuing
            after it.
        accept_zone_data: continue with this host's zone data if the events in JetStream have other data.
        any_owner: also trust a stream of another user.
        wait_s: how long to wait for the stream to exist.
        metrics_file: a file that says for Prometheus how the relay fares (docs/distributed.md); written every 5 s.

    Attributes:
        report: what the relay has done so far.
    """

    @renamed(patience_s="gap_timeout_s")
    def __init__(
        self,
        name: str,
        connection: ConnectionOptions,
        *,
        to_name: str | None = None,
        to_stream: str | None = None,
        limits: Limits | None = None,
        encoding: Encoding | str = Encoding.JSON,
        gap_timeout_s: float = 5,
        accept_zone_data: bool = False,
        any_owner: bool = False,
        wait_s: float = 0,
        metrics_file: Path | None = None,
    ) -> None:
        if encoding not in list(Encoding):
            raise InvalidValueError(f"encoding is {encoding!r}, expected one of {', '.join(Encoding)}")
        self.report = RelayReport()
        self._name = name
        self._to_name = name if to_name is None else to_name
        self._subjects = all_subjects(self._to_name)
        self._to_stream = stream_for(self._to_name, to_stream)
        self._limits = limits or Limits()
        self._encoding = Encoding(encoding)
        self._gap_timeout_s = checked_seconds("gap_timeout_s", gap_timeout_s)
        self._accept_zone_data = accept_zone_data
        self._any_owner = any_owner
        self._wait_s = checked_seconds("wait_s", wait_s)
        self._connection = Connection(connection, f"chronostream relay {name}")
        self._backlog: Backlog | None = None
        self._ensured = False
        self._batch_limit = MAX_BATCH
        self._batch = 1  # events in a batch
        self._tip: Position | None = None  # after the last event sent
        self._stored = _Stored(0, None, None)  # as this relay saw it last
        self._gap: tuple[int, float] | None = None  # order key before the gap; monotonic time when it times out
        self._backoff = Backoff(_log)
        self._success_ns = 0  # when something was stored last
        self._metrics_troubles = Troubles(_log)
        self._metrics_file = None if metrics_file is None else Path(metrics_file)

    async def run(self, stop: asyncio.Event) -> RelayReport:
        """Deliver until the stream is closed and all its events are delivered, or until `stop` is set.

        Raises:
            StreamNotFoundError: the stream does not exist on this host.
            StreamRemovedError: the stream was removed.
            StreamMismatchError: the JetStream stream is for other events.
            BridgeError: the server refuses access, or no later attempt can succeed.
        """
        try:
            with ThreadPoolExecutor(1, "chronostream-relay") as self._waiter:
                await first_of(self._work(), stop.wait(), self._publish_metrics())
        finally:
            self._write_metrics()
            if self._backlog is not None:  # Closed only after its waiting thread has ended.
                self._backlog.close()
            await self._connection.close()
        return self.report

    async def _publish_metrics(self) -> None:
        while True:
            self._write_metrics()
            await asyncio.sleep(_METRICS_S)

    def _write_metrics(self) -> None:
        if self._metrics_file is None:
            return
        try:
            write_metrics(
                self._metrics_file,
                self._name,
                delivered=self.report.delivered,
                lost=sum(self.report.lost.values()),
                pending=0 if self._backlog is None else self._backlog.pending,
                connected=self._connection.connected,
                success_ns=self._success_ns,
            )
        except (OSError, ChronoStreamError) as error:  # Delivering is worth more.
            self._metrics_troubles.log("%s: cannot write its metrics: %s", self._name, error)
        else:
            self._metrics_troubles.end()

    async def _work(self) -> None:
        self._backlog = await self._open()
        self._continuity = _continuity(self._backlog)
        while True:
            before = (self.report.delivered, self.report.present)
            try:
                await self._deliver(await self._connection.ready(), self._backlog)
            except ConflictError:
                pass
            except BatchSizeError:
                self._batch_limit = max(1, self._batch // 2)
                self._ensured = False
            except _GapError:
                await asyncio.sleep(_LOOK_S)
            except TRANSIENT_ERRORS as error:
                text = self._connection.transient(error)
                self._backoff.troubles.log("%s: cannot deliver, will retry: %s", self._name, text)
                self._ensured = False
            else:
                return
            if before != (self.report.delivered, self.report.present):
                self._backoff.reset()
            await self._backoff.wait()

    async def _open(self) -> Backlog:
        look = look_for_stream(partial(Backlog, self._name, any_owner=self._any_owner), self._wait_s)
        while True:
            if (backlog := look()) is not None:
                return backlog
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _deliver(self, js: JetStreamContext, backlog: Backlog) -> None:
        """Deliver from the end of JetStream's events, until the stream is closed and drained."""
        origin = backlog.origin(self._to_name)
        if not self._ensured:
            info = await ensure_stream(
                js, self._to_stream, origin, self._limits, accept_zone_data=self._accept_zone_data
            )
            # A server before 2.12 has no batches and gets one event after the other.
            self._connection.answered = True
            self._ensured, self._batch = True, self._batch_limit if info.config.allow_atomic else 1
        stored = self._stored = await self._find_stored(js, origin)
        key = None if stored.position is None else stored.position.key
        self.report.present += backlog.rewind(key, stored.event_id)
        self._tip, sequence = stored.position, stored.sequence
        publisher = Publisher(self._connection.client, js, self._to_name, self._encoding, str(origin.zone))
        batch = await self._stage(publisher, backlog, sequence)
        while batch is not None or not backlog.drained:
            if batch is None:
                await asyncio.get_running_loop().run_in_executor(self._waiter, backlog.wait, _LOOK_S)
                batch = await self._stage(publisher, backlog, sequence)
                continue
            answer = asyncio.create_task(publisher.commit(batch))
            try:
                await asyncio.sleep(0)  # Sends the commit; the next batch is staged while it is in flight.
                next_batch = await self._stage(publisher, backlog, sequence + len(batch.messages))
                sequence = await answer
            finally:
                await cancel([answer])
            self._confirm(backlog, batch, sequence)
            batch = next_batch

    async def _stage(self, publisher: Publisher, backlog: Backlog, expected_last: int) -> Batch | None:
        """Send the next batch except for its commit; return None if there are no events now."""
        records = backlog.unsent(self._batch)
        if not len(records):
            return None
        if self._tip is None:
            records = records[: 1 + self._continuity.unbroken(Position(0).behind(records[:1]), records[1:])]
        elif unbroken := self._continuity.unbroken(self._tip, records):
            records = records[:unbroken]
        elif backlog.sent:
            return None  # The events in flight come first.
        else:
            records = records[:1]  # Alone: if it conflicts, no other event depends on it.
            self._pass_gap(self._tip, records)
        batch = await publisher.stage(records, expected_last)
        backlog.sent += len(records)
        self._tip = (self._tip or Position(0)).behind(records)
        return batch

    def _confirm(self, backlog: Backlog, batch: Batch, sequence: int) -> None:
        backlog.confirm(len(batch.records))
        self.report.delivered += len(batch.records)
        self._success_ns = time.time_ns()
        position = self._stored.position or Position(0)
        self._stored = _Stored(sequence, position.behind(batch.records), str(event_ids(batch.records[-1:])[0]))

    def _pass_gap(self, position: Position, record: npt.NDArray[np.void]) -> None:
        """Report the missing events as lost, unless another relay may still deliver them."""
        counts = self._continuity.absent(position, record)
        if not counts:
            return  # A counting producer began again with other numbers.
        if isinstance(self._continuity, BoundaryContinuity):
            if self._gap is None or self._gap[0] != position.key:
                self._gap = position.key, time.monotonic() + self._gap_timeout_s
            if time.monotonic() < self._gap[1]:
                raise _GapError
        loss = Loss(self._stored.event_id or "", str(event_ids(record)[0]), counts)
        self.report.losses.append(loss)
        _log.warning("%s: lost, because neither this ring nor JetStream holds them: %s", self._name, loss)

    async def _find_stored(self, js: JetStreamContext, origin: Origin) -> _Stored:
        """Return up to where events were stored, also if JetStream holds them no more."""
        end = await find_end(js, self._to_stream, self._subjects)
        if end.gone_ns is not None:
            if self._stored.sequence == end.sequence:
                return self._stored  # Nobody stored anything since.
            _log.warning(
                "%s: JetStream stored its last message at %s and holds it no more. Which event it was is not known. "
                "Events up to then are taken as stored, and not stored again; for that, delete JetStream stream %s",
                self._name,
                instant_text(end.gone_ns),
                self._to_stream,
            )
            return _Stored(end.sequence, Position(key_before(end.gone_ns + 1)), None)
        if end.last is None:
            return _Stored(end.sequence, None, None)
        sequences = {}
        if isinstance(self._continuity, CountingContinuity):
            for frequency in origin.frequencies:
                newest = await last_event(js, self._to_stream, subject_of(self._to_name, frequency))
                if newest is not None:
                    sequences[frequency] = newest.sequence
        return _Stored(end.sequence, Position(order_key(end.last), sequences), end.last.id)


@dataclass(frozen=True, slots=True)
class _Stored:
    """Up to where JetStream has stored events: its last sequence, the position, and the last event's id if known."""

    sequence: int
    position: Position | None
    event_id: str | None


class _GapError(Exception):
    """Another relay may still deliver the missing events."""


def _continuity(backlog: Backlog) -> Continuity:
    description = backlog.description
    if description.sequencer == "boundary":
        return BoundaryContinuity(description.frequencies, description.timezone)
    return CountingContinuity()

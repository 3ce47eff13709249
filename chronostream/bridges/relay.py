"""From a ring into JetStream: a consumer that delivers each event once, whatever happens in between.

One turn looks where JetStream ends, and goes on from there with what the ring holds; any trouble begins the next turn.
So there is nothing to keep: a relay that is killed, or one of several, finds its place like one that was cut off.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
from nats.js import JetStreamContext

from chronostream._values import checked_seconds
from chronostream.bridges.backlog import Backlog
from chronostream.bridges.connection import TROUBLE, ConnectionOptions, Link
from chronostream.bridges.continuity import BoundaryContinuity, Continuity, CountingContinuity, Mark, order_of
from chronostream.bridges.encoding import Encoding, all_subjects, subject_of
from chronostream.bridges.jetstream import Limits, Origin, ensure_stream, find_end, stream_for
from chronostream.bridges.publisher import MAX_BATCH, Batch, BatchSizeError, ConflictError, Publisher
from chronostream.bridges.running import Pauses, cancel, first_of
from chronostream.errors import InvalidValueError
from chronostream.event import Event, Frequency, event_ids
from chronostream.stream.events import LOOK_AGAIN_S, look_for_stream

__all__ = ["Loss", "Relay", "RelayReport"]

_log = logging.getLogger(__name__)

_LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class Loss:
    """Events that could not be delivered: neither the ring nor JetStream has them.

    Attributes:
        after: id of the event that JetStream held last.
        before: id of the event that was delivered next.
        counts: how many events of each frequency belong between the two.
    """

    after: str
    before: str
    counts: dict[Frequency, int]

    def __str__(self) -> str:
        counts = " and ".join(f"{count} of frequency {frequency.label}" for frequency, count in self.counts.items())
        return f"{counts} between event {self.after} and event {self.before}"


@dataclass(slots=True)
class RelayReport:
    """What a relay has done.

    Attributes:
        delivered: events that it stored.
        present: events that it would have stored, and that JetStream held already.
        losses: what could not be delivered.
    """

    delivered: int = 0
    present: int = 0
    losses: list[Loss] = field(default_factory=list)

    @property
    def lost(self) -> dict[Frequency, int]:
        """How many events of each frequency could not be delivered."""
        total: Counter[Frequency] = Counter()
        for loss in self.losses:
            total.update(loss.counts)
        return dict(total)


class Relay:
    """Delivers the events of a ring to JetStream until the stream is closed, or until told to stop.

    Args:
        name: the stream's name on this machine.
        connection: where NATS is.
        to_name: its name in subjects and for mirrors; the same by default.
        to_stream: the JetStream stream; ``CHRONOSTREAM_`` and the name by default.
        limits: what the JetStream stream must be like.
        encoding: of the payloads.
        patience_s: how long to wait for another relay to fill a gap, with the boundary sequencer, before going on
            behind it.
        accept_zone_data: take this host's zone data for right if JetStream has events by other data.
        any_owner: also trust a stream that another user's process made.
        wait_s: how long to wait for a stream that is not there yet.

    Attributes:
        report: what it has done so far.

    Raises:
        InvalidValueError: an argument is out of its range, or none of its choices.
        InvalidTypeError: an argument is of the wrong kind.
    """

    def __init__(
        self,
        name: str,
        connection: ConnectionOptions,
        *,
        to_name: str | None = None,
        to_stream: str | None = None,
        limits: Limits | None = None,
        encoding: Encoding | str = Encoding.JSON,
        patience_s: float = 5,
        accept_zone_data: bool = False,
        any_owner: bool = False,
        wait_s: float = 0,
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
        self._patience_s = checked_seconds("patience_s", patience_s)
        self._accept_zone_data = accept_zone_data
        self._any_owner = any_owner
        self._wait_s = checked_seconds("wait_s", wait_s)
        self._link = Link(connection, f"chronostream relay {name}")
        self._backlog: Backlog | None = None
        self._ensured = False
        self._batch_limit = MAX_BATCH
        self._batch = 1  # events that go together
        self._tip: Mark | None = None  # behind what was sent
        self._last_id: str | None = None  # of what was delivered
        self._gap: tuple[int, float] | None = None  # behind which order, and until when it may still be filled
        self._said = ""

    async def run(self, stop: asyncio.Event) -> RelayReport:
        """Deliver until the stream is closed and everything in it delivered, or until `stop` is set.

        Raises:
            StreamNotFoundError: there is no such stream on this machine.
            StreamRemovedError: it was removed.
            StreamMismatchError: the JetStream stream is for other events.
            BridgeError: the server does not let us in.
        """
        try:
            with ThreadPoolExecutor(1, "chronostream-relay") as self._waiter:
                await first_of(self._work(), stop.wait())
        finally:
            if self._backlog is not None:  # Not before its waiting thread has ended.
                self._backlog.close()
            await self._link.close()
        return self.report

    async def _work(self) -> None:
        self._backlog = await self._open()
        self._continuity = _continuity(self._backlog)
        pauses = Pauses()
        while True:
            before = (self.report.delivered, self.report.present)
            try:
                await self._turn(await self._link.ready(), self._backlog)
            except ConflictError:
                pass
            except BatchSizeError:
                self._batch_limit = max(1, self._batch // 2)
                self._ensured = False
            except _GapError:
                await asyncio.sleep(_LOOK_S)
            except TROUBLE as error:
                self._say(error)
                self._ensured = False
            else:
                return
            if before != (self.report.delivered, self.report.present):
                self._said = ""
                pauses.reset()
            await pauses.wait()

    async def _open(self) -> Backlog:
        look = look_for_stream(partial(Backlog, self._name, any_owner=self._any_owner), self._wait_s)
        while True:
            if (backlog := look()) is not None:
                return backlog
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _turn(self, js: JetStreamContext, backlog: Backlog) -> None:
        """Deliver from where JetStream ends, until the stream is closed and drained."""
        origin = backlog.origin(self._to_name)
        if not self._ensured:
            info = await ensure_stream(
                js, self._to_stream, origin, self._limits, accept_zone_data=self._accept_zone_data
            )
            # A server before 2.12 takes no batches: it gets one event after the other.
            self._ensured, self._batch = True, self._batch_limit if info.config.allow_atomic else 1
        sequence, last = await find_end(js, self._to_stream, self._subjects)
        self.report.present += backlog.rewind(last)
        self._tip = await self._mark(js, last, origin)
        self._last_id = None if last is None else last.id
        publisher = Publisher(self._link.client, js, self._to_name, self._encoding, str(origin.zone))
        batch = await self._stage(publisher, backlog, sequence)
        while batch is not None or not backlog.drained:
            if batch is None:
                await asyncio.get_running_loop().run_in_executor(self._waiter, backlog.wait, _LOOK_S)
                batch = await self._stage(publisher, backlog, sequence)
                continue
            answer = asyncio.create_task(publisher.commit(batch))
            try:
                await asyncio.sleep(0)  # It goes out first; while it is under way, the next batch is made and sent.
                following = await self._stage(publisher, backlog, sequence + len(batch.messages))
                sequence = await answer
            finally:
                await cancel([answer])
            self._confirm(backlog, batch)
            batch = following

    async def _stage(self, publisher: Publisher, backlog: Backlog, behind: int) -> Batch | None:
        """Send the next events but for the commit; None if there are none now."""
        records = backlog.unsent(self._batch)
        if not len(records):
            return None
        if self._tip is None:
            records = records[: 1 + self._continuity.unbroken(Mark(0).behind(records[:1]), records[1:])]
        elif unbroken := self._continuity.unbroken(self._tip, records):
            records = records[:unbroken]
        elif backlog.sent:
            return None  # What is on its way comes first.
        else:
            records = records[:1]  # Alone: it is guarded by what was seen there, and nothing is built on it yet.
            self._pass_gap(self._tip, records)
        batch = await publisher.stage(records, behind)
        backlog.sent += len(records)
        self._tip = (self._tip or Mark(0)).behind(records)
        return batch

    def _confirm(self, backlog: Backlog, batch: Batch) -> None:
        backlog.confirm(len(batch.records))
        self.report.delivered += len(batch.records)
        self._last_id = str(event_ids(batch.records[-1:])[0])

    def _pass_gap(self, mark: Mark, record: npt.NDArray[np.void]) -> None:
        """Enter a loss, unless another relay may still fill the gap."""
        counts = self._continuity.absent(mark, record)
        if not counts:
            return  # A counting producer that began anew.
        if isinstance(self._continuity, BoundaryContinuity):
            if self._gap is None or self._gap[0] != mark.order:
                self._gap = mark.order, time.monotonic() + self._patience_s
            if time.monotonic() < self._gap[1]:
                raise _GapError
        loss = Loss(self._last_id or "", str(event_ids(record)[0]), counts)
        self.report.losses.append(loss)
        _log.warning("%s: not delivered, as neither this ring nor JetStream has them: %s", self._name, loss)

    async def _mark(self, js: JetStreamContext, last: Event | None, origin: Origin) -> Mark | None:
        if last is None:
            return None
        sequences = {}
        if isinstance(self._continuity, CountingContinuity):
            for frequency in origin.frequencies:
                _, newest = await find_end(js, self._to_stream, subject_of(self._to_name, frequency))
                if newest is not None:
                    sequences[frequency] = newest.sequence
        return Mark(order_of(last), sequences)

    def _say(self, error: BaseException) -> None:
        """Log each trouble once, until something was delivered again."""
        text = self._link.options.redact(error) or "no answer in time"
        if text != self._said:
            self._said = text
            _log.warning("%s: cannot deliver now, and tries again: %s", self._name, text)


class _GapError(Exception):
    """Another relay may still have what is absent here."""


def _continuity(backlog: Backlog) -> Continuity:
    description = backlog.description
    if description.sequencer == "boundary":
        return BoundaryContinuity(description.frequencies, description.timezone)
    return CountingContinuity()

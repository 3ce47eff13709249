"""Reads events from JetStream, in order and each once, through restarts and failovers.

The reader has an ephemeral consumer on the server and requests messages from it in batches. After any error it creates
another consumer and finds its position by the events themselves, because their sequences may have changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

import nats.errors
import numpy as np
import numpy.typing as npt
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamInfo
from nats.js.errors import NotFoundError

from chronostream._values import SECOND_NS, instant_ns
from chronostream.bridges.connection import TRANSIENT_ERRORS, Connection
from chronostream.bridges.encoding import ZONE, all_subjects, decode
from chronostream.bridges.jetstream import Origin, find_stream, last_message, seek
from chronostream.bridges.running import Backoff, Troubles
from chronostream.calendar.order import order_key
from chronostream.errors import BridgeError
from chronostream.event import Event, to_records

__all__ = ["JetStreamReader", "Part", "Skipped"]

_log = logging.getLogger(__name__)

_REQUEST_MESSAGES = 1000
_EXPIRES_S = 20.0
_HEARTBEAT_S = 0.5
_SILENCE_S = 4 * _HEARTBEAT_S
_FORGET_S = 30.0
_HEARTBEAT, _REQUEST_ENDED = "100", ("404", "408", "409")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A message that is not among the events of a part.

    Attributes:
        stored_ns: when JetStream stored it, Unix nanoseconds.
        reason: which message it is, and why it was skipped.
    """

    stored_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class Part:
    """Some consecutive messages.

    Attributes:
        records: their events, an array of `EVENT_DTYPE`, shape ``(n,)``; may be empty.
        sequence: of the last message.
        skipped: the messages that are no events or out of order.
    """

    records: npt.NDArray[np.void]
    sequence: int
    skipped: tuple[Skipped, ...]


class JetStreamReader:
    """Reads the events of one stream.

    Args:
        connection: to NATS.
        stream: the JetStream stream.
        name: the ChronoStream stream's name.
        after: the order key after which the events begin; None for the `newest`, or all.
        newest: without `after`, the number of the newest events to begin with.
        audit: yield the events as they are stored, also those out of order, and look at messages on any subject.
        to_end: end with the message that is the last one at the start.

    Attributes:
        connection: to NATS.
        origin: description of the events when the stream was last opened; None before.
        after: the order key of the last event that was yielded.
        until: sequence of the last message to read; None for no end.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        name: str,
        *,
        after: int | None = None,
        newest: int | None = None,
        audit: bool = False,
        to_end: bool = False,
    ) -> None:
        self.connection = connection
        self.origin: Origin | None = None
        self.after = after
        self.until: int | None = None
        self._stream = stream
        self._name = name
        self._newest = newest
        self._audit = audit
        self._to_end = to_end
        self._subjects = ">" if audit else all_subjects(name)
        self._sequence = 0
        self._zone: str | None = None
        self._backoff = Backoff(_log)
        self._skipping = Troubles(_log)

    async def open(self) -> Origin:
        """Wait until the JetStream stream exists, and return the description of its events.

        Raises:
            StreamMismatchError: the JetStream stream holds other events.
            BridgeError: the server refuses access, or the connection's timeout expired.
        """
        while True:
            try:
                _, origin = await self._find(await self.connection.ready())
            except TRANSIENT_ERRORS as error:
                self._handle(error)
                await self._backoff.wait()
            else:
                self._backoff.reset()
                return origin

    async def parts(self) -> AsyncIterator[Part]:
        """Yield events as they arrive, up to the message `until`.

        Raises:
            StreamMismatchError: the JetStream stream now holds other events.
            BridgeError: as for `open`.
        """
        while True:
            inbox = _Inbox()
            try:
                js = await self.connection.ready()
                start = await self._start(js)
                if self.until is not None and start > self.until:
                    return
                await inbox.open(self.connection, js, self._stream, self._subjects, start)
                while True:
                    messages = await inbox.receive()
                    self._backoff.reset()
                    if messages:
                        yield self._part(messages)
                    if self.until is not None and await self._reached(js, self.until, idle=not messages):
                        return
            except TRANSIENT_ERRORS as error:
                self._handle(error)
            finally:
                await inbox.close()
            await self._backoff.wait()

    async def _find(self, js: JetStreamContext) -> tuple[StreamInfo, Origin]:
        info, self.origin = await find_stream(js, self._stream, self._name)
        self.connection.answered = True
        return info, self.origin

    async def _start(self, js: JetStreamContext) -> int:
        """Return the sequence of the first message to read."""
        info, _ = await self._find(js)
        if self._to_end and self.until is None:
            message = await last_message(js, self._stream, self._subjects)
            self.until = 0 if message is None else message.seq
        if self.after is not None:
            return await seek(js, self._stream, self._subjects, self.after, hint=self._sequence + 1)
        newest = 0 if self._newest is None else info.state.last_seq - self._newest + 1
        return max(info.state.first_seq, newest, self._sequence + 1 if self._audit else 1)

    def _part(self, messages: list[Msg]) -> Part:
        events: list[Event] = []
        skipped: list[Skipped] = []
        for message in messages:
            try:
                event = decode(message.subject, message.headers, message.data)
                if not self._audit and self.after is not None and order_key(event) <= self.after:
                    raise BridgeError(f"event {event.id} comes after a later one")
            except BridgeError as error:
                stored = message.metadata
                reason = f"message {stored.sequence.stream} of {self._stream}: {error}"
                skipped.append(Skipped(instant_ns("timestamp", stored.timestamp), reason))
                if not self._audit:
                    self._skipping.log("%s: skipped %s; more like it are only counted", self._name, reason)
                continue
            if not self._audit:
                self.after = order_key(event)
                self._skipping.end()
            self._check_zone((message.headers or {}).get(ZONE))
            events.append(event)
        self._sequence = messages[-1].metadata.sequence.stream
        return Part(to_records(events), self._sequence, tuple(skipped))

    def _check_zone(self, zone: str | None) -> None:
        if zone is not None and zone != self._zone:
            if self._zone is not None:
                _log.warning("%s: events now have zone data %s, before %s", self._name, zone, self._zone)
            self._zone = zone

    async def _reached(self, js: JetStreamContext, until: int, *, idle: bool) -> bool:
        # If no messages arrive, the last one may have expired.
        return self._sequence >= until or (idle and (await js.stream_info(self._stream)).state.first_seq > until)

    def _handle(self, error: BaseException) -> None:
        """Log a new error; raise any error after the connection's timeout."""
        text = self.connection.transient(error)
        if isinstance(error, NotFoundError):
            text = f"the JetStream stream {self._stream} does not exist"
        timeout_s = self.connection.timeout_s
        if timeout_s is not None and (isinstance(error, NotFoundError) or self._backoff.failing_s >= timeout_s):
            raise BridgeError(
                f"cannot read the events of {self._name!r} at {self.connection.options.label}: {text}"
            ) from None
        self._backoff.troubles.log("%s: cannot read, will retry: %s", self._name, text)


class _Inbox:
    """A consumer on the server, and the messages that it sent. Any irregularity raises a transient error."""

    def __init__(self) -> None:
        self._messages: deque[Msg] = deque()
        self._arrived = asyncio.Event()
        self._subscription: Subscription | None = None
        self._requested = 0  # messages that the server has still to send
        self._request = 0
        self._last = 0  # consumer sequence of the last message

    async def open(self, connection: Connection, js: JetStreamContext, stream: str, subjects: str, start: int) -> None:
        self._client = connection.client
        self._inbox = self._client.new_inbox()
        self._subscription = await self._client.subscribe(f"{self._inbox}.*", cb=self._on_message)
        name = self._inbox.rpartition(".")[2]
        await js.add_consumer(
            stream,
            ConsumerConfig(
                name=name,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=start,
                ack_policy=AckPolicy.NONE,
                filter_subject=subjects,
                inactive_threshold=_FORGET_S,
                mem_storage=True,
                num_replicas=1,
            ),
        )
        self._next = f"{js._prefix}.CONSUMER.MSG.NEXT.{stream}.{name}"  # noqa: SLF001 - with the domain

    async def receive(self) -> list[Msg]:
        """Return the messages that have arrived; wait at most until the next heartbeat.

        Raises:
            TimeoutError: neither a message nor a heartbeat arrived.
            nats.errors.Error: the consumer ended, or a message was lost.
        """
        if self._requested <= 0:
            self._requested = _REQUEST_MESSAGES
            self._request += 1
            request = {
                "batch": _REQUEST_MESSAGES,
                "expires": int(_EXPIRES_S * SECOND_NS),
                "idle_heartbeat": int(_HEARTBEAT_S * SECOND_NS),
            }
            await self._client.publish(self._next, json.dumps(request).encode(), reply=f"{self._inbox}.{self._request}")
        async with asyncio.timeout(_SILENCE_S):
            await self._arrived.wait()
        self._arrived.clear()
        received: list[Msg] = []
        while self._messages:
            message = self._messages.popleft()
            if message.reply:
                self._last += 1
                if message.metadata.sequence.consumer != self._last:
                    raise nats.errors.Error("messages were lost in transit")
                received.append(message)
                self._requested -= 1
            else:
                self._check_status(message)
        return received

    async def close(self) -> None:
        if self._subscription is not None and not self._client.is_closed:
            with contextlib.suppress(*TRANSIENT_ERRORS):
                await self._subscription.unsubscribe()

    async def _on_message(self, message: Msg) -> None:
        self._messages.append(message)
        self._arrived.set()

    def _check_status(self, message: Msg) -> None:
        """Take a heartbeat, or the end of a request; raise if the consumer ended."""
        headers = message.headers or {}
        status, description = headers.get("Status"), headers.get("Description", "")
        if status == _HEARTBEAT:
            return
        if status not in _REQUEST_ENDED or any(word in description for word in ("Deleted", "Shutdown", "Leadership")):
            raise nats.errors.Error(f"the consumer on the server ended: {status} {description}")
        if message.subject == f"{self._inbox}.{self._request}":
            self._requested = 0

"""Events out of JetStream, in order and each once, through restarts and failovers.

It keeps an ephemeral consumer on the server, and asks it for messages in batches. Whatever goes wrong, it makes another
one, and finds its place by the events themselves: what was stored in what sequence may have changed meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import nats.errors
import numpy as np
import numpy.typing as npt
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from chronostream.bridges.connection import TROUBLE, Link
from chronostream.bridges.continuity import order_of
from chronostream.bridges.encoding import ZONE, all_subjects, decode
from chronostream.bridges.jetstream import Origin, find_stream, last_message, seek
from chronostream.bridges.running import Pauses
from chronostream.errors import BridgeError
from chronostream.event import Event, to_records

__all__ = ["Part", "Reader"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_ASK = 1000
_EXPIRES_S = 20.0
_HEARTBEAT_S = 0.5
_SILENCE_S = 4 * _HEARTBEAT_S
_FORGET_S = 30.0
_NS = 1_000_000_000
_HEARTBEAT, _REQUEST_ENDED = "100", ("404", "408", "409")
_SHORT_ACK = 9  # tokens of the reply subject: without a domain, and with one


@dataclass(frozen=True, slots=True)
class Part:
    """Events as they came.

    Attributes:
        records: an array of `EVENT_DTYPE`, shape ``(n,)``, in order; maybe empty.
        sequence: of the last message.
        skipped: how many messages were no events, or not in order.
    """

    records: npt.NDArray[np.void]
    sequence: int
    skipped: int


class Reader:
    """Reads the events of one stream.

    Args:
        link: the connection.
        stream: the JetStream stream.
        name: the ChronoStream stream's name.
        after: the order that the events come behind; None for as many as `newest`, or all.
        newest: begin with so many of the newest, unless `after` is given.

    Attributes:
        link: the connection.
        origin: what the events were when JetStream was last looked at; None before.
        after: the order of the last event that was handed out.
        until: end with the message of this sequence; never if None.
    """

    def __init__(
        self, link: Link, stream: str, name: str, *, after: int | None = None, newest: int | None = None
    ) -> None:
        self.link = link
        self.origin: Origin | None = None
        self.after = after
        self.until: int | None = None
        self._stream = stream
        self._name = name
        self._newest = newest
        self._subjects = all_subjects(name)
        self._sequence = 0
        self._zone: str | None = None
        self._said = ""
        self._troubled_s: float | None = None  # since when

    async def open(self) -> Origin:
        """Wait until the JetStream stream is there; return what its events are.

        Raises:
            StreamMismatchError: it holds other events.
            BridgeError: the server does not let us in, or the link's patience ended.
        """
        _, origin = await self._answer(lambda js: find_stream(js, self._stream, self._name))
        self.origin = origin
        return origin

    async def end_with_last(self) -> None:
        """Have `parts` end with the last message that is there now.

        Raises:
            BridgeError: as for `open`.
        """
        message = await self._answer(lambda js: last_message(js, self._stream, self._subjects))
        self.until = 0 if message is None else message.seq

    async def parts(self) -> AsyncIterator[Part]:
        """Yield events as they come, for ever or until the last that was asked for.

        Raises:
            StreamMismatchError: the JetStream stream holds other events now.
            BridgeError: the server does not let us in any more, or the link's patience ended.
        """
        pauses = Pauses()
        while True:
            inbox = _Inbox()
            try:
                js = await self.link.ready()
                start = await self._start(js)
                if self.until is not None and start > self.until:
                    return
                await inbox.open(self.link, js, self._stream, self._subjects, start)
                while True:
                    messages = await inbox.receive()
                    pauses.reset()
                    self._said, self._troubled_s = "", None
                    if messages:
                        yield self._part(messages)
                    if self.until is not None and await self._reached(js, self.until, quiet=not messages):
                        return
            except TROUBLE as error:
                self._endure(error)
            finally:
                await inbox.close()
            await pauses.wait()

    async def _answer(self, question: Callable[[JetStreamContext], Awaitable[_T]]) -> _T:
        """Ask until there is an answer, or the link's patience ends."""
        pauses = Pauses()
        while True:
            try:
                return await question(await self.link.ready())
            except TROUBLE as error:
                self._endure(error)
            await pauses.wait()

    async def _start(self, js: JetStreamContext) -> int:
        """Return the sequence to begin with."""
        info, self.origin = await find_stream(js, self._stream, self._name)
        if self.after is not None:
            return await seek(js, self._stream, self._subjects, self.after, hint=self._sequence + 1)
        newest = 0 if self._newest is None else info.state.last_seq - self._newest + 1
        return max(info.state.first_seq, 1, newest)

    def _part(self, messages: list[tuple[int, Msg]]) -> Part:
        events: list[Event] = []
        for sequence, message in messages:
            try:
                event = decode(message.subject, message.headers, message.data)
                if self.after is not None and order_of(event) <= self.after:
                    raise BridgeError(f"event {event.id} comes behind a later one")
            except BridgeError as error:
                _log.error("%s: message %d of %s is left out: %s", self._name, sequence, self._stream, error)
                continue
            self.after = order_of(event)
            self._check_zone((message.headers or {}).get(ZONE))
            events.append(event)
        self._sequence = messages[-1][0]
        return Part(to_records(events), self._sequence, len(messages) - len(events))

    def _check_zone(self, zone: str | None) -> None:
        if zone != self._zone:
            if self._zone is not None:
                _log.warning("%s: from here on events come by zone data %s, before by %s", self._name, zone, self._zone)
            self._zone = zone

    async def _reached(self, js: JetStreamContext, until: int, *, quiet: bool) -> bool:
        # In the quiet: it may be gone, by its age.
        return self._sequence >= until or (quiet and (await js.stream_info(self._stream)).state.first_seq > until)

    def _endure(self, error: BaseException) -> None:
        """Log each trouble once, until messages come again; raise it if it lasts beyond the link's patience."""
        now_s = time.monotonic()
        if self._troubled_s is None:
            self._troubled_s = now_s
        text = self.link.options.redact(error) or "no answer in time"
        if isinstance(error, NotFoundError):
            text = f"there is no JetStream stream {self._stream}, or it was removed"
        patience_s = self.link.patience_s
        if patience_s is not None and (isinstance(error, NotFoundError) or now_s - self._troubled_s >= patience_s):
            raise BridgeError(
                f"cannot read the events of {self._name!r} at {self.link.options.label}: {text}"
            ) from None
        if text != self._said:
            self._said = text
            _log.warning("%s: cannot read now, and tries again: %s", self._name, text)


class _Inbox:
    """One consumer on the server, and the messages that it sent; any irregularity is a trouble."""

    def __init__(self) -> None:
        self._messages: deque[Msg] = deque()
        self._arrived = asyncio.Event()
        self._subscription: Subscription | None = None
        self._asked = 0  # messages that the server was asked for and has not sent
        self._request = 0
        self._last = 0  # sequence of the last message, as the consumer numbers them

    async def open(self, link: Link, js: JetStreamContext, stream: str, subjects: str, start: int) -> None:
        self._client = link.client
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
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"

    async def receive(self) -> list[tuple[int, Msg]]:
        """Return the messages that are there, with their sequences; wait for some, but no longer than a heartbeat.

        Raises:
            nats.errors.Error: the consumer is silent, or a message is absent.
        """
        if self._asked <= 0:
            self._asked = _ASK
            self._request += 1
            order = {"batch": _ASK, "expires": int(_EXPIRES_S * _NS), "idle_heartbeat": int(_HEARTBEAT_S * _NS)}
            await self._client.publish(self._next, json.dumps(order).encode(), reply=f"{self._inbox}.{self._request}")
        await asyncio.wait_for(self._arrived.wait(), _SILENCE_S)
        self._arrived.clear()
        found: list[tuple[int, Msg]] = []
        while self._messages:
            message = self._messages.popleft()
            status = (message.headers or {}).get("Status")
            if status is None:
                found.append((self._sequence_of(message), message))
                self._asked -= 1
            elif status != _HEARTBEAT:
                _check_status(status, (message.headers or {}).get("Description", ""))
                if message.subject == f"{self._inbox}.{self._request}":
                    self._asked = 0
        return found

    async def close(self) -> None:
        if self._subscription is not None and not self._client.is_closed:
            with contextlib.suppress(*TROUBLE):
                await self._subscription.unsubscribe()

    async def _on_message(self, message: Msg) -> None:
        self._messages.append(message)
        self._arrived.set()

    def _sequence_of(self, message: Msg) -> int:
        tokens = message.reply.split(".")
        stream, consumer = tokens[5:7] if len(tokens) == _SHORT_ACK else tokens[7:9]
        if int(consumer) != self._last + 1:
            raise nats.errors.Error(f"{int(consumer) - self._last - 1} messages were lost on the way")
        self._last += 1
        return int(stream)


def _check_status(status: str, description: str) -> None:
    """Raise unless it says only that a request ended."""
    if status not in _REQUEST_ENDED or any(word in description for word in ("Deleted", "Shutdown", "Leadership")):
        raise nats.errors.Error(f"the consumer on the server ended: {status} {description}")

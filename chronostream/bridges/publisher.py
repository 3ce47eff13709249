"""Publishes events to JetStream. An event is stored directly after its predecessor, or not at all.

Every publish names the expected last sequence of the JetStream stream (``Nats-Expected-Last-Sequence``), and the
publisher knows which event that message holds. So an event may be sent repeatedly and by several relays. A batch of
events is atomic and has one such condition. Conditions on each of several messages in flight would be unsafe: one of
them could be met by another relay's event. A cluster does not allow two messages in flight with conditions per subject.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import APIError

from chronostream.bridges.encoding import ENCODING, LATENESS, SCHEMA, ZONE, Encoding, encode, subject_of
from chronostream.event import SCHEMA_VERSION, to_events

__all__ = ["MAX_BATCH", "Batch", "BatchSizeError", "ConflictError", "Publisher"]

MAX_BATCH = 1000
"""The maximum number of events in a batch; a server may be configured for fewer."""

_ID, _EXPECTED = "Nats-Msg-Id", "Nats-Expected-Last-Sequence"
_BATCH, _BATCH_SEQUENCE, _BATCH_COMMIT = "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"
_Message = tuple[str, bytes, dict[str, str]]
# A different last sequence (two codes), a duplicate event, stored or in flight, or a batch interrupted by a failover.
_CONFLICTS = frozenset({10071, 10164, 10158, 10201, 10175, 10176, 10200})
_TOO_LARGE = 10199


class BatchSizeError(Exception):
    """The server allows only smaller batches."""


class ConflictError(Exception):
    """The stream does not end where expected, for example because another relay published: find its end again."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that are stored together.

    Attributes:
        records: the events, shape ``(n,)``.
        expected_last: sequence that the last message of the stream must have.
        messages: subject, payload and headers of each event.
    """

    records: npt.NDArray[np.void]
    expected_last: int
    messages: Sequence[_Message]


class Publisher:
    """Publishes one batch after the other.

    Args:
        client: the connection.
        js: its JetStream.
        name: the ChronoStream stream's name.
        encoding: of the payloads.
        zone: description of the zone data, a header of each message.
    """

    def __init__(self, client: Client, js: JetStreamContext, name: str, encoding: Encoding, zone: str) -> None:
        self._client = client
        self._js = js
        self._name = name
        self._encoding = encoding
        self._headers = {SCHEMA: str(SCHEMA_VERSION), ENCODING: encoding.value, ZONE: zone}

    async def stage(self, records: npt.NDArray[np.void], expected_last: int) -> Batch:
        """Send all but the last event; `commit` sends that one, and only then are they stored.

        Args:
            records: an array of `EVENT_DTYPE`, shape ``(n,)``, 1 to `MAX_BATCH` of them.
            expected_last: sequence that the last message of the stream must have.

        Raises:
            nats.errors.Error: the connection cannot send now.
        """
        batch = Batch(records, expected_last, self._messages(records, expected_last))
        for subject, payload, headers in batch.messages[:-1]:
            await self._client.publish(subject, payload, headers=headers)
        return batch

    async def commit(self, batch: Batch) -> int:
        """Send the last event of a batch, and return its sequence once all events are stored.

        Raises:
            ConflictError: no event was stored, because the stream does not end where expected.
            BatchSizeError: no event was stored, because the batch is too large.
            nats.errors.Error: it is unknown whether the events were stored; find the end of the stream.
        """
        subject, payload, headers = batch.messages[-1]
        try:
            answer = await self._js.publish(subject, payload, headers=headers)
        except APIError as error:
            if error.err_code in _CONFLICTS:
                raise ConflictError from error
            if error.err_code == _TOO_LARGE:
                raise BatchSizeError from error
            raise
        if answer.duplicate or answer.seq != batch.expected_last + len(batch.messages):
            raise ConflictError
        return answer.seq

    def _messages(self, records: npt.NDArray[np.void], expected_last: int) -> list[_Message]:
        events = to_events(records)
        now_ns = time.time_ns()
        messages: list[_Message] = []
        for event, payload in zip(events, encode(records, events, self._encoding), strict=True):
            headers = {_ID: event.id, LATENESS: str(now_ns - event.timestamp), **self._headers}
            messages.append((subject_of(self._name, event.frequency), payload, headers))
        messages[0][2][_EXPECTED] = str(expected_last)
        if len(messages) > 1:
            batch_id = self._client.new_inbox()[-22:]
            for number, (_, _, headers) in enumerate(messages, 1):
                headers[_BATCH] = batch_id
                headers[_BATCH_SEQUENCE] = str(number)
            messages[-1][2][_BATCH_COMMIT] = "1"
        return messages

"""Events into JetStream, each behind the one that it must stand behind, or not at all.

Every publish names the sequence of the message that must be the stream's last (``Nats-Expected-Last-Sequence``), and
is made only when it is known which event that message holds. So it does not matter how often an event is sent, or
by how many relays. Many events go as one atomic batch with one such guard: a guard on each of many messages in flight
could come true behind another relay's event, and a guard per subject cannot be in flight twice in a cluster.
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
"""Events in one batch: what a server takes unless it was told to take fewer."""

_ID, _EXPECTED = "Nats-Msg-Id", "Nats-Expected-Last-Sequence"
_BATCH, _BATCH_PLACE, _BATCH_COMMIT = "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"
_Message = tuple[str, bytes, dict[str, str]]
# Another last sequence (in two wordings); an event that is there, or on its way; a batch that a failover tore apart.
_CONFLICTS = frozenset({10071, 10164, 10158, 10201, 10175, 10176, 10200})
_TOO_LARGE = 10199


class BatchSizeError(Exception):
    """The server takes smaller batches only."""


class ConflictError(Exception):
    """Another relay was quicker, or the stream is not what it was: look where it ends now."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that are to stand together behind one sequence.

    Attributes:
        records: the events, shape ``(n,)``.
        behind: the sequence of the message that must be the stream's last.
        messages: the same as subjects, payloads and headers.
    """

    records: npt.NDArray[np.void]
    behind: int
    messages: Sequence[_Message]


class Publisher:
    """Publishes batches, one after the other, over one connection.

    Args:
        client: the connection.
        js: its JetStream.
        name: the ChronoStream stream's name.
        encoding: of the payloads.
        zone: the text that tells of the zone data.
    """

    def __init__(self, client: Client, js: JetStreamContext, name: str, encoding: Encoding, zone: str) -> None:
        self._client = client
        self._js = js
        self._name = name
        self._encoding = encoding
        self._fixed = {SCHEMA: str(SCHEMA_VERSION), ENCODING: encoding.value, ZONE: zone}

    async def stage(self, records: npt.NDArray[np.void], behind: int) -> Batch:
        """Send all but the last of these events; none of them counts until `commit`.

        Args:
            records: an array of `EVENT_DTYPE`, shape ``(n,)``, 1 to `MAX_BATCH` of them.
            behind: the sequence of the message that must be the stream's last.

        Raises:
            nats.errors.Error: the connection is not up to it now.
        """
        batch = Batch(records, behind, self._messages(records, behind))
        for subject, payload, headers in batch.messages[:-1]:
            await self._client.publish(subject, payload, headers=headers)
        return batch

    async def commit(self, batch: Batch) -> int:
        """Send the last event of a batch, and return its sequence once all of them are stored.

        Raises:
            ConflictError: none of them was.
            BatchSizeError: none of them was, as there are too many.
            nats.errors.Error: nobody knows; look where the stream ends.
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
        if answer.duplicate or answer.seq != batch.behind + len(batch.messages):
            raise ConflictError
        return answer.seq

    def _messages(self, records: npt.NDArray[np.void], behind: int) -> list[_Message]:
        events = to_events(records)
        now_ns = time.time_ns()
        messages: list[_Message] = []
        for event, payload in zip(events, encode(records, events, self._encoding), strict=True):
            headers = {
                _ID: event.id,
                LATENESS: str(now_ns - event.timestamp),
                **self._fixed,
            }
            messages.append((subject_of(self._name, event.frequency), payload, headers))
        messages[0][2][_EXPECTED] = str(behind)
        if len(messages) > 1:
            batch_id = self._client.new_inbox()[-22:]
            for number, (_, _, headers) in enumerate(messages, 1):
                headers[_BATCH] = batch_id
                headers[_BATCH_PLACE] = str(number)
            messages[-1][2][_BATCH_COMMIT] = "1"
        return messages

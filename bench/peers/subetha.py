"""subetha-ipc: rings with slots of 64 bytes, from Rust: a broadcast ring that overwrites, and a queue."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import subetha

from bench.peer import Peer, Receiver, Sender, Spec
from bench.records import Rows

__all__ = ["PubSub", "Spsc"]

_SLOT = 64
_PUBSUB_ROOM = 56  # of a slot; the rest is its sequence number


class _PubSubSender(Sender):
    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__(spec, name)
        self._ring = subetha.PubSub(str(_path(name)), spec.capacity)
        self.send = self._ring.publish if spec.batch == 1 else self._ring.publish_many

    def message(self, rows: Rows) -> Any:
        return rows.tobytes() if self.spec.batch == 1 else [row.tobytes() for row in rows]

    def close(self) -> None:
        _path(self.channel).unlink(missing_ok=True)


class _PubSubReceiver(Receiver):
    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__(spec, name)
        self._subscriber = subetha.PubSub.open(str(_path(name)), spec.capacity).subscribe()
        self._lost = 0
        self.receive = self._receive_one if spec.room == 1 else self._receive_many

    def reported_lost(self, _received: int) -> int:
        return self._lost

    def count(self, received: Any) -> int:
        return 1 if self.spec.room == 1 else len(received)

    def data(self, received: Any) -> Any:
        return _cut(received if self.spec.room == 1 else b"".join(received), _PUBSUB_ROOM, self.spec.record_size)

    def _receive_one(self) -> Any:
        position = self._subscriber.position
        try:
            return self._subscriber.next()
        except subetha.Lagged:
            self._lost += self._subscriber.position - position
            return None

    def _receive_many(self) -> Any:
        position = self._subscriber.position
        try:
            return self._subscriber.next_many(self.spec.room)
        except subetha.Lagged:
            self._lost += self._subscriber.position - position
            return None


class PubSub(Peer):
    """A lapped subscriber is moved to the head and learns by how much."""

    name = "subetha-pubsub"
    distribution = "subetha-ipc"
    module = "subetha"
    how = "`publish` or `publish_many`, `next` or `next_many`; records of 56 bytes instead of 64, to fit its slots"
    blocking = False
    sending, receiving = _PubSubSender, _PubSubReceiver

    def fit(self, spec: Spec) -> Spec:
        return replace(spec, record_size=_PUBSUB_ROOM) if spec.record_size == _SLOT else spec

    def unable(self, spec: Spec) -> str | None:
        if spec.record_size > _PUBSUB_ROOM:
            return f"a slot holds {_PUBSUB_ROOM} bytes"
        return super().unable(spec)

    def discard(self, channel: str) -> None:
        _path(channel).unlink(missing_ok=True)


class _SpscSender(Sender):
    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__(spec, name)
        self._ring = subetha.SpscRing(str(_path(name)), spec.capacity)
        self.send = self._ring.push if spec.batch == 1 else self._push_buffer

    def offer(self, message: Any) -> bool:
        if self.spec.batch == 1:
            return bool(self._ring.push(message))
        pushed = self._push_buffer(message)
        while pushed < self.spec.batch:  # It accepted the first part of the message: send the rest.
            os.sched_yield()
            pushed += self._push_buffer(message[pushed * self.spec.record_size :])
        return True

    def close(self) -> None:
        _path(self.channel).unlink(missing_ok=True)

    def _push_buffer(self, message: Any) -> int:
        return int(self._ring.push_buffer(message, self.spec.record_size))


class _SpscReceiver(Receiver):
    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__(spec, name)
        self._ring = subetha.SpscRing.open(str(_path(name)), spec.capacity)
        self.receive = self._ring.pop if spec.room == 1 else self._receive_many

    def count(self, received: bytes) -> int:
        return len(received) // _SLOT

    def data(self, received: bytes) -> bytes:
        return _cut(received, _SLOT, self.spec.record_size)

    def _receive_many(self) -> Any:
        return self._ring.pop_buffer(self.spec.room)[0]


class Spsc(Peer):
    """A queue for one reader."""

    name = "subetha-spsc"
    distribution = "subetha-ipc"
    module = "subetha"
    how = "`push` or `push_buffer`, `pop` or `pop_buffer`; a ring for each consumer"
    broadcast = False
    blocking = False
    sending, receiving = _SpscSender, _SpscReceiver

    def unable(self, spec: Spec) -> str | None:
        if spec.record_size > _SLOT:
            return f"a slot holds {_SLOT} bytes"
        return super().unable(spec)

    def discard(self, channel: str) -> None:
        _path(channel).unlink(missing_ok=True)


def _cut(received: bytes, slot: int, size: int) -> bytes:
    """Return the records without the unused ends of their slots."""
    return received if size == slot else np.frombuffer(received, np.uint8).reshape(-1, slot)[:, :size].tobytes()


def _path(name: str) -> Path:
    return Path("/dev/shm", name)  # noqa: S108 - where shared memory is, not a temporary file

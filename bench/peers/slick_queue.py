"""slick-queue-py: a Python port of a C++ queue that overwrites, with atomic operations from a small extension."""

from __future__ import annotations

from typing import Any

from slick_queue_py import QueueTraits, SlickQueue

from bench.peer import Peer, Receiver, Sender, Spec

__all__ = ["SlickQueuePy"]


class _Traits(QueueTraits):  # type: ignore[misc]  # the package is not typed
    enable_read_last = False  # not needed here, and it costs


class _Sender(Sender):
    def __init__(self, spec: Spec, name: str) -> None:
        self._queue = SlickQueue(name=name, size=spec.messages, element_size=spec.message_size, traits=_Traits)
        self.send = self._send

    def close(self) -> None:
        self._queue.close()
        self._queue.unlink()

    def _send(self, message: bytes) -> None:
        index = self._queue.reserve()
        self._queue[index][:] = message
        self._queue.publish(index)


class _Receiver(Receiver):
    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__(spec)
        self._queue = SlickQueue(name=name, element_size=spec.message_size, traits=_Traits)
        self._cursor = self._queue.initial_reading_index()
        self.receive = self._receive

    def told(self, _received: int) -> int:
        return int(self._queue.loss_count()) * self.spec.batch

    def close(self) -> None:
        self._queue.close()

    def _receive(self) -> Any:
        data, _, self._cursor = self._queue.read(self._cursor)
        return data


class SlickQueuePy(Peer):
    """Each reader has a cursor of its own; what was overwritten is counted."""

    name = "slick-queue"
    distribution = "slick-queue-py"
    module = "slick_queue_py"
    how = "`reserve`, copy, `publish`; `read` with a cursor for each consumer"
    blocking = False

    def sender(self, spec: Spec, channel: str) -> Sender:
        return _Sender(spec, channel)

    def receiver(self, spec: Spec, channel: str) -> Receiver:
        return _Receiver(spec, channel)

    def discard(self, channel: str) -> None:
        SlickQueue.remove(channel)

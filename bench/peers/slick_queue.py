"""slick-queue-py: a Python port of a C++ queue that overwrites, with atomics in a small extension."""

from __future__ import annotations

from typing import Any

from slick_queue_py import QueueTraits, SlickQueue

from bench.peer import Peer, Receiver, Sender, Spec

__all__ = ["SlickQueuePy"]


class _Traits(QueueTraits):  # type: ignore[misc]  # the package is not typed
    enable_read_last = False  # not needed, and it takes time


class _Sender(Sender):
    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__(spec, name)
        self._queue = SlickQueue(name=name, size=spec.messages, element_size=spec.message_size, traits=_Traits)

    def send(self, message: bytes) -> None:
        index = self._queue.reserve()
        self._queue[index][:] = message
        self._queue.publish(index)

    def close(self) -> None:
        self._queue.close()
        self._queue.unlink()


class _Receiver(Receiver):
    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__(spec, name)
        self._queue = SlickQueue(name=name, element_size=spec.message_size, traits=_Traits)
        self._cursor = self._queue.initial_reading_index()

    def receive(self) -> Any:
        data, _, self._cursor = self._queue.read(self._cursor)
        return data

    def reported_lost(self, _received: int) -> int:
        return int(self._queue.loss_count()) * self.spec.batch

    def close(self) -> None:
        self._queue.close()


class SlickQueuePy(Peer):
    """Each reader has its own cursor; overwritten messages are counted."""

    name = "slick-queue"
    distribution = "slick-queue-py"
    module = "slick_queue_py"
    how = "`reserve`, copy, `publish`; `read` with a cursor for each consumer"
    blocking = False
    sending, receiving = _Sender, _Receiver

    def discard(self, channel: str) -> None:
        SlickQueue.remove(channel)

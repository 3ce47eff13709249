"""faster-fifo: a queue of bytes with a mutex shared by processes."""

from __future__ import annotations

import queue
from functools import partial
from multiprocessing.context import BaseContext
from typing import Any

import faster_fifo

from bench.peer import Peer, Receiver, Sender, Spec

__all__ = ["FasterFifo"]

_OVERHEAD = 64


class _Sender(Sender):
    def __init__(self, spec: Spec, channel: Any) -> None:
        super().__init__(spec, channel)
        self.send = channel.put_nowait

    def offer(self, message: Any) -> bool:
        try:
            self.channel.put_nowait(message)
        except queue.Full:
            return False
        return True


class _Receiver(Receiver):
    def __init__(self, spec: Spec, channel: Any) -> None:
        super().__init__(spec, channel)
        self._get_many = partial(channel.get_many_nowait, max_messages_to_get=max(1, spec.room // spec.batch))

    def receive(self) -> Any:
        try:
            return self._get_many()
        except queue.Empty:
            return None

    def wait(self, timeout_s: float) -> Any:
        try:
            return self.channel.get_many(timeout=timeout_s, max_messages_to_get=1)
        except queue.Empty:
            return None

    def count(self, received: list[bytes]) -> int:
        return len(received) * self.spec.batch

    def data(self, received: list[bytes]) -> bytes:
        return b"".join(received)


class FasterFifo(Peer):
    """A queue with `bytes` instead of pickle, as in its documentation."""

    name = "faster-fifo"
    distribution = "faster-fifo"
    module = "faster_fifo"
    how = "`put_nowait` and `get_many_nowait` without pickle; a queue for each consumer"
    broadcast = False
    sending, receiving = _Sender, _Receiver

    def channel(self, spec: Spec, _context: BaseContext) -> Any:
        return faster_fifo.Queue(spec.messages * (spec.message_size + _OVERHEAD), loads=bytes, dumps=bytes)

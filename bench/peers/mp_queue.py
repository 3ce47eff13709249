"""`multiprocessing.Queue`: what everybody tries first."""

from __future__ import annotations

import queue
from multiprocessing.context import BaseContext
from typing import Any

from bench.peer import Peer, Receiver, Sender, Spec

__all__ = ["MpQueue"]


class _Sender(Sender):
    def __init__(self, channel: Any) -> None:
        self._queue = channel
        self.send = channel.put

    def offer(self, message: Any) -> bool:
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            return False
        return True

    def close(self) -> None:
        self._queue.cancel_join_thread()  # Whatever nobody received is not wanted any more.
        self._queue.close()


class _Receiver(Receiver):
    def __init__(self, spec: Spec, channel: Any) -> None:
        super().__init__(spec)
        self._queue = channel
        self.receive = self._receive

    def wait(self, timeout_s: float) -> Any:
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _receive(self) -> Any:
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            return None


class MpQueue(Peer):
    """Pickles, pipes, and a thread that feeds them."""

    name = "mp-queue"
    module = "multiprocessing.queues"
    how = "`put` of a bytes object, `get_nowait`; a queue for each consumer"
    broadcast = False
    threads = True

    def channel(self, spec: Spec, context: BaseContext) -> Any:
        return context.Queue(spec.messages)

    def sender(self, _spec: Spec, channel: Any) -> Sender:
        return _Sender(channel)

    def receiver(self, spec: Spec, channel: Any) -> Receiver:
        return _Receiver(spec, channel)

"""`multiprocessing.Queue`: the usual first choice."""

from __future__ import annotations

import queue
from multiprocessing.context import BaseContext
from typing import Any

from bench.peer import Peer, Receiver, Sender, Spec

__all__ = ["MpQueue"]


class _Sender(Sender):
    def __init__(self, spec: Spec, channel: Any) -> None:
        super().__init__(spec, channel)
        self.send = channel.put

    def offer(self, message: Any) -> bool:
        try:
            self.channel.put_nowait(message)
        except queue.Full:
            return False
        return True

    def close(self) -> None:
        self.channel.cancel_join_thread()  # Messages not yet received are discarded.
        self.channel.close()


class _Receiver(Receiver):
    def receive(self) -> Any:
        try:
            return self.channel.get_nowait()
        except queue.Empty:
            return None

    def wait(self, timeout_s: float) -> Any:
        try:
            return self.channel.get(timeout=timeout_s)
        except queue.Empty:
            return None


class MpQueue(Peer):
    """Pickles, a pipe, and a thread that writes to it."""

    name = "mp-queue"
    module = "multiprocessing.queues"
    how = "`put` of a bytes object, `get_nowait`; a queue for each consumer"
    broadcast = False
    threads = True
    sending, receiving = _Sender, _Receiver

    def channel(self, spec: Spec, context: BaseContext) -> Any:
        return context.Queue(spec.messages)

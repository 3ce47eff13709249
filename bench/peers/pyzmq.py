"""ZeroMQ over a Unix socket: PUB/SUB drops messages for slow receivers, PUSH/PULL waits for them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import zmq

from bench.peer import Peer, Receiver, Sender, Spec

__all__ = ["PubSub", "PushPull"]

_SUBSCRIBE_MS = 10_000


class _Sender(Sender):
    def __init__(self, spec: Spec, name: str, kind: int) -> None:
        super().__init__(spec, name)
        self._context = zmq.Context()
        self._socket = self._context.socket(kind)
        self._socket.setsockopt(zmq.SNDHWM, spec.messages)
        self._socket.setsockopt(zmq.LINGER, 0)
        if kind == zmq.XPUB:
            self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # reports every subscription, not only the first
        self._socket.bind(f"ipc://{_path(name)}")
        self.send = self._socket.send

    def offer(self, message: Any) -> bool:
        try:
            self._socket.send(message, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def wait_for_receivers(self) -> None:
        if self._socket.type == zmq.XPUB:
            self._socket.setsockopt(zmq.RCVTIMEO, _SUBSCRIBE_MS)
            for _ in range(self.spec.readers):
                self._socket.recv()  # a subscription

    def close(self) -> None:
        self._socket.close()
        self._context.term()


class _Receiver(Receiver):
    def __init__(self, spec: Spec, name: str, kind: int) -> None:
        super().__init__(spec, name)
        self._context = zmq.Context()
        self._socket = self._context.socket(kind)
        self._socket.setsockopt(zmq.RCVHWM, spec.messages)
        if kind == zmq.SUB:
            self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket.connect(f"ipc://{_path(name)}")

    def receive(self) -> Any:
        try:
            return self._socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def wait(self, timeout_s: float) -> Any:
        self._socket.setsockopt(zmq.RCVTIMEO, round(timeout_s * 1000))
        try:
            return self._socket.recv()
        except zmq.Again:
            return None

    def close(self) -> None:
        self._socket.close()
        self._context.term()


class _Zmq(Peer):
    distribution = "pyzmq"
    module = "zmq"
    threads = True
    kinds: ClassVar[tuple[int, int]]

    def burst(self, spec: Spec) -> int:
        # A pipe at its high-water mark accepts no more until half of it has been read.
        return max(1, min(super().burst(spec), spec.messages // 4))

    def sender(self, spec: Spec, channel: str) -> Sender:
        return _Sender(spec, channel, self.kinds[0])

    def receiver(self, spec: Spec, channel: str) -> Receiver:
        return _Receiver(spec, channel, self.kinds[1])

    def discard(self, channel: str) -> None:
        _path(channel).unlink(missing_ok=True)


class PubSub(_Zmq):
    """Every receiver gets every message; a slow one loses some."""

    name = "pyzmq-pubsub"
    how = "`send` and `recv`, XPUB to see the subscriptions arrive"
    kinds = zmq.XPUB, zmq.SUB


class PushPull(_Zmq):
    """A queue."""

    name = "pyzmq-pushpull"
    how = "`send` and `recv`; a pair of sockets for each consumer"
    broadcast = False
    kinds = zmq.PUSH, zmq.PULL


def _path(name: str) -> Path:
    return Path(tempfile.gettempdir(), name)

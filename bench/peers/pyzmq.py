"""ZeroMQ over a Unix socket, in the two patterns that fit: PUB/SUB drops for who is slow, PUSH/PULL waits for him."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import zmq

from bench.peer import Peer, Receiver, Sender, Spec

__all__ = ["PubSub", "PushPull"]

_SETTLE_MS = 10_000


class _Sender(Sender):
    def __init__(self, kind: int, spec: Spec, name: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(kind)
        self._socket.setsockopt(zmq.SNDHWM, spec.messages)
        self._socket.setsockopt(zmq.LINGER, 0)
        if kind == zmq.XPUB:
            self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # each subscription is told, not only the first
        self._socket.bind(f"ipc://{_path(name)}")
        self._readers = spec.readers
        self.send = self._socket.send

    def offer(self, message: Any) -> bool:
        try:
            self._socket.send(message, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def settle(self) -> None:
        if self._socket.type == zmq.XPUB:
            self._socket.setsockopt(zmq.RCVTIMEO, _SETTLE_MS)
            for _ in range(self._readers):
                self._socket.recv()  # a subscription

    def close(self) -> None:
        self._socket.close()
        self._context.term()


class _Receiver(Receiver):
    def __init__(self, kind: int, spec: Spec, name: str) -> None:
        super().__init__(spec)
        self._context = zmq.Context()
        self._socket = self._context.socket(kind)
        self._socket.setsockopt(zmq.RCVHWM, spec.messages)
        if kind == zmq.SUB:
            self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket.connect(f"ipc://{_path(name)}")
        self.receive = self._receive

    def wait(self, timeout_s: float) -> Any:
        self._socket.setsockopt(zmq.RCVTIMEO, round(timeout_s * 1000))
        try:
            return self._socket.recv()
        except zmq.Again:
            return None

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def _receive(self) -> Any:
        try:
            return self._socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None


class _Zmq(Peer):
    distribution = "pyzmq"
    module = "zmq"
    threads = True

    def burst(self, spec: Spec) -> int:
        # A pipe at its mark takes no more until half of it is known to have been read.
        return max(1, min(super().burst(spec), spec.messages // 4))

    def discard(self, channel: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            _path(channel).unlink()


class PubSub(_Zmq):
    """Everybody gets everything, or less if slow."""

    name = "pyzmq-pubsub"
    how = "`send` and `recv`, XPUB so as to know that the subscriptions have arrived"

    def sender(self, spec: Spec, channel: str) -> Sender:
        return _Sender(zmq.XPUB, spec, channel)

    def receiver(self, spec: Spec, channel: str) -> Receiver:
        return _Receiver(zmq.SUB, spec, channel)


class PushPull(_Zmq):
    """A queue."""

    name = "pyzmq-pushpull"
    how = "`send` and `recv`; a pair of sockets for each consumer"
    broadcast = False

    def sender(self, spec: Spec, channel: str) -> Sender:
        return _Sender(zmq.PUSH, spec, channel)

    def receiver(self, spec: Spec, channel: str) -> Receiver:
        return _Receiver(zmq.PULL, spec, channel)


def _path(name: str) -> Path:
    return Path(tempfile.gettempdir(), name)

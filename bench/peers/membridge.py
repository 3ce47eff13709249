"""membridge: a queue of bytes for one sender and one receiver, from Rust."""

from __future__ import annotations

import contextlib
from typing import Any

import membridge

from bench.peer import Peer, Receiver, Sender, Spec

__all__ = ["Membridge"]

_HEADER = 24
_LENGTH = 4


class _Sender(Sender):
    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__(spec, name)
        self._ring = membridge.SharedMemory.create(f"/{name}", _size(spec)).spsc()
        self.send = self._ring.push

    def offer(self, message: Any) -> bool:
        return bool(self._ring.push(message))

    def close(self) -> None:
        _remove(self.channel)


class _Receiver(Receiver):
    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__(spec, name)
        self._ring = membridge.SharedMemory.open(f"/{name}", _size(spec)).spsc()
        self.receive = self._ring.pop


class Membridge(Peer):
    """A queue for one reader."""

    name = "membridge"
    distribution = "membridge"
    module = "membridge"
    how = "`push` and `pop` of bytes; a queue for each consumer"
    broadcast = False
    blocking = False
    sending, receiving = _Sender, _Receiver

    def discard(self, channel: str) -> None:
        _remove(channel)


def _size(spec: Spec) -> int:
    size = spec.messages * (spec.message_size + _LENGTH)
    return (1 << (size - 1).bit_length()) + _HEADER  # Its sizes are powers of two.


def _remove(name: str) -> None:
    with contextlib.suppress(OSError):
        membridge.SharedMemory.remove(f"/{name}")

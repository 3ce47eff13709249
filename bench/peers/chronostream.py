"""ChronoStream's own ring, with each of its cores."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any, ClassVar

import numpy as np

from bench.peer import Peer, Receiver, Sender, Spec
from bench.records import WORD, Rows
from chronostream import ring
from chronostream.errors import CoreUnavailableError, StreamNotFoundError
from chronostream.ring.core import load_core

__all__ = ["Native", "Portable", "RingPeer"]


class _Sender(Sender):
    def __init__(self, spec: Spec, name: str, core: str) -> None:
        super().__init__(spec, name)
        self._producer = ring.Producer.create(name, _dtype(spec), spec.capacity, core=core)
        self.send = self._producer.publish if spec.batch == 1 else self._producer.publish_many

    def message(self, rows: Rows) -> Any:
        return rows.tobytes() if self.spec.batch == 1 else rows.view(_dtype(self.spec)).reshape(-1)

    def close(self) -> None:
        self._producer.close()


class _Receiver(Receiver):
    def __init__(self, spec: Spec, name: str, core: str) -> None:
        super().__init__(spec, name)
        idle: Any = "blocking" if spec.blocking else "busy-spin"
        self._consumer = ring.Consumer.attach(name, "next", idle=idle, core=core)
        self._out = np.empty(spec.room, _dtype(spec))
        self.receive = partial(self._consumer.read_into, self._out)

    def reported_lost(self, _received: int) -> int:
        return self._consumer.lost

    def wait(self, timeout_s: float) -> Any:
        return self._consumer.wait(timeout_s) and self.receive()

    def count(self, received: int) -> int:
        return received

    def data(self, received: int) -> Any:
        return self._out[:received]

    def close(self) -> None:
        self._consumer.close()


class RingPeer(Peer):
    """The ring with one of its cores."""

    distribution = "chronostream"
    module = "chronostream.ring"
    how = "`publish` or `publish_many`, `read_into`; `wait` to sleep"
    core: ClassVar[str]

    def absent(self) -> str | None:
        try:
            load_core(self.core)
        except CoreUnavailableError as error:
            return str(error)
        return None

    def sender(self, spec: Spec, channel: str) -> Sender:
        return _Sender(spec, channel, self.core)

    def receiver(self, spec: Spec, channel: str) -> Receiver:
        return _Receiver(spec, channel, self.core)

    def discard(self, channel: str) -> None:
        with contextlib.suppress(StreamNotFoundError):
            ring.remove(channel)


class Native(RingPeer):
    """The core in C."""

    name = "chronostream-native"
    core = "native"


class Portable(RingPeer):
    """The core in Python and numpy."""

    name = "chronostream-portable"
    core = "portable"


def _dtype(spec: Spec) -> np.dtype[Any]:
    return np.dtype([("words", "<u8", (spec.record_size // WORD,))])

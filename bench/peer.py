"""What every peer is asked to do, so that all of them are measured by the same program.

A message is what one call of the peer carries: `Spec.batch` records. A peer that takes many records in one call does
so; one that only has messages is sent the whole batch as one, which is the fastest that can be done with it. In both
cases the records are in memory of the receiver's own afterwards: looking at them in place is not measured.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any, ClassVar

from bench.host import version_of
from bench.records import Rows

__all__ = ["FULL_S", "Contender", "Peer", "Receiver", "Sender", "Spec", "fan_out"]

FULL_S = 20e-6
"""How long a sender sleeps that was refused: less than any queue takes to drain, and threads get their turn."""

_BURST = 256
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Spec:
    """What is sent, through what.

    Attributes:
        record_size: bytes, a multiple of 8.
        batch: records in a message.
        capacity: records that the ring or queue is to hold; a power of two.
        take: the most records that a receiver that can take several messages at once takes; `batch` if 0.
        readers: how many receivers there are.
        blocking: whether receivers sleep, by the peer's own means, or ask again and again.
    """

    record_size: int = 64
    batch: int = 1
    capacity: int = 65536
    take: int = 0
    readers: int = 1
    blocking: bool = False

    @property
    def message_size(self) -> int:
        """Bytes of a message."""
        return self.record_size * self.batch

    @property
    def messages(self) -> int:
        """Messages that the ring or queue is to hold."""
        return max(2, self.capacity // self.batch)

    @property
    def room(self) -> int:
        """Records that a receiver takes at most at once."""
        return self.take or self.batch


class Sender:
    """The sending side. `send` is the peer's own call wherever that is possible, for a message that surely fits."""

    send: Callable[[Any], object]

    def __init__(self, spec: Spec, channel: Any) -> None:
        self.spec = spec
        self.channel = channel

    def message(self, rows: Rows) -> Any:
        """Return these records, shape ``(batch, words)``, as `send` takes them; never part of what is timed."""
        return rows.tobytes()

    def offer(self, message: Any) -> bool:
        """Send unless there is no room; a peer that never refuses overwrites or drops instead."""
        self.send(message)
        return True

    def settle(self) -> None:
        """Wait until each receiver would get what is sent now."""

    def close(self) -> None:
        """Let go of everything, names included."""


class Receiver:
    """The receiving side."""

    receive: Callable[[], Any]
    """Ask once; a false value means that there was nothing."""

    def __init__(self, spec: Spec, channel: Any) -> None:
        self.spec = spec
        self.channel = channel

    def told(self, _received: int) -> int | None:
        """Return how many records the peer says were lost so far, after so many came; None if it never says."""
        return None

    def wait(self, timeout_s: float) -> Any:
        """Sleep until there is something, by the peer's own means, and return what `receive` would."""
        raise NotImplementedError

    def count(self, _received: Any) -> int:
        """Return how many records `receive` gave."""
        return self.spec.batch

    def data(self, received: Any) -> Any:
        """Return them as bytes, end to end; good until the next call."""
        return received

    def close(self) -> None:
        """Let go of everything."""


class Contender:
    """Anything that is measured.

    Attributes:
        name: what it is called in options and tables.
        distribution: the package that it comes from, None for parts of Python.
        how: how it is used here, in a few words.
    """

    name: ClassVar[str]
    distribution: ClassVar[str | None] = None
    how: ClassVar[str] = ""

    def absent(self) -> str | None:
        """Return why it cannot run here at all, None if it can."""
        return None

    @property
    def version(self) -> str:
        """The version of what is measured."""
        return version_of(self.distribution) or "not installed"


class Peer(Contender):
    """A ring or a queue between processes. Without state, since each process of a measurement gets its own copy.

    Attributes:
        module: what a program that uses it imports.
        broadcast: whether every receiver of one channel gets everything. Where not, each gets a channel of its own.
        blocking: whether a receiver can sleep until something comes.
        threads: whether sending only hands the message to a thread, which then competes for the sender's core.
        sending: the class of its sending side, which is opened first.
        receiving: that of its receiving side, which gets what is sent from then on.
    """

    module: ClassVar[str]
    broadcast: ClassVar[bool] = True
    blocking: ClassVar[bool] = True
    threads: ClassVar[bool] = False
    sending: ClassVar[type[Sender]]
    receiving: ClassVar[type[Receiver]]

    def unable(self, spec: Spec) -> str | None:
        """Return why it cannot do this, None if it can."""
        return "it has no receive that sleeps" if spec.blocking and not self.blocking else None

    def fit(self, spec: Spec) -> Spec:
        """Return what it does instead where it can do almost this; `how` says so."""
        return spec

    def burst(self, spec: Spec) -> int:
        """Return how many messages fit while nobody receives."""
        return max(1, min(_BURST, spec.messages // 2))

    def channel(self, _spec: Spec, _context: BaseContext) -> Any:
        """Return what sender and receivers need to find each other: a name of this measurement's own."""
        return f"bench-{os.getpid()}-{next(_numbers)}"

    def sender(self, spec: Spec, channel: Any) -> Sender:
        """Open the sending side."""
        return self.sending(spec, channel)

    def receiver(self, spec: Spec, channel: Any) -> Receiver:
        """Open a receiving side."""
        return self.receiving(spec, channel)

    def discard(self, channel: Any) -> None:
        """Remove what processes that were killed left of a channel; no error if there is nothing."""


class _FanOut(Sender):
    """One sender for several channels: each message goes into each."""

    def __init__(self, senders: list[Sender]) -> None:
        self._senders = senders
        self._sends = [sender.send for sender in senders]

    def send(self, message: Any) -> None:
        for send in self._sends:
            send(message)

    def message(self, rows: Rows) -> Any:
        return self._senders[0].message(rows)

    def offer(self, message: Any) -> bool:
        for sender in self._senders:
            while not sender.offer(message):
                time.sleep(FULL_S)
        return True

    def settle(self) -> None:
        for sender in self._senders:
            sender.settle()

    def close(self) -> None:
        for sender in self._senders:
            sender.close()


def fan_out(senders: list[Sender]) -> Sender:
    """Return one sender that sends into all channels."""
    return senders[0] if len(senders) == 1 else _FanOut(senders)

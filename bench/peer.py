"""The operations of every peer, so that the same program measures all of them.

A message is what one call of the peer carries: `Spec.batch` records. A peer whose calls take several records gets them
so; a peer that only has messages gets the batch as one message, its fastest way. The receiver always copies the records
into its own memory; reading them in place is not measured.
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
"""How long a sender sleeps when the queue is full: less than a queue takes to drain, and enough for threads to run."""

_BURST = 256
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Spec:
    """The records and the ring or queue of a measurement.

    Attributes:
        record_size: bytes, a multiple of 8.
        batch: records in a message.
        capacity: records that the ring or queue holds; a power of two.
        take: the most records that a receiver takes at once, if it can take several messages; `batch` if 0.
        readers: number of receivers.
        blocking: whether receivers sleep by the peer's own means, or poll.
    """

    record_size: int = 64
    batch: int = 1
    capacity: int = 65536
    take: int = 0
    readers: int = 1
    blocking: bool = False

    @property
    def message_size(self) -> int:
        """The bytes of a message."""
        return self.record_size * self.batch

    @property
    def messages(self) -> int:
        """The messages that the ring or queue holds."""
        return max(2, self.capacity // self.batch)

    @property
    def room(self) -> int:
        """The most records that a receiver takes at once."""
        return self.take or self.batch


class Sender:
    """The sending side. `send` is the peer's own call wherever possible; its message always fits."""

    send: Callable[[Any], object]

    def __init__(self, spec: Spec, channel: Any) -> None:
        self.spec = spec
        self.channel = channel

    def message(self, rows: Rows) -> Any:
        """Return records, shape ``(batch, words)``, as `send` takes them; this is never timed."""
        return rows.tobytes()

    def offer(self, message: Any) -> bool:
        """Send a message unless the queue is full; return whether it was sent. A ring overwrites or drops instead."""
        self.send(message)
        return True

    def wait_for_receivers(self) -> None:
        """Wait until each receiver would get a message sent now."""

    def close(self) -> None:
        """Release everything, including names."""


class Receiver:
    """The receiving side."""

    receive: Callable[[], Any]
    """Receive once without waiting; a false value means that there was nothing."""

    def __init__(self, spec: Spec, channel: Any) -> None:
        self.spec = spec
        self.channel = channel

    def reported_lost(self, _received: int) -> int | None:
        """Return how many records the peer has reported as lost; None if it does not report losses."""
        return None

    def wait(self, timeout_s: float) -> Any:
        """Sleep by the peer's own means until there is something, and return what `receive` would."""
        raise NotImplementedError

    def count(self, _received: Any) -> int:
        """Return the number of records that `receive` returned."""
        return self.spec.batch

    def data(self, received: Any) -> Any:
        """Return those records as consecutive bytes, valid until the next call."""
        return received

    def close(self) -> None:
        """Release everything."""


class Contender:
    """Something that is measured.

    Attributes:
        name: in options and tables.
        distribution: its package; None for parts of Python.
        how: how the bench uses it.
    """

    name: ClassVar[str]
    distribution: ClassVar[str | None] = None
    how: ClassVar[str] = ""

    def absent(self) -> str | None:
        """Return why it cannot run here; None if it can."""
        return None

    @property
    def version(self) -> str:
        """Its version."""
        return version_of(self.distribution) or "not installed"


class Peer(Contender):
    """A ring or a queue between processes. It has no state, because each process of a measurement has its own copy.

    Attributes:
        module: the module that a program imports.
        broadcast: whether every receiver of a channel gets every message. If not, each receiver has its own channel.
        blocking: whether a receiver can sleep until a message arrives.
        threads: whether `send` only passes the message to a thread, which then competes for the sender's core.
        sending: class of the sending side, which is opened first.
        receiving: class of the receiving side.
    """

    module: ClassVar[str]
    broadcast: ClassVar[bool] = True
    blocking: ClassVar[bool] = True
    threads: ClassVar[bool] = False
    sending: ClassVar[type[Sender]]
    receiving: ClassVar[type[Receiver]]

    def unable(self, spec: Spec) -> str | None:
        """Return why it cannot do this; None if it can."""
        return "it has no receive that sleeps" if spec.blocking and not self.blocking else None

    def fit(self, spec: Spec) -> Spec:
        """Return the closest possible specification; `how` mentions a difference."""
        return spec

    def burst(self, spec: Spec) -> int:
        """Return how many messages fit while no receiver takes any."""
        return max(1, min(_BURST, spec.messages // 2))

    def channel(self, _spec: Spec, _context: BaseContext) -> Any:
        """Return what connects sender and receivers: by default a unique name."""
        return f"bench-{os.getpid()}-{next(_numbers)}"

    def sender(self, spec: Spec, channel: Any) -> Sender:
        """Open the sending side."""
        return self.sending(spec, channel)

    def receiver(self, spec: Spec, channel: Any) -> Receiver:
        """Open a receiving side."""
        return self.receiving(spec, channel)

    def discard(self, channel: Any) -> None:
        """Remove what killed processes left of a channel, if anything."""


class _FanOut(Sender):
    """One sender that sends each message into several channels."""

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

    def wait_for_receivers(self) -> None:
        for sender in self._senders:
            sender.wait_for_receivers()

    def close(self) -> None:
        for sender in self._senders:
            sender.close()


def fan_out(senders: list[Sender]) -> Sender:
    """Return one sender that sends into all channels."""
    return senders[0] if len(senders) == 1 else _FanOut(senders)

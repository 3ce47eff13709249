"""kickmsg: publish-subscribe with a ring for each subscriber, from C++."""

from __future__ import annotations

from typing import Any

import kickmsg

from bench.peer import Peer, Receiver, Sender, Spec

__all__ = ["Kickmsg"]

_LARGE = 16384
"""From this message size on, copying from its view is faster than its bytes objects."""


class _Sender(Sender):
    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__(spec, name)
        config = kickmsg.Config()
        config.max_subscribers = spec.readers
        config.sub_ring_capacity = spec.messages
        config.pool_size = 2 * spec.messages  # the pool never runs out before a subscriber's ring overflows
        config.max_payload_size = spec.message_size
        self._region = kickmsg.SharedRegion.create(f"/{name}", kickmsg.ChannelType.PubSub, config, "bench")
        self._publisher = kickmsg.Publisher(self._region)
        self.send = self._publisher.send

    def offer(self, message: Any) -> bool:
        try:
            self._publisher.send(message)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._region.unlink()


class _Receiver(Receiver):
    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__(spec, name)
        self._region = kickmsg.SharedRegion.open(f"/{name}")
        self._subscriber = kickmsg.Subscriber(self._region)
        self._out = memoryview(bytearray(spec.message_size))
        self.receive = self._receive_view if spec.message_size >= _LARGE else self._subscriber.try_receive

    def reported_lost(self, _received: int) -> int:
        return int(self._subscriber.lost) * self.spec.batch

    def wait(self, timeout_s: float) -> Any:
        return self._subscriber.receive(timeout_s)

    def _receive_view(self) -> Any:
        view = self._subscriber.try_receive_view()
        if view is None:
            return None
        self._out[:] = memoryview(view)
        view.release()
        return self._out


class Kickmsg(Peer):
    """Each subscriber has a ring of its own, which a slow one overflows."""

    name = "kickmsg"
    distribution = "kickmsg"
    module = "kickmsg"
    how = "`send`, `try_receive`, copied from `try_receive_view` if large; `receive` to sleep"
    sending, receiving = _Sender, _Receiver

    def discard(self, channel: str) -> None:
        kickmsg.unlink_shm(f"/{channel}")

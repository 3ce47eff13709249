"""iceoryx2: zero-copy publish-subscribe from Rust, through its Python bindings."""

from __future__ import annotations

import ctypes
from typing import Any

import iceoryx2 as iox2

from bench.peer import Peer, Receiver, Sender, Spec

__all__ = ["Iceoryx2"]


class _Service:
    """A node with the service of one channel, and the event service that wakes sleeping subscribers."""

    def __init__(self, spec: Spec, name: str) -> None:
        iox2.set_log_level(iox2.LogLevel.Error)
        self.node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
        self.data = (
            self.node.service_builder(iox2.ServiceName.new(name))
            .publish_subscribe(_payload(spec.message_size))
            .max_publishers(1)
            .max_subscribers(spec.readers)
            .max_nodes(spec.readers + 1)
            .subscriber_max_buffer_size(spec.messages)
            .open_or_create()
        )
        self.events = (
            self.node.service_builder(iox2.ServiceName.new(f"{name}/wake"))
            .event()
            .max_listeners(spec.readers)
            .open_or_create()
        )


class _Sender(Sender):
    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__(spec, name)
        service = _Service(spec, name)
        self._publisher = service.data.publisher_builder().create()
        self._notifier = service.events.notifier_builder().create()
        self._size = spec.message_size
        self.send = self._send_and_notify if spec.blocking else self._send

    def wait_for_receivers(self) -> None:
        self._publisher.update_connections()

    def close(self) -> None:
        self._publisher.delete()
        self._notifier.delete()

    def _send(self, message: bytes) -> None:
        sample = self._publisher.loan_uninit()
        ctypes.memmove(sample.payload_ptr, message, self._size)
        sample.assume_init().send()

    def _send_and_notify(self, message: bytes) -> None:
        self._send(message)
        self._notifier.notify()


class _Receiver(Receiver):
    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__(spec, name)
        service = _Service(spec, name)
        self._subscriber = service.data.subscriber_builder().buffer_size(spec.messages).create()
        self._listener = service.events.listener_builder().create()
        self._out = bytearray(spec.message_size)
        self._target = (ctypes.c_char * spec.message_size).from_buffer(self._out)

    def receive(self) -> Any:
        sample = self._subscriber.receive()
        if sample is None:
            return None
        ctypes.memmove(self._target, sample.payload_ptr, self.spec.message_size)
        sample.delete()
        return self._out

    def wait(self, timeout_s: float) -> Any:
        received = self.receive()
        if received is None:
            self._listener.timed_wait(iox2.Duration.from_millis(round(timeout_s * 1000)))
            received = self.receive()
        return received

    def close(self) -> None:
        self._subscriber.delete()
        self._listener.delete()


class Iceoryx2(Peer):
    """Publish-subscribe that overwrites the oldest message, its default."""

    name = "iceoryx2"
    distribution = "iceoryx2"
    module = "iceoryx2"
    how = "`loan_uninit`, memmove, `send`; `receive`, memmove; an event service wakes sleeping subscribers"
    sending, receiving = _Sender, _Receiver


def _payload(size: int) -> Any:
    return type(f"Message{size}", (ctypes.Structure,), {"_fields_": [("bytes", ctypes.c_uint8 * size)]})

"""`multiprocessing.Pipe`: bytes through a pipe of the system."""

from __future__ import annotations

import fcntl
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any

from bench.peer import Peer, Receiver, Sender, Spec

__all__ = ["MpPipe"]

_PIPE_BYTES = 1 << 20  # the maximum for an ordinary user of Linux
_OVERHEAD = 64


class _Sender(Sender):
    def __init__(self, spec: Spec, channel: Any) -> None:
        super().__init__(spec, channel)
        self._connection: Connection = channel[1]
        self.send = self._connection.send_bytes  # waits for room

    def close(self) -> None:
        self._connection.close()


class _Receiver(Receiver):
    def __init__(self, spec: Spec, channel: Any) -> None:
        super().__init__(spec, channel)
        self._connection: Connection = channel[0]

    def receive(self) -> Any:
        return self._connection.recv_bytes() if self._connection.poll() else None

    def wait(self, timeout_s: float) -> Any:
        return self._connection.recv_bytes() if self._connection.poll(timeout_s) else None

    def close(self) -> None:
        self._connection.close()


class MpPipe(Peer):
    """A pipe with a length before each message."""

    name = "mp-pipe"
    module = "multiprocessing.connection"
    how = "`send_bytes`, `poll` and `recv_bytes`, pipe of 1 MiB; a pipe for each consumer"
    broadcast = False
    sending, receiving = _Sender, _Receiver

    def burst(self, spec: Spec) -> int:
        # A page of the pipe holds only complete messages if they are small.
        return max(1, min(super().burst(spec), _PIPE_BYTES // 2 // (spec.message_size + _OVERHEAD)))

    def channel(self, _spec: Spec, context: BaseContext) -> Any:
        ends = context.Pipe(duplex=False)
        fcntl.fcntl(ends[1].fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        return ends

    def discard(self, channel: Any) -> None:
        for end in channel:
            end.close()

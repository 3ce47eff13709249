"""global-buffer: a ring of numpy arrays with a sequence lock on each slot, in Cython."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import global_buffer as gb
import numpy as np

from bench.peer import Peer, Receiver, Sender, Spec
from bench.records import WORD, Rows

__all__ = ["GlobalBuffer"]


class _Sender(Sender):
    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__(spec, name)
        self._shape = _shape(spec)
        schema = gb.ArraySpec(dtype="uint64", shape=self._shape)
        self._buffer = gb.create(name=name, schema=schema, capacity=spec.messages)
        self.send = self._buffer.write

    def message(self, rows: Rows) -> Any:
        return rows.reshape(self._shape)

    def close(self) -> None:
        self._buffer.close()
        _unlink(self.channel)


class _Receiver(Receiver):
    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__(spec, name)
        self._reader = gb.attach(name)
        self._many = spec.room > spec.batch
        self._out = np.empty((spec.room // spec.batch, *_shape(spec)), np.uint64)
        self._one = self._out[0]

    def receive(self) -> Any:
        return self.wait(0)

    def reported_lost(self, _received: int) -> int:
        return int(self._reader.overruns) * self.spec.batch

    def wait(self, timeout_s: float) -> Any:
        """Return the number of messages received; `next_into` itself returns a message number."""
        try:
            if self._many:
                return self._reader.next_batch_into(self._out, timeout=timeout_s)
            self._reader.next_into(self._one, timeout=timeout_s)
        except gb.Empty:
            return 0
        return 1

    def count(self, received: int) -> int:
        return received * self.spec.batch

    def data(self, received: int) -> Any:
        return self._out[:received]

    def close(self) -> None:
        self._reader.close()


class GlobalBuffer(Peer):
    """A waiting reader polls, less and less often."""

    name = "global-buffer"
    distribution = "global-buffer"
    module = "global_buffer"
    how = "`write` of an array, `next_into` or `next_batch_into`; its wait polls, at intervals of up to 2 ms"
    sending, receiving = _Sender, _Receiver

    def discard(self, channel: str) -> None:
        _unlink(channel)


def _shape(spec: Spec) -> tuple[int, ...]:
    words = spec.record_size // WORD
    return (words,) if spec.batch == 1 else (spec.batch, words)


def _unlink(name: str) -> None:
    # Its own unlink makes the resource tracker unregister the name twice, which logs an error.
    Path(f"/dev/shm/gb_{name}").unlink(missing_ok=True)  # noqa: S108 - where shared memory is, not a temporary file

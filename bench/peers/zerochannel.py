"""zerochannel: a broadcast ring of fixed entries with sequence numbers, from Rust."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import zerochannel

from bench.peer import Peer, Receiver, Sender, Spec

__all__ = ["Zerochannel"]


class _Sender(Sender):
    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__(spec, name)
        self._writer = zerochannel.BytesWriter(f"/{name}", entry_length=spec.message_size, entry_count=spec.messages)
        self.send = self._writer.write

    def close(self) -> None:
        del self._writer, self.send


class _Receiver(Receiver):
    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__(spec, name)
        self._reader = zerochannel.BytesReader(f"/{name}")
        self._out = np.empty(spec.message_size, np.uint8)
        # For a single record, a new bytes object is faster.
        self.receive = self._reader.read if spec.batch == 1 else partial(self._reader.read, out=self._out)

    def reported_lost(self, received: int) -> int:
        """Return the sum of the gaps between its entry numbers."""
        return int(self._reader.last_entry_seq) * self.spec.batch - received

    def data(self, received: Any) -> Any:
        return received[1]


class Zerochannel(Peer):
    """A lapped reader skips the overwritten entries; the number of each entry shows the gap."""

    name = "zerochannel"
    distribution = "zerochannel"
    module = "zerochannel"
    how = "`BytesWriter.write`, `BytesReader.read`, into an array for batches"
    blocking = False
    sending, receiving = _Sender, _Receiver

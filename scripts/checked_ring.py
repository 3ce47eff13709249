"""Records that follow from their position, and a consumer that checks them: for scripts/crash-ring and stress-ring."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from chronostream.errors import StreamNotFoundError
from chronostream.ring import Consumer

__all__ = ["RECORD", "TIMEOUT_S", "attach", "follow", "records_at"]

RECORD = np.dtype([("position", "<u8"), ("checksum", "<u8"), ("filling", "<u8", 5), ("odd", "<u4")])
TIMEOUT_S = 30.0


def records_at(first: int, count: int) -> npt.NDArray[Any]:
    """Return the records that belong at these positions."""
    rows = np.zeros(count, RECORD)
    rows["position"] = np.arange(first, first + count, dtype=np.uint64)
    rows["checksum"] = rows["position"] * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(0x5555555555555555)
    rows["filling"] = rows["checksum"][:, np.newaxis]
    rows["odd"] = rows["checksum"] & np.uint64(0xFFFFFFFF)
    return rows


def attach(name: str, core: Any) -> Consumer:
    """Attach to a stream that another process is creating."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return Consumer.attach(name, core=core)
        except StreamNotFoundError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)


def follow(consumer: Consumer) -> tuple[int, int]:
    """Read to the end of the stream; return the number of records, and of reads with a wrong record."""
    received = wrong = 0
    while consumer.wait(TIMEOUT_S):
        records = consumer.read()
        first = consumer.position - len(records)
        wrong += records.tobytes() != records_at(first, len(records)).tobytes()
        received += len(records)
    return received, wrong

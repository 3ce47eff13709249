"""Where a recording resumes: the last finished file is compared with the ring that has the stream's name now."""

from __future__ import annotations

from chronostream.errors import RecordingError
from chronostream.recorder.files import Metadata, RecordedFile, digest
from chronostream.ring import Consumer
from chronostream.ring.dtypes import dtype_to_text

__all__ = ["find_end"]

_BATCH = 1 << 12


def find_end(consumer: Consumer, last: RecordedFile, *, any_owner: bool) -> int | None:
    """Return the position after the last recorded one; None if the ring is not the recorded one but a new one.

    Raises:
        RecordingError: the file cannot be read, or its dtype is not the ring's.
    """
    recorded = last.metadata()
    dtype = dtype_to_text(consumer.dtype).decode()
    if recorded.dtype != dtype:
        raise RecordingError(
            f"{last.path} holds records of {recorded.dtype}, but stream {last.stream!r} has {dtype}: record it into "
            "another directory"
        )
    return last.last + 1 if _is_same_ring(consumer, recorded, any_owner) else None


def _is_same_ring(consumer: Consumer, recorded: Metadata, any_owner: bool) -> bool:
    header = consumer.header
    generation = int(header["generation"])
    if generation < recorded.generation:
        return False
    if generation == recorded.generation and int(header["started_ns"]) != recorded.producer_started_ns:
        return False
    with Consumer.attach(consumer.name, register=False, any_owner=any_owner) as probe:
        if probe.position + probe.lag <= recorded.last:
            return False
        while probe.position < recorded.last:
            probe.read(min(_BATCH, recorded.last - probe.position))
        record = probe.read(1)
        if not len(record) or probe.position != recorded.last + 1:
            return True  # The record was overwritten since: nothing tells the rings apart.
        return digest(record) == recorded.last_record

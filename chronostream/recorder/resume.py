"""Where a recording goes on: the last finished file, held against the ring that has its stream's name now."""

from __future__ import annotations

from chronostream.errors import RecordingError
from chronostream.recorder.files import Metadata, RecordedFile, digest
from chronostream.ring import Consumer
from chronostream.ring.dtypes import dtype_to_text

__all__ = ["find_end"]

_BATCH = 1 << 12


def find_end(consumer: Consumer, last: RecordedFile, *, any_owner: bool) -> int | None:
    """Return the position behind the last recorded one; None if this is another ring, made anew under the name.

    Raises:
        RecordingError: the file cannot be read, or the ring's records are of another dtype than the recorded ones.
    """
    recorded = last.metadata()
    dtype = dtype_to_text(consumer.dtype).decode()
    if recorded.dtype != dtype:
        raise RecordingError(
            f"{last.path} holds records of {recorded.dtype}, stream {last.stream!r} has {dtype}: record it into "
            "another directory"
        )
    return last.last + 1 if _is_same_ring(consumer, recorded, any_owner) else None


def _is_same_ring(consumer: Consumer, recorded: Metadata, any_owner: bool) -> bool:
    header = consumer.header
    generation, started_ns = int(header["generation"]), int(header["started_ns"])
    if generation < recorded.generation:
        return False
    if generation == recorded.generation and started_ns != recorded.producer_started_ns:
        return False
    with Consumer.attach(consumer.name, register=False, any_owner=any_owner) as probe:
        if probe.position + probe.lag <= recorded.last:
            return False
        while probe.position < recorded.last:
            probe.read(min(_BATCH, recorded.last - probe.position))
        found = probe.read(1)
        if not len(found) or probe.position != recorded.last + 1:
            return True  # It was overwritten since, so that nothing speaks against it.
        return digest(found) == recorded.last_record

"""A ring seen from outside, without publishing or reading: status, list, removal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from chronostream._renamed import former
from chronostream.ring import shm
from chronostream.ring.layout import CLOSED, FREE_TAIL
from chronostream.ring.segment import Segment

__all__ = ["ConsumerStatus", "RingStatus", "inspect", "list_names", "remove", "segment_status"]

list_names = shm.list_names
remove = Segment.remove


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """A registered, living consumer.

    Attributes:
        label: the name that it chose.
        pid: its process id in its own namespace.
        lag: records published that it has neither read nor lost.
        lost: records that were overwritten before it read them.
        started_ns: when it attached, Unix time.
        slot: its slot in the table of consumers, which no other has at the same time; formerly ``place``.
    """

    label: str
    pid: int
    lag: int
    lost: int
    started_ns: int
    slot: int
    place = former("place", "slot")


@dataclass(frozen=True, slots=True)
class RingStatus:
    """One ring at one moment.

    Attributes:
        name: the stream's name.
        state: ``"live"``, ``"closed"`` by its producer, or ``"dead"`` if its producer died without closing it.
        pid: the last producer's process id in its own namespace.
        same_namespace: whether `pid` means the same process here; false in another container.
        generation: how many producers the stream has had.
        started_ns: when the last one opened it, Unix time.
        version: that producer's version text.
        instance: that producer's name.
        head: records published.
        capacity: records that the ring holds.
        dtype: the records' dtype.
        segment_size: bytes of shared memory.
        consumers: the registered consumers that live.
    """

    name: str
    state: Literal["live", "closed", "dead"]
    pid: int
    same_namespace: bool
    generation: int
    started_ns: int
    version: str
    instance: str
    head: int
    capacity: int
    dtype: np.dtype[Any]
    segment_size: int
    consumers: tuple[ConsumerStatus, ...]


def inspect(name: str, *, any_owner: bool = False) -> RingStatus:
    """Return the status of the ring `name`.

    Raises:
        StreamNotFoundError: there is none, or it is still being made.
        CorruptSegmentError: the segment is damaged, or another program's.
        LayoutMismatchError: it was made by another version of the layout.
        AccessDeniedError: it is another user's and `any_owner` is false, or its mode keeps this process out.
    """
    segment = Segment.attach(name, any_owner=any_owner)
    try:
        return segment_status(segment)
    finally:
        segment.close()


def segment_status(segment: Segment, own_slot: int | None = None) -> RingStatus:
    """Return the status of an open segment; `own_slot` is the slot of the handle that opened it, if it has one."""
    header = segment.header
    head = int(header["head"])
    alive = segment.producer_alive()
    consumers = tuple(
        ConsumerStatus(
            label=_text(entry["label"]),
            pid=int(entry["pid"]),
            lag=max(0, head - int(entry["tail"])),
            lost=int(entry["lost"]),
            started_ns=int(entry["started_ns"]),
            slot=slot,
        )
        for slot, entry in enumerate(segment.table)
        if int(entry["tail"]) != FREE_TAIL and (slot == own_slot or segment.slot_taken(slot))
    )
    return RingStatus(
        name=segment.name,
        state="closed" if int(header["state"]) == CLOSED else "live" if alive else "dead",
        pid=int(header["pid"]),
        same_namespace=int(header["pid_namespace"]) == shm.pid_namespace(),
        generation=int(header["generation"]),
        started_ns=int(header["started_ns"]),
        version=_text(header["version"]),
        instance=_text(header["instance"]),
        head=head,
        capacity=segment.layout.capacity,
        dtype=segment.layout.dtype,
        segment_size=segment.layout.segment_size,
        consumers=consumers,
    )


def _text(field: bytes) -> str:
    return field.decode(errors="replace")

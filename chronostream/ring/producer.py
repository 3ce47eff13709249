"""The producer's handle on a ring. A stream has one producer at a time, which holds the lock of its segment."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn, Self, SupportsIndex

import numpy as np
import numpy.typing as npt

from chronostream._renamed import renamed
from chronostream._values import checked_int, encode_text
from chronostream.errors import CorruptSegmentError, InvalidTypeError, InvalidValueError, StreamRemovedError
from chronostream.ring import shm
from chronostream.ring._handle import Handle
from chronostream.ring.core import Core, load_core
from chronostream.ring.layout import CLOSED, HEADER_DTYPE, IDENTITY, Layout
from chronostream.ring.segment import Segment

__all__ = ["DEFAULT_MAX_CONSUMERS", "Producer"]

DEFAULT_MAX_CONSUMERS = 64
_MAX_POSITION = 1 << 63  # No producer gets this far in centuries: a greater one is damage.


class Producer(Handle):
    """Publishes records into a ring. One thread at a time; it never waits for a consumer.

    Records that are not rows of the ring's dtype raise `RecordError`, and nothing is published. The length of a
    producer is its `depth`; it is true even while that is 0.

    Attributes:
        name: the stream's name.
        taken_over: whether it continues a stream that an earlier producer left.
    """

    _kind = "Producer"

    def __init__(self, segment: Segment, *, always_wake: bool, core: Core) -> None:
        super().__init__(segment)
        self.taken_over = segment.taken_over
        self._layout = segment.layout
        self._writer = core.Writer(segment.memory, segment.layout, always_wake)
        segment.on_release(self._writer.release)
        self._claiming = False

    @classmethod
    @renamed(version="producer_version", instance="instance_id")
    def create(
        cls,
        name: str,
        dtype: npt.DTypeLike,
        capacity: SupportsIndex,
        *,
        application_size: SupportsIndex = 0,
        max_consumers: SupportsIndex = DEFAULT_MAX_CONSUMERS,
        always_wake: bool = False,
        mode: int = 0o600,
        group: str | int | None = None,
        producer_version: str = "",
        instance_id: str = "",
        core: str | None = None,
        before_live: Callable[[Self], object] | None = None,
    ) -> Self:
        """Create the stream `name`, or take over a dead or closed one of the same layout.

        Args:
            name: 1 to 64 letters, digits, ``.``, ``_`` or ``-``.
            dtype: any dtype of a fixed width.
            capacity: records that the ring holds, a power of two.
            application_size: bytes of the application area, which the ring never reads.
            max_consumers: slots in the table of registered consumers.
            always_wake: wake consumers on each publish, so that those that may only read can block, too.
            mode: permissions of the segment; without write permission, a reader cannot register.
            group: its group, by name or number.
            producer_version: version text of the producer for the status, at most 32 bytes of UTF-8.
            instance_id: name of the producer for the status, at most 64 bytes of UTF-8.
            core: ``"native"`` or ``"portable"`` instead of `chronostream.ring.CORE`.
            before_live: called with the producer before consumers can attach to a new stream, to fill the application
                area; and before a takeover changes the stream, to check it. Its exceptions reach the caller; a new
                stream is then deleted, an existing one is unchanged.

        Raises:
            ProducerActiveError: the name is live.
            LayoutMismatchError: the stream exists with another dtype, capacity or size.
            CorruptSegmentError: the segment is damaged, or another program's.
            AccessDeniedError: it is another user's, or this user may not create it.
            OutOfSharedMemoryError: there is no room for it; nothing is left behind.
            CoreUnavailableError: the core cannot run here.
        """
        implementation = load_core(core)
        kind: Any = _NativeProducer if cls is Producer and implementation.NAME == "native" else cls
        if before_live is not None and not callable(before_live):
            raise InvalidTypeError(f"before_live is {type(before_live).__name__}, expected a function of the producer")
        identity = _identity(producer_version, instance_id)
        layout = Layout.plan(dtype, capacity, application_size, max_consumers)
        segment = Segment.own(name, layout, identity, mode=mode, group=group)
        with ExitStack() as undo:
            undo.callback(segment.close)
            if not segment.taken_over:
                undo.callback(segment.unlink)
            producer: Self = kind(segment, always_wake=always_wake, core=implementation)
            producer._check_positions()
            if before_live is not None:
                before_live(producer)
            producer._take_over(identity)
            segment.write_magic()
            undo.pop_all()
        return producer

    @property
    def head(self) -> int:
        """First position not yet published: how many records the stream has had."""
        return self._writer.head

    @property
    def depth(self) -> int:
        """Lag of the slowest registered, living consumer, in records; at most `capacity`, 0 without a consumer."""
        head = self.head
        # Not `slowest`, which may return a dead consumer, and leaves out those that were overrun.
        lags = ((head - tail, slot) for slot, tail in enumerate(self._segment.table["tail"].tolist()) if tail <= head)
        living = (lag for lag, slot in sorted(lags, reverse=True) if self._segment.slot_taken(slot))
        return min(next(living, 0), self.capacity)

    @property
    def records(self) -> npt.NDArray[Any]:
        """All slots of the ring, shape ``(capacity,)``; position ``p`` is in slot ``p & (capacity - 1)``."""
        return self._segment.records

    def __len__(self) -> int:
        """Return the `depth`."""
        return self.depth

    def __bool__(self) -> bool:
        """Return true, whatever the `depth` is."""
        return True

    def publish(self, record: Any, /) -> None:
        """Publish one record: a row, a tuple, or any buffer of one record's size."""
        self._writer.publish(record)

    def publish_many(self, records: Any, /) -> None:
        """Publish many records: an array of the ring's dtype, shape ``(n,)``, or a sequence of rows."""
        self._writer.publish_many(records)

    def offer(self, record: Any) -> bool:
        """Publish one record unless a registered, living consumer is a whole ring behind; return whether it was."""
        return self._writer.offer(record) or (self._free_dead_slots() and self._writer.offer(record))

    @contextmanager
    def claim(self, count: SupportsIndex) -> Iterator[npt.NDArray[Any]]:
        """Give `count` rows, 1 to `capacity`, to write in place; they are published together when the block ends.

        The rows hold old records at first, and are read-only after the block. After an exception inside the block
        nothing is published.
        """
        count = checked_int("count", count)
        if not 1 <= count <= self.capacity:
            raise InvalidValueError(f"count is {count}, expected 1 to {self.capacity}, the ring's capacity")
        if self._claiming:
            raise InvalidValueError("a claim is open already: leave its block first")
        slots = self.records
        rows = slots[:0]
        try:
            self._claiming = True
            first = self._writer.claim(count)
            start = first & (self.capacity - 1)
            wraps = start + count > self.capacity
            rows = slots.take(range(start, start + count), mode="wrap") if wraps else slots[start : start + count]
            # Checked in the statement that yields: the rows must not be records that are published already.
            yield rows if self._writer.head == first else _published_inside()
            if not self._writer.commit(first, count, rows if wraps else None):
                _published_inside()
        finally:
            rows.flags.writeable = False
            self._claiming = False

    def check(self) -> None:
        """Raise if publishing has become useless.

        Raises:
            StreamRemovedError: the segment has lost its name, so that no consumer can attach any more.
            ClosedError: this handle was closed, or other code closed its descriptor.
            ForkedError: it belongs to this process's parent.
        """
        if not self._segment.named():
            raise StreamRemovedError(f"stream {self.name!r} was removed while its producer was running: start it anew")

    @renamed(unlink="remove")
    def close(self, *, remove: bool = True) -> None:
        """Mark the stream closed, wake all consumers, and close the handle; a second call does nothing.

        Args:
            remove: also delete the stream. Attached consumers drain it and end either way; consumers can still attach
                to a stream that is kept, and the next producer takes it over.

        Raises:
            AccessDeniedError: this process may not delete the stream (any more); the handle is closed all the same.
            ClosedError: other code closed the handle's descriptor, so that the stream may be another producer's.
        """
        if self._segment.release_error is not None:
            return
        self._segment.verify()  # Without the lock, the stream may already be another producer's.
        with ExitStack() as steps:
            steps.callback(self._segment.close)
            if remove:
                steps.callback(self._segment.unlink)
            self._writer.close()

    def _description(self) -> str:
        state = "closed" if self._segment.header["state"] == CLOSED else "live"
        return f"{state} head={self.head} depth={self.depth} capacity={self.capacity}"

    def _check_positions(self) -> None:
        header = self._segment.header
        generation, claim, head = (int(header[field]) for field in ("generation", "claim", "head"))
        if not (0 <= claim - head <= self.capacity and max(generation, claim) <= _MAX_POSITION):
            raise CorruptSegmentError(
                f"stream {self.name!r} is damaged: generation {generation}, head {head} and claim {claim} do "
                f"not fit capacity {self.capacity}; remove it (`chronostream remove {self.name}`)"
            )

    def _take_over(self, identity: bytes) -> None:
        """Write this producer's identity into the header and go live (docs/ring.md, T1 to T3)."""
        if self.taken_over:
            generation = int(self._segment.header["generation"])
            self._segment.memory[IDENTITY] = (generation + 1).to_bytes(8, "little") + identity[8:]
            self._free_dead_slots()
        self._writer.open()

    def _free_dead_slots(self) -> bool:
        """Free the slots of dead consumers, the furthest behind first, up to a living one; true if any was freed."""
        freed = False
        for _ in range(self._layout.max_consumers):  # A process that writes tails without end must not hold us here.
            slowest = self._writer.slowest()
            if slowest is None or not self._segment.reclaim_slot(slowest[0]):
                break
            freed = True
        return freed


class _NativeProducer(Producer):
    """A producer whose publishing methods are the native core's own, without a Python frame around them."""

    __slots__ = ("publish", "publish_many")
    publish: Callable[[Any], None]
    publish_many: Callable[[Any], None]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.publish, self.publish_many = self._writer.publish, self._writer.publish_many


def _identity(producer_version: str, instance_id: str) -> bytes:
    """Return the header's line that identifies the producer, in the first generation of a stream."""
    header = np.zeros((), HEADER_DTYPE)
    header["generation"] = 1
    header["pid"] = os.getpid()
    header["pid_namespace"] = shm.pid_namespace()
    header["started_ns"] = time.time_ns()
    header["version"] = encode_text("producer_version", producer_version, HEADER_DTYPE["version"].itemsize)
    header["instance"] = encode_text("instance_id", instance_id, HEADER_DTYPE["instance"].itemsize)
    line: bytes = header.tobytes()[IDENTITY]
    return line


def _published_inside() -> NoReturn:
    raise InvalidValueError("records were published inside the claim's block: write to its rows instead")

"""A consumer's handle on a ring. A ring has any number of them, in any process; none makes the producer wait."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Literal, Self, SupportsIndex, get_args

import numpy as np
import numpy.typing as npt

from chronostream._values import checked_seconds
from chronostream.errors import InvalidTypeError, InvalidValueError, LostError, ProducerGoneError, StreamRemovedError
from chronostream.ring._handle import Handle
from chronostream.ring.core import Core, IdleStrategy, Reader, load_core
from chronostream.ring.inspect import RingStatus, segment_status
from chronostream.ring.layout import CONSUMER_DTYPE, FREE_TAIL, LINE
from chronostream.ring.segment import Segment

__all__ = ["LIVENESS_CHECK_S", "Consumer"]

_BATCH = 1024
LIVENESS_CHECK_S = 0.5
"""How often a waiting consumer checks whether the producer lives and the stream still has its name."""


class Consumer(Handle):
    """Reads records from a ring. One thread at a time.

    A loop over it gives arrays of 1 to 1024 records as they come, and ends when the stream is closed and drained.
    Records received + `lost` + `lag` always equals the stream's head minus `start`.

    Attributes:
        name: the stream's name.
        start: the position at which it began.
        registered: whether it has a slot in the table of consumers, so that ``offer`` and the status see it. False
            with ``register=False``, when this process may only read, and when the table is full.
    """

    _kind = "Consumer"

    def __init__(self, segment: Segment, slot: int | None, *, start: str, on_gone: str, idle: str, core: Core) -> None:
        super().__init__(segment)
        self.registered = slot is not None
        self._slot = slot
        self._on_gone = on_gone
        self._reader = core.Reader(segment.memory, segment.control, segment.layout, slot, start == "oldest", idle)
        self.start = self._reader.position
        segment.on_release(self._reader.release)
        self._checked_s, self._counted_s = time.monotonic(), 0.0

    @classmethod
    def attach(
        cls,
        name: str,
        start: Literal["oldest", "next"] = "oldest",
        *,
        register: bool = True,
        on_gone: Literal["wait", "raise"] = "wait",
        idle: IdleStrategy = "blocking",
        label: str | None = None,
        any_owner: bool = False,
        core: str | None = None,
    ) -> Self:
        """Attach to the stream `name`.

        Args:
            name: the stream's name.
            start: ``"oldest"``, the oldest record that the ring still holds, or ``"next"``, the next to come.
            register: take a slot in the table of consumers.
            on_gone: what `wait` does when the producer died: wait for the next one, or raise.
            idle: what `wait` does meanwhile: ``"busy-spin"``, ``"yielding"``, ``"sleeping"`` or ``"blocking"``.
            label: name in the status, by default the program's; cut after 64 bytes.
            any_owner: also trust a segment that another user made.
            core: ``"native"`` or ``"portable"`` instead of `chronostream.ring.CORE`.

        Raises:
            StreamNotFoundError: there is no such stream, or it is not ready yet.
            CorruptSegmentError: the segment is damaged, or another program's.
            LayoutMismatchError: it was made by another version of the layout.
            AccessDeniedError: it is another user's, or its mode keeps this process out.
            CoreUnavailableError: the core cannot run here.
        """
        implementation = load_core(core)
        kind: Any = _NativeConsumer if cls is Consumer and implementation.NAME == "native" else cls
        _check_choice("idle", idle, *get_args(IdleStrategy))
        _check_choice("start", start, "oldest", "next")
        _check_choice("on_gone", on_gone, "wait", "raise")
        if label is not None and not isinstance(label, str):
            raise InvalidTypeError(f"label is {type(label).__name__}, expected a string or None")
        segment = Segment.attach(name, any_owner=any_owner, populate=register)
        try:
            slot = segment.take_slot() if register else None
            if slot is not None:
                _enter(segment, slot, label)
            consumer: Self = kind(segment, slot, start=start, on_gone=on_gone, idle=idle, core=implementation)
        except BaseException:
            segment.close()
            raise
        return consumer

    @property
    def position(self) -> int:
        """The next position to read."""
        return self._reader.position

    @property
    def lost(self) -> int:
        """How many records were overwritten before this consumer read them."""
        return self._reader.lost

    @property
    def lag(self) -> int:
        """How many records are published and neither read nor lost yet."""
        return self._reader.lag

    @property
    def closed(self) -> bool:
        """Whether the stream is marked closed; the records left in it can still be read."""
        return self._reader.closed

    @property
    def producer_alive(self) -> bool:
        """Whether a producer holds the stream's lock."""
        return self._segment.producer_alive()

    @property
    def header(self) -> np.void:
        """A copy of the header's fixed part, a row of `chronostream.ring.layout.HEADER_DTYPE`."""
        return self._segment.header

    def read(self, limit: SupportsIndex | None = None) -> npt.NDArray[Any]:
        """Return the available records, at most `limit`, as a new array, shape ``(n,)``; never blocks."""
        return self._reader.read(limit)

    def read_into(self, out: npt.NDArray[Any], /) -> int:
        """Copy available records to the front of `out`, an array of the ring's dtype; return how many. Never blocks."""
        return self._reader.read_into(out)

    def status(self) -> RingStatus:
        """Return the status of this ring, as `chronostream.ring.inspect` does."""
        return segment_status(self._segment, self._slot)

    def peek(self, limit: SupportsIndex | None = None) -> AbstractContextManager[npt.NDArray[Any]]:
        """Give available records without a copy, in a ``with`` block; the consumer moves past them when the block ends.

        The rows are read-only views into the ring, shape ``(n,)``: at most `limit`, and none beyond the ring's end, so
        that the rest may need a second `peek`. Rows that the producer overwrites during the block count as lost; trust
        no result made from them. After an exception inside the block the position is unchanged.

        Raises:
            LostError: some of the rows were overwritten before the block ended.
            InvalidValueError: the consumer read inside the block.
        """
        return _Peek(self._reader, self._segment.records, limit)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for something to read, for `timeout_s` seconds or for ever. Ctrl-C ends it.

        Returns:
            True: there is something to read. False: the time is up, or the stream is closed and drained.

        Raises:
            StreamRemovedError: the stream was removed.
            ProducerGoneError: the producer died, and ``on_gone="raise"``; noticed within a second.
        """
        limit_s = math.inf if timeout_s is None else checked_seconds("timeout_s", timeout_s)
        began_s = time.monotonic()
        counted_s = 0.0  # Sum of the turns, in case a test has stopped the clock.
        while True:
            remaining_s = limit_s - max(counted_s, time.monotonic() - began_s)
            turn_s = min(max(0.0, remaining_s), LIVENESS_CHECK_S)
            if self._reader.wait(turn_s):
                return True
            if self._reader.closed:
                return self._reader.lag > 0
            counted_s += turn_s
            self._counted_s += turn_s
            if max(self._counted_s, abs(time.monotonic() - self._checked_s)) >= LIVENESS_CHECK_S:
                self._checked_s, self._counted_s = time.monotonic(), 0.0
                self._check_liveness()
            if remaining_s <= turn_s:
                return False

    def close(self) -> None:
        """Close the handle and free its slot in the table of consumers; a second call does nothing."""
        if self._segment.release_error is not None:
            return
        self._segment.verify()  # Without the lock, the slot may already be another consumer's.
        with ExitStack() as steps:
            steps.callback(self._segment.close)
            self._reader.leave()

    def __iter__(self) -> Self:
        """Return the consumer itself."""
        return self

    def __next__(self) -> npt.NDArray[Any]:
        """Wait for records and return them; raises what `wait` raises."""
        while self.wait():
            records = self.read(_BATCH)
            if len(records):
                return records
        raise StopIteration

    def _description(self) -> str:
        state = "closed" if self.closed else "live" if self.producer_alive else "dead"
        return f"{state} position={self.position} lag={self.lag} lost={self.lost} capacity={self.capacity}"

    def _check_liveness(self) -> None:
        named, alive = self._segment.named(), self.producer_alive
        # Read last: a producer publishes, closes, unlinks and ends, in this order.
        if self.closed or self.lag:
            return
        if not named:
            raise StreamRemovedError(f"stream {self.name!r} was removed: wait for a new one, and attach to it")
        if self._on_gone == "raise" and not alive:
            pid = int(self.header["pid"])
            raise ProducerGoneError(
                f"process {pid}, the producer of stream {self.name!r}, died without closing it: start it again"
            )


class _NativeConsumer(Consumer):
    """A consumer whose reading methods are the native core's own, without a Python frame around them."""

    __slots__ = ("read", "read_into")
    read: Callable[..., npt.NDArray[Any]]
    read_into: Callable[[npt.NDArray[Any]], int]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.read, self.read_into = self._reader.read, self._reader.read_into


class _Peek:
    """The context manager of `Consumer.peek`."""

    __slots__ = ("_count", "_limit", "_position", "_reader", "_records")

    def __init__(self, reader: Reader, records: npt.NDArray[Any], limit: SupportsIndex | None) -> None:
        self._reader, self._records, self._limit = reader, records, limit

    def __enter__(self) -> npt.NDArray[Any]:
        self._position, self._count = self._reader.peek(self._limit)
        first = self._position & (len(self._records) - 1)
        return self._records[first : first + self._count]

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        lost = self._reader.end_peek(self._position, self._count)
        if lost is None:
            raise InvalidValueError("the consumer read inside peek's block: use only the rows there")
        if lost:
            raise LostError(self._position, self._position + lost - 1)


def _enter(segment: Segment, slot: int, label: str | None) -> None:
    """Write this consumer's identity into its slot in the table; the core writes the tail."""
    entry = np.zeros((), CONSUMER_DTYPE)
    entry["tail"] = FREE_TAIL
    entry["pid"] = os.getpid()
    entry["started_ns"] = time.time_ns()
    if label is None:
        arguments = getattr(sys, "argv", None) or [""]  # An embedded interpreter may have none.
        label = Path(arguments[0]).name or "python"
    encoded = label.encode(errors="replace")[: CONSUMER_DTYPE["label"].itemsize]
    entry["label"] = encoded.decode(errors="ignore").encode()  # Drops half a character at the cut.
    start = LINE + slot * LINE
    assert segment.control is not None
    segment.control[start : start + LINE] = entry.tobytes()


def _check_choice(name: str, value: str, *choices: str) -> None:
    if not isinstance(value, str) or value not in choices:
        raise InvalidValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, choices))}")

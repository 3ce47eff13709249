"""The portable core: the ring's protocol in pure Python and numpy.

It is right where stores become visible in program order and loads are not reordered, which is x86-64; `load_core`
raises elsewhere. An aligned 8-byte access through a memoryview is one machine access there. Full fences come from the
atomic operation of an uncontended lock. The step numbers are those of docs/ring.md.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, SupportsIndex, TypeVar

import numpy as np
import numpy.typing as npt

from chronostream.errors import ChronoStreamError, CorruptSegmentError
from chronostream.ring import _futex
from chronostream.ring._side import Released, Side
from chronostream.ring.layout import (
    ALWAYS_WAKE,
    CLAIM,
    CLOSED,
    FREE_TAIL,
    HEAD,
    LINE,
    LIVE,
    STATE,
    WAITING,
    WAKE_SEQ,
    Layout,
)
from chronostream.ring.records import checked_limit, checked_out, record_bytes, records_bytes

__all__ = ["NAME", "Reader", "Writer"]

NAME = "portable"

_Result = TypeVar("_Result")

_ATTEMPTS, _REGISTERING_ATTEMPTS = 4, 64
_SPINS_BEFORE_SLEEP = 20
_SHORTEST_SLEEP_S, _LONGEST_SLEEP_S = 0.00005, 0.001


class Writer(Side):
    """The producer's side; see `chronostream.ring.core.Writer`."""

    def __init__(self, memory: Any, layout: Layout, always_wake: bool) -> None:
        super().__init__(memory, layout)
        self._always_wake = bool(always_wake)
        self._waiting = (layout.control_offset + WAITING) // 4
        self._tails: Any = np.ndarray(layout.max_consumers, "<u8", memory, layout.tail_offset(0), strides=(LINE,))
        self._head = self._words[HEAD // 8]

    @property
    def head(self) -> int:
        self._check()
        return self._head

    def release(self, error: ChronoStreamError) -> None:
        super().release(error)
        self._tails = self._bytes

    def open(self) -> None:
        self._halfwords[ALWAYS_WAKE // 4] = self._always_wake
        self._set_state(LIVE)

    def publish(self, record: Any, /) -> None:
        self._check()
        self._exclusively(self._publish_bytes, record_bytes(record, self._layout))

    def publish_many(self, records: Any, /) -> None:
        self._check()
        self._exclusively(self._publish_in_chunks, records_bytes(records, self._layout))

    def offer(self, record: Any, /) -> bool:
        self._check()
        return self._exclusively(self._offer_bytes, record_bytes(record, self._layout))

    def claim(self, count: int, /) -> int:
        return self._exclusively(self._claim, count)

    def commit(self, first: int, count: int, rows: npt.NDArray[Any] | None, /) -> bool:
        self._check()
        data = None if rows is None else records_bytes(rows, self._layout)
        return self._exclusively(self._commit_claimed, first, count, data)

    def slowest(self) -> tuple[int, int] | None:
        self._check()
        self._full_fence()  # O1
        tails = self._tails[:].copy()  # O2
        oldest = max(0, self._head - self._layout.capacity - 1)
        inside = (tails >= np.uint64(oldest)) & (tails <= np.uint64(self._head))
        if not inside.any():
            return None
        slot = int(np.where(inside, tails, np.uint64(FREE_TAIL)).argmin())
        return slot, int(tails[slot])

    def close(self) -> None:
        self._set_state(CLOSED)

    def _publish_in_chunks(self, data: memoryview) -> None:
        # Half a ring at a time: a reader that keeps up finds the other half whole.
        chunk = max(1, self._layout.capacity // 2) * self._layout.record_size
        for start in range(0, len(data), chunk):
            self._publish_bytes(data[start : start + chunk])

    def _offer_bytes(self, data: memoryview) -> bool:
        slowest = self.slowest()
        if slowest is not None and self._head + 1 - slowest[1] > self._layout.capacity:
            return False
        self._publish_bytes(data)
        return True

    def _commit_claimed(self, first: int, count: int, data: memoryview | None) -> bool:
        if self._head != first:
            return False
        if data is None:
            self._commit(count)
        else:
            self._publish_bytes(data)
        return True

    def _publish_bytes(self, data: memoryview) -> None:
        count = -(-len(data) // self._layout.record_size)
        for piece in self._pieces(self._claim(count), count):  # P2
            size = min(piece.stop - piece.start, len(data))
            self._bytes[piece.start : piece.start + size] = data[:size]
            data = data[size:]
        self._commit(count)

    def _claim(self, count: int) -> int:
        self._words[CLAIM // 8] = max(self._words[CLAIM // 8], self._head + count)  # P1
        self._full_fence()  # A large copy may use stores that even x86-64 does not keep behind earlier ones.
        return self._head

    def _commit(self, count: int) -> None:
        halfwords = self._halfwords  # A published record gets its wake-up even if the handle is released now.
        self._words[HEAD // 8] = self._head = self._head + count  # P3
        self._full_fence()  # P4
        if self._always_wake:
            self._wake(halfwords)
        elif halfwords[self._waiting]:
            halfwords[self._waiting] = 0
            self._wake(halfwords)

    def _set_state(self, state: int) -> None:
        halfwords = self._halfwords
        halfwords[STATE // 4] = state
        self._full_fence()
        self._wake(halfwords)

    def _wake(self, halfwords: memoryview[int] | Released) -> None:
        halfwords[WAKE_SEQ // 4] = (halfwords[WAKE_SEQ // 4] + 1) & 0xFFFFFFFF
        if _futex.AVAILABLE:
            _futex.futex_wake_all(self._wake_address)


class Reader(Side):
    """A consumer's side; see `chronostream.ring.core.Reader`."""

    def __init__(
        self, memory: Any, control: Any, layout: Layout, slot: int | None, from_oldest: bool, idle: str
    ) -> None:
        super().__init__(memory, layout)
        self._waiting: Any = None if control is None else memoryview(control).cast("I")
        self._line: Any = [0, 0]
        if registered := control is not None and slot is not None:
            self._line = memoryview(control)[LINE + slot * LINE :][:LINE].cast("Q")
        self._lost = 0
        self._position = 0
        self._position = self._first(from_oldest)  # R1
        if registered:
            for _ in range(_REGISTERING_ATTEMPTS):
                self._line[0] = self._position
                self._full_fence()  # R2
                if self._oldest() <= self._position:  # R3
                    break
                self._position = self._first(from_oldest)
            if not from_oldest:
                self._position = self._head(0)
            self._line[0] = self._position  # R4
        self._idle = {
            "busy-spin": self._spin,
            "yielding": self._yield,
            "sleeping": self._sleep,
            "blocking": self._block if _futex.AVAILABLE else self._sleep,
        }[idle]

    @property
    def position(self) -> int:
        self._check()
        return self._position

    @property
    def lost(self) -> int:
        self._check()
        return self._lost

    @property
    def lag(self) -> int:
        position = self._position  # Read before the head, which may move on with it in between.
        return self._head(position) - position

    @property
    def closed(self) -> bool:
        return self._halfwords[STATE // 4] == CLOSED

    def prepare_to_wait(self) -> int | None:
        words = self._halfwords
        head = self._head(self._position)
        wake_seq = words[WAKE_SEQ // 4]  # W1
        if self._waiting is not None:
            self._waiting[WAITING // 4] = 1
        self._full_fence()  # W2
        if self._position != head or self._head(head) != head or self.closed:  # W3
            return None
        return wake_seq

    def leave(self) -> None:
        self._line[0] = FREE_TAIL

    def release(self, error: ChronoStreamError) -> None:
        super().release(error)
        self._waiting = self._line = self._bytes

    def read(self, limit: SupportsIndex | None = None) -> npt.NDArray[Any]:
        self._check()
        return self._exclusively(self._read, checked_limit(limit, self._layout.capacity), self._as_records)

    def read_into(self, out: npt.NDArray[Any], /) -> int:
        self._check()
        rows = checked_out(out, self._layout).view(np.uint8).reshape(len(out), self._layout.dtype.itemsize)

        def copy_out(found: npt.NDArray[np.uint8]) -> int:
            rows[: len(found)] = found
            return len(found)

        count: int = self._exclusively(self._read, min(len(rows), self._layout.capacity), copy_out)
        return count

    def peek(self, limit: SupportsIndex | None, /) -> tuple[int, int]:
        self._check()
        return self._exclusively(self._peek, checked_limit(limit, self._layout.capacity))

    def end_peek(self, first: int, count: int, /) -> int | None:
        return self._exclusively(self._end_peek, first, count)

    def wait(self, timeout_s: float, /) -> bool:
        began_s = time.monotonic()
        counted_s = -time.thread_time()  # Sleeps and processor time: a test may have stopped the clock.
        turn = 0
        while not self.lag:
            if self.closed:
                return bool(self.lag)  # X2
            remaining_s = timeout_s - max(counted_s + time.thread_time(), time.monotonic() - began_s)
            if remaining_s <= 0:
                return False
            counted_s += self._idle(turn, remaining_s)
            turn += 1
        return True

    def _head(self, position: int) -> int:
        head = self._words[HEAD // 8]
        if head < position:
            raise CorruptSegmentError(
                f"the segment is damaged: its head is {head}, but records up to {position} were read from it"
            )
        return head

    def _first(self, from_oldest: bool) -> int:
        return min(self._head(0), self._oldest()) if from_oldest else self._head(0)

    def _oldest(self) -> int:
        """Return the oldest position that no claimed write overwrites."""
        return max(0, self._words[CLAIM // 8] - self._layout.capacity)

    def _as_records(self, rows: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        records: npt.NDArray[Any] = np.ascontiguousarray(rows).reshape(-1).view(self._layout.dtype)
        return records

    def _read(self, limit: int, deliver: Callable[[npt.NDArray[np.uint8]], _Result]) -> _Result:
        """Copy records, deliver them as rows of bytes, and move past them last, because `deliver` may fail."""
        room = min(self.lag, limit)
        slots = np.empty((room, self._layout.record_size), np.uint8)
        first, count = self._copy(slots.reshape(-1).data, room)
        skipped = first - self._position
        delivered = deliver(slots[skipped : skipped + count, : self._layout.dtype.itemsize])
        self._move(first + count, skipped)
        return delivered

    def _copy(self, out: memoryview, room: int) -> tuple[int, int]:
        """Copy up to `room` records to `out`; return the position and the number of those that are good."""
        for attempt in range(_ATTEMPTS):
            head = self._head(self._position)  # C1
            # Each attempt begins further ahead, where the producer takes longer to arrive.
            ahead = self._layout.capacity - (self._layout.capacity >> attempt)
            self._pass_over(min(head, max(self._position, self._oldest() + ahead)))
            first = self._position
            end = first + min(head - first, room)
            at = 0
            for piece in self._pieces(first, end - first):  # C2
                size = piece.stop - piece.start
                out[at : at + size] = self._bytes[piece]
                at += size
            good = min(max(first, self._oldest()), end)  # C3
            if good < end or first == end:
                return good, end - good
            self._pass_over(end)  # C4
        return self._position, 0

    def _peek(self, limit: int) -> tuple[int, int]:
        room = min(self.lag, limit)
        head = self._head(self._position)
        self._pass_over(min(head, max(self._position, self._oldest())))
        piece = self._layout.capacity - (self._position & (self._layout.capacity - 1))
        return self._position, min(head - self._position, room, piece)

    def _end_peek(self, first: int, count: int) -> int | None:
        if self._position != first:
            return None
        end = min(first + count, self._head(first))
        lost = min(max(first, self._oldest()), end) - first  # C3
        self._move(end, lost)
        return lost

    def _pass_over(self, position: int) -> None:
        self._move(position, position - self._position)

    def _move(self, position: int, lost: int) -> None:
        """Move to a position past `lost` records, and store both (C4, C5)."""
        lost += self._lost
        self._position, self._lost, self._line[0], self._line[1] = position, lost, position, lost

    # Each idles once and returns how long it slept at least.

    def _spin(self, _turn: int, _remaining_s: float) -> float:
        return 0.0

    def _yield(self, _turn: int, _remaining_s: float) -> float:
        os.sched_yield()
        return 0.0

    def _sleep(self, turn: int, remaining_s: float) -> float:
        nap_s = min(remaining_s, _LONGEST_SLEEP_S, _SHORTEST_SLEEP_S * (turn + 1))
        time.sleep(nap_s)
        return nap_s

    def _block(self, turn: int, remaining_s: float) -> float:
        if turn < _SPINS_BEFORE_SLEEP:
            return self._yield(turn, remaining_s)
        words = self._halfwords  # Keeps the memory mapped if another thread closes the handle during the sleep.
        wake_seq = self.prepare_to_wait()
        # After W1: a takeover by a producer that does not always wake changes `wake_seq`, too.
        if self._waiting is None and not words[ALWAYS_WAKE // 4]:
            return self._sleep(turn, remaining_s)  # A process that may only read cannot ask to be woken.
        if wake_seq is None:
            return 0.0
        try:
            return remaining_s if _futex.futex_wait(self._wake_address, wake_seq, remaining_s) else 0.0
        except OSError:
            self._check()  # Another thread closed the handle just before the call, which unmapped the word.
            raise

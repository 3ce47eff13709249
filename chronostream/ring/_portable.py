"""The portable core: the ring's protocol in pure Python and numpy.

Right where stores become visible in program order and loads are not reordered, which is x86-64; `load_core` refuses
it elsewhere. An aligned 8-byte access through a memoryview is one machine access there. Full fences come from an
uncontended lock, whose atomic operation is one. The step numbers are those of docs/ring.md.
"""

from __future__ import annotations

import os
import threading
import time
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from chronostream.errors import ChronoStreamError, CorruptSegmentError
from chronostream.ring import _futex
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

_ATTEMPTS, _REGISTERING_ATTEMPTS = 4, 64
_SPINS_BEFORE_SLEEP = 20
_SHORTEST_SLEEP_S, _LONGEST_SLEEP_S = 0.00005, 0.001


class _Side:
    """What both sides have: the segment's words and bytes, and the refusal once the handle is closed."""

    def __init__(self, memory: Any, layout: Layout) -> None:
        self._layout = layout
        self._bytes = memoryview(memory)
        words = self._bytes[: layout.records_offset]
        self._words = words.cast("Q")
        self._halfwords = words.cast("I")
        self._wake_address = np.frombuffer(memory, np.uint8, 1).ctypes.data + WAKE_SEQ
        self._refusal: ChronoStreamError | None = None
        self._fence_lock = threading.Lock()  # a handle's own: never contended, and never held when a process forks

    def refuse(self, error: ChronoStreamError) -> None:
        self._refusal = error
        del self._bytes, self._words, self._halfwords

    def _check(self) -> None:
        if self._refusal is not None:
            raise copy(self._refusal)  # The one that is kept must not collect the frames it was raised through.

    def _full_fence(self) -> None:
        with self._fence_lock:
            pass

    def _pieces(self, position: int, count: int) -> tuple[slice, slice]:
        """Return where `count` records from `position` on lie, as bytes of the segment; the second may be empty."""
        base, size = self._layout.records_offset, self._layout.record_size
        slot = position & (self._layout.capacity - 1)
        first = min(count, self._layout.capacity - slot)
        return slice(base + slot * size, base + (slot + first) * size), slice(base, base + (count - first) * size)


class Writer(_Side):
    """The producer's side; see `chronostream.ring.core.Writer`."""

    def __init__(self, memory: Any, layout: Layout, always_wake: bool) -> None:
        super().__init__(memory, layout)
        self._always_wake = bool(always_wake)
        self._waiting = (layout.control_offset + WAITING) // 4
        self._tails: npt.NDArray[np.uint64] = np.ndarray(
            layout.max_consumers, "<u8", memory, layout.tail_offset(0), strides=(LINE,)
        )
        self._head: int = self._words[HEAD // 8]

    @property
    def head(self) -> int:
        self._check()
        return self._head

    def refuse(self, error: ChronoStreamError) -> None:
        super().refuse(error)
        del self._tails

    def open(self) -> None:
        self._check()
        self._halfwords[ALWAYS_WAKE // 4] = self._always_wake
        self._set_state(LIVE)

    def publish(self, record: Any, /) -> None:
        self._check()
        self._publish_bytes(record_bytes(record, self._layout))

    def publish_many(self, records: Any, /) -> None:
        self._check()
        data = records_bytes(records, self._layout)
        # Half a ring at a time, so that a reader that keeps up finds the other half whole.
        chunk = max(1, self._layout.capacity // 2) * self._layout.record_size
        for start in range(0, len(data), chunk):
            self._publish_bytes(data[start : start + chunk])

    def offer(self, record: Any, /) -> bool:
        self._check()
        data = record_bytes(record, self._layout)
        slowest = self.slowest()
        if slowest is not None and self._head + 1 - slowest[1] > self._layout.capacity:
            return False
        self._publish_bytes(data)
        return True

    def claim(self, count: int, /) -> None:
        self._check()
        claimed = self._head + count
        self._words[CLAIM // 8] = max(self._words[CLAIM // 8], claimed)  # P1
        self._full_fence()  # A large copy may use stores that even x86-64 does not keep behind earlier ones.

    def commit(self, count: int, /) -> None:
        self._check()
        self._head += count
        self._words[HEAD // 8] = self._head  # P3
        self._full_fence()  # P4
        if self._always_wake:
            self._wake()
        elif self._halfwords[self._waiting]:
            self._halfwords[self._waiting] = 0
            self._wake()

    def slowest(self) -> tuple[int, int] | None:
        self._check()
        self._full_fence()  # O1
        tails = self._tails.copy()  # O2
        oldest = max(0, self._head - self._layout.capacity - 1)
        inside = (tails >= np.uint64(oldest)) & (tails <= np.uint64(self._head))
        if not inside.any():
            return None
        place = int(np.where(inside, tails, np.uint64(FREE_TAIL)).argmin())
        return place, int(tails[place])

    def close(self) -> None:
        self._check()
        self._set_state(CLOSED)

    def _publish_bytes(self, data: memoryview) -> None:
        count = -(-len(data) // self._layout.record_size)
        position = self._head
        self.claim(count)
        for piece in self._pieces(position, count):  # P2
            size = min(piece.stop - piece.start, len(data))
            self._bytes[piece.start : piece.start + size] = data[:size]
            data = data[size:]
        self.commit(count)

    def _set_state(self, state: int) -> None:
        self._halfwords[STATE // 4] = state
        self._full_fence()
        self._wake()

    def _wake(self) -> None:
        self._halfwords[WAKE_SEQ // 4] = (self._halfwords[WAKE_SEQ // 4] + 1) & 0xFFFFFFFF
        if _futex.AVAILABLE:
            _futex.futex_wake_all(self._wake_address)


class Reader(_Side):
    """A consumer's side; see `chronostream.ring.core.Reader`."""

    def __init__(
        self,
        memory: Any,
        control: Any,
        layout: Layout,
        place: int | None,
        from_oldest: bool,
        idle: str,
    ) -> None:
        super().__init__(memory, layout)
        self._waiting = None if control is None else memoryview(control).cast("I")
        self._line = None
        if control is not None and place is not None:
            self._line = memoryview(control)[LINE + place * LINE :][:LINE].cast("Q")
        self._lost = 0
        self._position = 0
        self._position = self._first(from_oldest)  # R1
        if self._line is not None:
            for _ in range(_REGISTERING_ATTEMPTS):
                self._line[0] = self._position
                self._full_fence()  # R2
                if self._oldest() <= self._position:  # R3
                    break
                self._position = self._first(from_oldest)
            if not from_oldest:
                self._position = self._head()
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
        return self._head() - self._position

    @property
    def closed(self) -> bool:
        self._check()
        return self._halfwords[STATE // 4] == CLOSED

    def leave(self) -> None:
        self._check()
        if self._line is not None:
            self._line[0] = FREE_TAIL

    def refuse(self, error: ChronoStreamError) -> None:
        super().refuse(error)
        del self._waiting, self._line

    def read(self, limit: int | None = None) -> npt.NDArray[Any]:
        size, dtype = self._layout.record_size, self._layout.dtype
        room = checked_limit(limit, min(self.lag, self._layout.capacity))
        raw = np.empty(room * size, np.uint8)
        skipped, count = self._copy(raw.data, room)
        records: npt.NDArray[Any] = np.ndarray(count, dtype, raw, skipped * size if count else 0, strides=(size,))
        return records if size == dtype.itemsize else records.copy()

    def read_into(self, out: npt.NDArray[Any], /) -> int:
        self._check()
        out = checked_out(out, self._layout)
        raw = self.read(len(out)).view(np.uint8)
        out.view(np.uint8)[: len(raw)] = raw
        return len(raw) // self._layout.dtype.itemsize

    def peek(self, limit: int | None, /) -> tuple[int, int]:
        room = checked_limit(limit, min(self.lag, self._layout.capacity))
        head = self._head()
        self._pass_over(min(head, max(self._position, self._oldest())))
        piece = self._layout.capacity - (self._position & (self._layout.capacity - 1))
        return self._position, min(head - self._position, room, piece)

    def settle(self, count: int, /) -> int:
        first, end = self._position, self._position + checked_limit(count, self.lag)
        good = min(max(first, self._oldest()), end)  # C3
        self._pass_over(good)  # C4
        self._position = end
        self._show_tail()  # C5
        return good - first

    def wait(self, timeout_s: float, /) -> bool:
        deadline_s = time.monotonic() + timeout_s
        turn = 0
        while not self.lag:
            if self.closed:
                return bool(self.lag)  # X2: published before the close, and seen after it
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                return False
            self._idle(turn, remaining_s)
            turn += 1
        return True

    def _head(self) -> int:
        self._check()
        head = self._words[HEAD // 8]
        if head < self._position:
            raise CorruptSegmentError(
                f"the segment is damaged: its head is {head}, but records up to {self._position} were read from it"
            )
        return head

    def _first(self, from_oldest: bool) -> int:
        return min(self._head(), self._oldest()) if from_oldest else self._head()

    def _oldest(self) -> int:
        """Return the first position that no write has been claimed for since."""
        return max(0, self._words[CLAIM // 8] - self._layout.capacity)

    def _copy(self, out: memoryview, room: int) -> tuple[int, int]:
        """Copy up to `room` records to `out`; return how many to skip there, and how many behind them are good."""
        for attempt in range(_ATTEMPTS):
            head = self._head()  # C1
            # Each further attempt begins further ahead, where the producer takes longer to arrive.
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
            self._pass_over(good)  # C4
            self._position = end
            self._show_tail()  # C5
            if good < end or first == end:
                return good - first, end - good
        return 0, 0

    def _show_tail(self) -> None:
        if self._line is not None:
            self._line[0], self._line[1] = self._position, self._lost

    def _pass_over(self, position: int) -> None:
        self._lost += position - self._position
        self._position = position

    def _spin(self, _turn: int, _remaining_s: float) -> None:
        """Look again at once."""

    def _yield(self, _turn: int, _remaining_s: float) -> None:
        os.sched_yield()

    def _sleep(self, turn: int, remaining_s: float) -> None:
        time.sleep(min(remaining_s, _LONGEST_SLEEP_S, _SHORTEST_SLEEP_S * (turn + 1)))

    def _block(self, turn: int, remaining_s: float) -> None:
        if turn < _SPINS_BEFORE_SLEEP:
            os.sched_yield()
            return
        if self._waiting is None and not self._halfwords[ALWAYS_WAKE // 4]:
            self._sleep(turn, remaining_s)  # This process cannot ask to be woken.
            return
        head = self._head()
        wake_seq = self._halfwords[WAKE_SEQ // 4]  # W1
        if self._waiting is not None:
            self._waiting[WAITING // 4] = 1
        self._full_fence()  # W2
        if self._position == head == self._head() and not self.closed:
            try:
                _futex.futex_wait(self._wake_address, wake_seq, remaining_s)  # W3
            except OSError:
                self._check()  # Another thread closed the handle just before the call: the word is no longer mapped.
                raise

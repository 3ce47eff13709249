"""Waits of many consumers in few threads, for event loops.

A thread sleeps on the futex words of many rings at once, and on a word of its own, which ends its sleep from outside.
It reads nothing. Each consumer belongs to its own thread, which prepares a wait (docs/ring.md, W1 to W3) and looks
again when it is notified.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

from chronostream._exclusive import Exclusive
from chronostream.errors import BusyError
from chronostream.ring import _futex, consumer
from chronostream.ring.layout import ALWAYS_WAKE, CLOSED, HEAD, HEADER_SIZE, STATE, WAKE_SEQ

__all__ = ["Watch"]

_NAP_S = 0.001  # between two looks at a ring whose producer cannot be asked for a wake-up
_IDLE_S = 3600.0

_Result = TypeVar("_Result")
_Seen = tuple[int, int, bool]  # the futex word, the head, and whether the state is closed
_Plan = tuple[list[tuple[int, int]], float]


class _Table(Exclusive):
    """The threads of this process. What concerns them is done in one step after the other, in whichever thread."""

    def __init__(self) -> None:
        self.threads: list[_Thread] = []
        self._lock = threading.RLock()

    def step(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """Run a step; raise `BusyError` in a finalizer that interrupted another one in the same thread."""
        with self._lock:
            return self._exclusively(function, *arguments)

    def ring_of(self, key: tuple[int, int]) -> _Ring:
        """Return a ring that a thread has, or give it to one that has room; part of a step."""
        for thread in self.threads:
            if key in thread.rings:
                return thread.rings[key]
        most = _futex.MOST_WORDS - 1 if _futex.can_wait_for_many() else 1
        thread = next((thread for thread in self.threads if len(thread.rings) < most), None) or self._started()
        ring = thread.rings[key] = _Ring(thread, key)
        return ring

    def _started(self) -> _Thread:
        thread = _Thread()
        thread.start()  # It waits until this step is done.
        self.threads.append(thread)
        return thread


class Watch:
    """The waits of one consumer, one after the other. Only `abandon` may be called in another thread than its own."""

    def __init__(self, source: consumer.Consumer) -> None:
        self._segment, self._reader = source._segment, source._reader  # noqa: SLF001 - of the same package
        self._check = source._check_liveness  # noqa: SLF001 - likewise
        self.needs_producer = source._on_gone == "raise"  # noqa: SLF001 - likewise
        self.notify: Callable[[bool], None] | None = None
        self.wake_address = 0
        self._ring: _Ring | None = None
        self._words: Any = None
        self._halfwords: Any = None

    def begin(self, notify: Callable[[bool], None]) -> bool:
        """Have `notify` called once, in another thread, when there may be something to read, or the stream was closed.

        It is called with false then, and with true if `check` may have something to raise. A second wait takes the
        place of the first.

        Returns:
            False: there is something to read, or the stream was closed; no wait has begun.
        """
        wake_seq = self._reader.prepare_to_wait()
        if wake_seq is None:
            return False
        _table.step(self._begin, notify, (wake_seq, self._reader.position, False))
        return True

    def check(self) -> None:
        """Raise `StreamRemovedError` or `ProducerGoneError` if `Consumer.wait` would."""
        self._check()

    def close(self) -> None:
        """End the wait without a call, and the thread with its last watch; closing twice is fine."""
        thread = None if self._ring is None else self._ring.thread
        try:
            last = _table.step(self.leave)
        except BusyError:
            self.abandon()
            return
        if thread is None:
            return
        thread.interrupt()
        # A finalizer may run in that very thread.
        while last and thread.is_alive() and thread is not threading.current_thread():
            thread.join(_NAP_S)
            thread.interrupt()

    def abandon(self) -> None:
        """Do the same soon, and in no step: for finalizers."""
        if (ring := self._ring) is not None:
            ring.thread.abandoned.append(self)
            ring.thread.interrupt()

    # The rest is part of steps.

    def leave(self) -> bool:
        """End the wait and let go of the memory; return whether the thread has nothing left to do."""
        ring, self._ring = self._ring, None
        self.notify = self._words = self._halfwords = None
        return ring is not None and ring.drop(self)

    def seen(self) -> _Seen:
        """Return what changes when there is something to look at."""
        return self._halfwords[WAKE_SEQ // 4], self._words[HEAD // 8], self._halfwords[STATE // 4] == CLOSED

    def is_woken(self) -> bool:
        """Return whether the producer wakes this process."""
        return self._segment.control is not None or bool(self._halfwords[ALWAYS_WAKE // 4])

    def condition(self, *, ask_for_producer: bool) -> tuple[bool, bool]:
        """Return whether the stream is there, and whether its producer lives if that is asked for."""
        try:
            return self._segment.named(), not ask_for_producer or self._segment.producer_alive()
        except Exception:  # noqa: BLE001 - `check` raises it in the consumer's thread
            return False, False

    def _begin(self, notify: Callable[[bool], None], seen: _Seen) -> None:
        if self._ring is None:
            memory, key = self._segment.memory, self._segment.identity()
            # These views keep the memory mapped, whoever closes the consumer.
            self._words = memoryview(memory)[:HEADER_SIZE].cast("Q")
            self._halfwords = memoryview(memory)[:HEADER_SIZE].cast("I")
            self.wake_address = np.frombuffer(memory, np.uint8, 1).ctypes.data + WAKE_SEQ
            self._ring = _table.ring_of(key)
            self._ring.watches[self] = None
        self._ring.begin(self, notify, seen)


class _Ring:
    """The watches of one ring, and what those that wait have seen of it. Its methods are parts of steps."""

    def __init__(self, thread: _Thread, key: tuple[int, int]) -> None:
        self.thread = thread
        self.watches: dict[Watch, None] = {}
        self.seen: _Seen | None = None
        self.naps = False  # whether one of them is not woken
        self._key = key

    def begin(self, watch: Watch, notify: Callable[[bool], None], seen: _Seen) -> None:
        if self.seen not in (None, seen):
            self._release()
        naps = self.naps or not watch.is_woken()
        if (self.seen, self.naps) != (seen, naps):
            self.thread.interrupt()
        self.seen, self.naps, watch.notify = seen, naps, notify

    def look(self, check: bool) -> None:
        """Notify those that wait if there is something to look at, with `check` also if something is wrong."""
        if self.seen is None:
            return
        if next(iter(self.watches)).seen() != self.seen:
            self._release()
        elif check:
            self._check()

    def word(self) -> tuple[int, int] | None:
        """Return the address of the futex word, and what is expected there; None if nobody waits."""
        return None if self.seen is None else (next(iter(self.watches)).wake_address, self.seen[0])

    def drop(self, watch: Watch) -> bool:
        """Forget a watch; return whether the thread has nothing left to do."""
        self.watches.pop(watch, None)
        if not self.watches:
            self.seen = None
            self.thread.rings.pop(self._key, None)
        if self.thread.rings:
            return False
        if self.thread in _table.threads:
            _table.threads.remove(self.thread)
        return True

    def _check(self) -> None:
        waiting = [watch for watch in self.watches if watch.notify]
        if not waiting:
            self._release()
            return
        needing = [watch for watch in waiting if watch.needs_producer]
        self.watches[waiting[0]] = self.watches.pop(waiting[0])  # The next time it is another one's turn.
        there, alive = waiting[0].condition(ask_for_producer=bool(needing))
        if not there or not alive:
            self._notify(needing if there else waiting, wrong=True)

    def _release(self) -> None:
        """Have all that wait look."""
        self._notify(self.watches, wrong=False)
        self.seen, self.naps = None, False

    def _notify(self, watches: Iterable[Watch], *, wrong: bool) -> None:
        for watch in watches:
            notify, watch.notify = watch.notify, None
            if notify is not None:
                notify(wrong)


class _Thread(threading.Thread):
    """Sleeps until something happens in one of its rings; ends when it has none left."""

    def __init__(self) -> None:
        # A handle that was never closed must not keep the process alive.
        super().__init__(name="chronostream wait", daemon=True)
        self.rings: dict[tuple[int, int], _Ring] = {}
        self.abandoned: deque[Watch] = deque()
        self._word = ctypes.c_uint32(0)
        self._address = self._sleeps_on = ctypes.addressof(self._word)
        self._checked_s = _futex.now_s()

    def run(self) -> None:
        while (plan := self._look()) is not None:
            _futex.futex_wait_any(*plan)

    def interrupt(self) -> None:
        """Have it look again; in any thread."""
        self._word.value = 1
        _futex.futex_wake_all(self._sleeps_on)

    def _look(self) -> _Plan | None:
        """Look at all rings; return what to sleep on and for how long, or None at the end."""
        self._word.value = 0  # An interrupt from here on ends the next sleep.
        now_s = _futex.now_s()
        if check := now_s - self._checked_s >= consumer.LIVENESS_CHECK_S:
            self._checked_s = now_s
        while self.abandoned:
            _table.step(self.abandoned.popleft().leave)
        for ring in _table.step(lambda: list(self.rings.values())):
            _table.step(ring.look, check)  # Others may come in between: a check takes some microseconds.
        return _table.step(self._plan, now_s)

    def _plan(self, now_s: float) -> _Plan | None:
        words = [(self._address, 0), *filter(None, map(_Ring.word, self.rings.values()))]
        # Without futex_waitv it sleeps on the last word only.
        self._sleeps_on = self._address if _futex.can_wait_for_many() else words[-1][0]
        if not self.rings:
            return None
        if any(ring.naps for ring in self.rings.values()):
            return words, _NAP_S
        return words, _IDLE_S if len(words) == 1 else self._checked_s + consumer.LIVENESS_CHECK_S - now_s


def _forget_in_child() -> None:
    """Drop all waits in a forked child, which has none of the threads."""
    global _table
    threads, _table = _table.threads, _Table()  # Another thread of the parent may have been in a step.
    for thread in threads:
        for ring in list(thread.rings.values()):
            for watch in list(ring.watches):
                watch.leave()


_table = _Table()
os.register_at_fork(after_in_child=_forget_in_child)

"""What only the portable core lets a test do: step in between two steps of the protocol."""

from __future__ import annotations

import _thread
import ctypes
import errno
import mmap
import os
import platform
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chronostream.errors import ClosedError
from chronostream.ring import _futex, _portable, _side
from chronostream.ring.layout import CLAIM, CLOSED, HEAD, LIVE, STATE, WAITING, WAKE_SEQ
from tests.ring.harness import TIMEOUT_S, Handles, forked, in_fork, path_of, wait_until

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the portable core is for x86-64")


@pytest.fixture
def core() -> str:
    """The core of every stream here."""
    return "portable"


def during_copy(monkeypatch: pytest.MonkeyPatch, consumer: Any, action: Callable[[], object]) -> None:
    """Run `action` each time the reader is about to copy (C2)."""
    real = consumer._reader._pieces

    def pieces(position: int, count: int) -> tuple[slice, slice]:
        action()
        found: tuple[slice, slice] = real(position, count)
        return found

    monkeypatch.setattr(consumer._reader, "_pieces", pieces)


def test_what_is_overwritten_while_it_is_copied_is_dropped_and_counted(
    own: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer, consumer = own.pair(capacity=8)
    producer.publish_many(range(8))
    during_copy(monkeypatch, consumer, lambda: producer.publish_many([8, 9, 10]) if producer.head == 8 else None)
    assert consumer.read().tolist() == [3, 4, 5, 6, 7]
    assert (consumer.lost, consumer.lag, consumer.position) == (3, 3, 8)
    assert consumer.read().tolist() == [8, 9, 10]


def test_what_is_claimed_while_it_is_copied_is_not_trusted_either(
    own: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer, consumer = own.pair(capacity=4)
    producer.publish_many(range(4))
    claims = iter([2])
    during_copy(monkeypatch, consumer, lambda: list(map(producer._writer.claim, claims)))
    assert consumer.read().tolist() == [2, 3]
    assert consumer.lost == 2


def test_a_reader_overtaken_each_time_gives_up_and_has_counted_everything(
    own: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer, consumer = own.pair(capacity=8)
    producer.publish_many(range(8))
    attempts: list[int] = []

    def overtake() -> None:
        attempts.append(consumer.position)
        producer.publish_many(range(64))

    with monkeypatch.context() as patch:
        during_copy(patch, consumer, overtake)
        assert consumer.read().tolist() == []
    assert len(attempts) == 4
    assert consumer.lost == consumer.position
    assert consumer.lost + consumer.lag == producer.head
    assert len(consumer.read()) == 8


def test_each_attempt_begins_further_ahead(own: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    producer, consumer = own.pair(capacity=8)
    producer.publish_many(range(8))
    begun: list[int] = []

    def overtake() -> None:
        begun.append(consumer.position - max(0, producer.head - 8))
        producer.publish_many(range(8))

    with monkeypatch.context() as patch:
        during_copy(patch, consumer, overtake)
        assert consumer.read().tolist() == []
    assert begun == [0, 4, 6, 7]


def test_a_tail_is_stored_only_after_the_copy(own: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    producer, consumer = own.pair(capacity=4)
    producer.publish_many(range(4))
    offers: list[bool] = []
    during_copy(monkeypatch, consumer, lambda: offers.append(producer.offer(4)))
    assert consumer.read().tolist() == [0, 1, 2, 3]
    assert offers == [False]
    assert producer.offer(4)


def words(producer: Any) -> tuple[int, int]:
    memory = producer._segment.memory
    return int.from_bytes(memory[CLAIM : CLAIM + 8], "little"), int.from_bytes(memory[HEAD : HEAD + 8], "little")


def test_the_claim_comes_before_the_data_and_the_head_after_it(own: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    producer = own.create(capacity=4)
    writer = producer._writer
    seen: list[tuple[str, int, int, int]] = []

    def spy(method: str) -> None:
        real = getattr(writer, method)

        def spied(*arguments: Any) -> Any:
            seen.append((method, *words(producer), int(producer.records[0])))
            return real(*arguments)

        monkeypatch.setattr(writer, method, spied)

    for method in ("_claim", "_pieces", "_commit"):
        spy(method)
    producer.publish(7)
    assert seen == [("_claim", 0, 0, 0), ("_pieces", 1, 0, 0), ("_commit", 1, 0, 7)]
    assert words(producer) == (1, 1)


def test_a_record_published_while_falling_asleep_is_not_slept_through(
    own: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer, consumer = own.pair()
    reader: Any = consumer._reader
    real_fence = reader._full_fence

    def fence() -> None:
        real_fence()
        producer.publish(1)  # after the flag went up, before the look at head

    monkeypatch.setattr(reader, "_full_fence", fence)
    monkeypatch.setattr(_futex, "futex_wait", lambda *_: pytest.fail("it went to sleep"))
    assert consumer.wait()


def test_a_wake_between_the_look_and_the_sleep_keeps_it_from_sleeping(
    own: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer, consumer = own.pair()
    real_wait = _futex.futex_wait

    def late(address: int, expected: int, timeout_s: float) -> None:
        producer.publish(1)
        real_wait(address, expected, 3600.0 if timeout_s else 0.0)  # returns at once: the word has changed

    monkeypatch.setattr(_futex, "futex_wait", late)
    assert consumer.wait()


def test_a_handle_closed_by_another_thread_while_falling_asleep_says_so(
    own: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, consumer = own.pair()
    real_wait = _futex.futex_wait

    def late(*arguments: Any) -> None:
        consumer.close()
        real_wait(*arguments)  # its word is no longer mapped

    monkeypatch.setattr(_futex, "futex_wait", late)
    with pytest.raises(ClosedError):
        consumer.wait()


def test_a_close_while_falling_asleep_is_not_slept_through(own: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    producer, consumer = own.pair()
    reader: Any = consumer._reader
    monkeypatch.setattr(reader, "_full_fence", producer.close)
    monkeypatch.setattr(_futex, "futex_wait", lambda *_: pytest.fail("it went to sleep"))
    assert not consumer.wait()


def test_the_flag_is_up_while_it_sleeps_and_the_word_was_read_before(
    own: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer, consumer = own.pair()
    memory, control = producer._segment.memory, producer._layout.control_offset
    seen: list[tuple[int, bytes, bool]] = []

    def sleep(_address: int, expected: int, timeout_s: float) -> None:
        seen.append((memory[control + WAITING], memory[WAKE_SEQ : WAKE_SEQ + 4], timeout_s > 0))
        assert int.from_bytes(seen[-1][1], "little") == expected
        producer.publish(1)

    monkeypatch.setattr(_futex, "futex_wait", sleep)
    assert consumer.wait()
    assert [(flag, in_time) for flag, _, in_time in seen] == [(1, True)]


def test_a_record_published_just_before_the_close_is_still_found(own: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    producer, consumer = own.pair()
    real_closed: Any = vars(_portable.Reader)["closed"].fget

    def closed(reader: Any) -> Any:
        if not producer._segment.release_error:
            producer.publish(1)
            producer.close()
        return real_closed(reader)

    monkeypatch.setattr(_portable.Reader, "closed", property(closed))
    assert consumer._reader.wait(0)


@pytest.mark.parametrize(("start", "position"), [("oldest", 3), ("next", 7)])
def test_who_registers_while_the_ring_moves_on_starts_where_nothing_is_lost(
    own: Handles, monkeypatch: pytest.MonkeyPatch, start: str, position: int
) -> None:
    producer = own.create(capacity=4)
    producer.publish_many(range(4))
    real_fence = _portable.Reader._full_fence

    def fence(reader: _portable.Reader) -> None:
        if producer.head == 4:
            producer.publish_many(range(4, 7))
        real_fence(reader)

    monkeypatch.setattr(_portable.Reader, "_full_fence", fence)
    consumer = own.attach(start)
    assert (consumer.start, producer._segment.table["tail"].tolist()[0]) == (position, position)
    assert consumer.lost == 0


def test_who_registers_while_offers_go_on_loses_one_record_at_most(
    own: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = own.create(capacity=4)
    assert all(producer.offer(number) for number in range(4))
    real_slowest = _portable.Writer.slowest
    consumers: list[Any] = []

    def slowest(writer: _portable.Writer) -> tuple[int, int] | None:
        found = real_slowest(writer)
        if not consumers:
            consumers.append(own.attach("oldest"))
        return found

    monkeypatch.setattr(_portable.Writer, "slowest", slowest)
    assert producer.offer(4)  # it had looked at the tails before the consumer came
    assert not producer.offer(5)
    assert (consumers[0].read().tolist(), consumers[0].lost) == ([1, 2, 3, 4], 1)


@pytest.mark.parametrize(("start", "position"), [("oldest", 96), ("next", 100)])
def test_who_registers_too_late_to_be_heeded_does_so_again(
    own: Handles, monkeypatch: pytest.MonkeyPatch, start: Any, position: int
) -> None:
    producer = own.create(capacity=4)
    real_fence, real_first = _portable.Reader._full_fence, _portable.Reader._first
    offered: list[bool] = []

    def first(reader: _portable.Reader, from_oldest: bool) -> int:
        found = real_first(reader, from_oldest)
        if producer.head < 100:
            producer.publish_many(range(100))  # before this first tail is stored
        return found

    def fence(reader: _portable.Reader) -> None:
        real_fence(reader)
        if reader._line is not None and reader._line[0] >= 96:
            offered.extend(producer.offer(number) for number in range(100, 104))

    monkeypatch.setattr(_portable.Reader, "_first", first)
    monkeypatch.setattr(_portable.Reader, "_full_fence", fence)
    consumer = own.attach(start)
    assert consumer.start == (position if start == "oldest" else producer.head)
    assert offered.count(True) == (0 if start == "oldest" else 4)
    assert consumer.lost == 0


def test_who_registers_under_an_unthrottled_producer_begins_in_the_end(
    own: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = own.create(capacity=2)
    real_fence = _portable.Reader._full_fence

    def fence(reader: _portable.Reader) -> None:
        producer.publish_many(range(3))
        real_fence(reader)

    monkeypatch.setattr(_portable.Reader, "_full_fence", fence)
    consumer = own.attach("oldest")
    assert consumer.start <= producer.head - 2


def test_who_may_only_read_naps_instead_of_asking_to_be_woken(own: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    producer = own.create()
    layout, memory = producer._layout, producer._segment.memory
    reader = _portable.Reader(memoryview(memory).toreadonly(), None, layout, None, True, "blocking")
    naps: list[float] = []

    def nap(duration_s: float) -> None:
        naps.append(duration_s)
        if len(naps) == 30:
            producer.publish(1)

    monkeypatch.setattr(time, "sleep", nap)
    assert reader.wait(10)
    assert max(naps) == 0.001
    assert memory[layout.control_offset + WAITING] == 0


def test_who_may_only_read_sleeps_deeply_when_the_producer_always_wakes(
    own: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = own.create(always_wake=True)
    reader = _portable.Reader(
        memoryview(producer._segment.memory).toreadonly(), None, producer._layout, None, True, "blocking"
    )
    monkeypatch.setattr(_futex, "futex_wait", lambda *_: producer.publish(1))
    assert reader.wait(10)


@pytest.mark.parametrize("step", ["_head", "_full_fence"])
def test_who_may_only_read_does_not_sleep_through_a_takeover_that_ends_the_waking(
    own: Handles, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    first = own.create(always_wake=True)
    reader: Any = _portable.Reader(
        memoryview(first._segment.memory).toreadonly(), None, first._layout, None, True, "blocking"
    )
    real = getattr(reader, step)
    slept: list[bool] = []

    def take_over(*arguments: Any) -> Any:
        if first._segment.release_error is None:
            first.close(remove=False)
            own.create(always_wake=False)
        return real(*arguments)

    def sleep(_address: int, expected: int, _timeout_s: float) -> bool:
        word = int.from_bytes(path_of(own.name).read_bytes()[WAKE_SEQ : WAKE_SEQ + 4], "little")
        slept.append(word == expected)
        return False

    monkeypatch.setattr(_portable, "_SPINS_BEFORE_SLEEP", 0)
    monkeypatch.setattr(_futex, "futex_wait", sleep)
    monkeypatch.setattr(reader, step, take_over)
    assert not reader.wait(0.01)
    assert True not in slept


def test_without_a_futex_blocking_is_sleeping(own: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_futex, "AVAILABLE", False)
    monkeypatch.setattr(_futex, "futex_wait", lambda *_: pytest.fail("there is none"))
    monkeypatch.setattr(_futex, "futex_wake_all", lambda *_: pytest.fail("there is none"))
    producer, consumer = own.pair(always_wake=True)
    assert not consumer.wait(0.005)
    producer.publish(1)
    assert consumer.wait()


def test_the_state_is_what_the_header_says(own: Handles) -> None:
    producer = own.create()
    memory = producer._segment.memory
    assert memory[STATE] == LIVE
    producer._writer.close()
    assert memory[STATE] == CLOSED


def test_a_fork_in_the_middle_of_a_fence_does_not_keep_the_child_from_its_own_ring(
    own: Handles, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = own.create()
    statuses: list[int] = []

    def child() -> None:
        with Handles(f"{name}-child", "portable", "portable") as mine:
            inner, consumer = mine.pair()
            inner.publish(1)
            assert consumer.read().tolist() == [1]

    def fork_and_lock() -> Any:
        monkeypatch.undo()
        statuses.append(in_fork(child))
        return _thread.allocate_lock()

    monkeypatch.setattr(_side, "allocate_lock", fork_and_lock)
    producer.publish(1)
    assert statuses == [0]


@pytest.fixture
def word() -> np.ndarray[Any, Any]:
    """A word in memory that forked processes share."""
    return np.frombuffer(mmap.mmap(-1, 4096), "<u4", 1)


def test_a_wait_for_another_value_ends_at_once(word: np.ndarray[Any, Any]) -> None:
    word[0] = 5
    _futex.futex_wait(word.ctypes.data, 4, 3600)


def test_a_wait_ends_when_its_time_is_up(word: np.ndarray[Any, Any]) -> None:
    for timeout_s in (0, -1, 0.001, 1e-12):
        _futex.futex_wait(word.ctypes.data, 0, timeout_s)


def test_all_processes_are_woken(word: np.ndarray[Any, Any]) -> None:
    address = word.ctypes.data
    threads = [threading.Thread(target=_futex.futex_wait, args=(address, 0, 3600)) for _ in range(3)]
    for thread in threads:
        thread.start()

    def wake() -> bool:
        _futex.futex_wake_all(address)
        return not any(thread.is_alive() for thread in threads)

    wait_until(wake)


def test_another_process_can_wake(word: np.ndarray[Any, Any]) -> None:
    address = word.ctypes.data

    def child() -> None:
        while not word[0]:
            _futex.futex_wake_all(address)
            time.sleep(0.001)

    with forked(child) as process:
        _futex.futex_wait(address, 0, 3600)
        word[0] = 1
        process.join(TIMEOUT_S)
        assert process.exitcode == 0


def test_a_signal_ends_a_wait(word: np.ndarray[Any, Any]) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    main = threading.get_ident()
    done = threading.Event()

    def nudge() -> None:
        while not done.wait(0.001):
            signal.pthread_kill(main, signal.SIGUSR1)

    thread = threading.Thread(target=nudge)
    thread.start()
    try:
        _futex.futex_wait(word.ctypes.data, 0, 3600)
    finally:
        done.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def test_an_address_that_is_none_is_an_error() -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EFAULT)):
        _futex.futex_wait(ctypes.sizeof(ctypes.c_uint32), 0, 0.001)

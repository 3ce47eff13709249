from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import queue
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chronostream.errors import ClosedError, CorruptSegmentError, ProducerGoneError, StreamRemovedError
from chronostream.ring import Consumer, Producer, _futex, opening, segment, waiting
from chronostream.ring.layout import HEAD, WAITING, WAKE_SEQ
from chronostream.ring.waiting import Watch
from tests.process_harness import Programs
from tests.ring.harness import TIMEOUT_S, Handles, in_fork, move_head, overwrite, path_of, wait_until

_PRODUCER = """
import sys, time
from chronostream.ring import Producer
with Producer.create(sys.argv[1], "<i8", 8) as producer:
    print("ready", flush=True)
    for line in sys.stdin:
        producer.publish(int(line))
"""

# A filter of system calls, in the kernel's own language, has it answer as an older one does.
_WITHOUT_WAITV = """
import ctypes, errno, queue, struct, sys
from chronostream.ring import Consumer, _futex
from chronostream.ring.waiting import Watch

load_number, if_equal, answer, allow = 0x20, 0x15, 0x06, 0x7FFF0000
steps = [(load_number, 0, 0, 0), (if_equal, 0, 1, 449), (answer, 0, 0, 0x50000 | errno.ENOSYS), (answer, 0, 0, allow)]
code = ctypes.create_string_buffer(b"".join(struct.pack("@HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
set_no_new_privileges, set_filter = 38, 22
assert ctypes.CDLL(None).prctl(set_no_new_privileges, 1, 0, 0, 0) == 0
assert ctypes.CDLL(None).prctl(set_filter, 2, program, 0, 0) == 0

calls = queue.SimpleQueue()
with Consumer.attach(sys.argv[1], core=sys.argv[2]) as consumer:
    watch = Watch(consumer)
    assert watch.begin(calls.put)
    print("waiting, one thread for each ring:", not _futex.can_wait_for_many(), flush=True)
    assert not calls.get()
    print("notified", flush=True)
    watch.close()
"""


@pytest.fixture(autouse=True, params=[True, False], ids=["all rings in one thread", "each ring in its own"])
def many(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Whether the kernel has futex_waitv. Afterwards no thread is left."""
    possible: bool = request.param
    if not possible:
        monkeypatch.setattr(_futex, "can_wait_for_many", lambda: False)
    yield possible
    assert waiting._table.threads == []


class Told:
    """A watch, and what it was notified of."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.watch = Watch(consumer)
        self.calls: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def begin(self) -> bool:
        return self.watch.begin(self.calls.put)

    def get(self) -> bool:
        return self.calls.get(timeout=TIMEOUT_S)


@contextlib.contextmanager
def told(*consumers: Consumer) -> Iterator[list[Told]]:
    """Have all consumers wait."""
    found = [Told(consumer) for consumer in consumers]
    try:
        for each in found:
            assert each.begin()
        yield found
    finally:
        for each in found:
            each.watch.close()


def thread_count() -> int:
    return len(waiting._table.threads)


def test_a_consumer_prepares_a_wait_by_raising_its_flag(ring: Handles) -> None:
    producer, consumer = ring.pair()
    memory, flag = producer._segment.memory, producer._layout.control_offset + WAITING
    word = consumer._reader.prepare_to_wait()
    assert memory[flag] == 1
    assert word == int.from_bytes(memory[WAKE_SEQ : WAKE_SEQ + 4], "little")
    producer.publish(1)
    assert memory[flag] == 0
    assert memory[WAKE_SEQ : WAKE_SEQ + 4] == (word + 1).to_bytes(4, "little")
    assert consumer._reader.prepare_to_wait() is None
    consumer.read()
    assert consumer._reader.prepare_to_wait() == word + 1
    producer.close()
    assert consumer._reader.prepare_to_wait() is None


def test_a_consumer_that_is_closed_or_whose_ring_is_damaged_prepares_no_wait(own: Handles) -> None:
    producer, consumer = own.pair()
    producer.publish(1)
    consumer.read()
    move_head(own.name, 0)
    with pytest.raises(CorruptSegmentError):
        consumer._reader.prepare_to_wait()
    consumer.close()
    with pytest.raises(ClosedError):
        Told(consumer).begin()


@pytest.mark.usefixtures("never_checks")
def test_a_record_and_a_close_end_the_wait(ring: Handles) -> None:
    producer, consumer = ring.pair()
    with told(consumer) as [one]:
        producer.publish(1)
        assert not one.get()
        assert not one.begin()
        assert consumer.read().tolist() == [1]
        assert one.begin()
        producer.close()
        assert not one.get()
        assert not one.begin()


@pytest.mark.usefixtures("never_checks")
def test_many_consumers_of_many_rings_share_a_thread(name: str, many: bool) -> None:
    with contextlib.ExitStack() as handles:
        producers = [handles.enter_context(Producer.create(f"{name}-{ring}", "<i8", 8)) for ring in range(5)]
        consumers = [handles.enter_context(Consumer.attach(each.name)) for each in producers for _ in range(4)]
        with told(*consumers) as watches:
            assert thread_count() == (1 if many else 5)
            for number, producer in enumerate(producers):
                producer.publish(number)
                theirs = watches[4 * number : 4 * number + 4]
                assert [each.get() for each in theirs] == [False] * 4
                assert [each.consumer.read().tolist() for each in theirs] == [[number]] * 4
                assert all(each.calls.empty() for each in watches if each not in theirs)
                assert all(each.begin() for each in theirs)
            assert thread_count() == (1 if many else 5)


@pytest.mark.usefixtures("never_checks")
def test_more_rings_than_one_thread_can_wait_for_have_another(
    name: str, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_futex, "MOST_WORDS", 3)
    with contextlib.ExitStack() as handles:
        producers = [handles.enter_context(Producer.create(f"{name}-{ring}", "<i8", 8)) for ring in range(5)]
        consumers = [handles.enter_context(Consumer.attach(each.name)) for each in producers]
        with told(*consumers) as watches:
            assert thread_count() == (3 if many else 5)
            for producer, one in zip(producers, watches, strict=True):
                producer.publish(1)
                assert not one.get()
            watches[0].watch.close()
            watches[1].watch.close()
            assert thread_count() == (2 if many else 3)


@pytest.mark.usefixtures("never_checks")
def test_the_most_rings_that_a_thread_takes_are_what_the_kernel_takes(name: str) -> None:
    if not _futex.can_wait_for_many():
        return
    with contextlib.ExitStack() as handles:
        producers = [handles.enter_context(Producer.create(f"{name}-{ring}", "<i8", 8)) for ring in range(127)]
        consumers = [handles.enter_context(Consumer.attach(each.name, register=False)) for each in producers]
        with told(*consumers) as watches:
            assert thread_count() == 1
            for producer, one in zip(producers, watches, strict=True):
                producer.publish(1)
                assert not one.get()


@pytest.mark.usefixtures("never_checks")
def test_closing_one_leaves_the_others_waiting(ring: Handles) -> None:
    producer = ring.create()
    consumers = [ring.attach() for _ in range(3)]
    with told(*consumers) as [first, second, third]:
        first.watch.close()  # whose mapping the thread sleeps on
        first.consumer.close()
        second.watch.close()
        second.consumer.close()
        second.watch.close()
        producer.publish(1)
        assert not third.get()
        assert first.calls.empty()
        assert second.calls.empty()
        assert thread_count() == 1


@pytest.mark.usefixtures("checks_at_once")
def test_a_watch_that_is_abandoned_ends_soon(own: Handles) -> None:
    _, consumer = own.pair()
    with told(consumer) as [one]:
        one.watch.abandon()
        wait_until(lambda: not waiting._table.threads)
        assert one.calls.empty()
    Watch(consumer).abandon()


@pytest.mark.usefixtures("never_checks")
def test_a_finalizer_may_close_a_watch_in_the_middle_of_a_step(own: Handles) -> None:
    producer = own.create()
    consumers = [own.attach() for _ in range(3)]
    with told(*consumers) as [first, second, third]:

        def finalize(wrong: bool) -> None:
            second.watch.close()
            first.calls.put(wrong)

        first.watch.begin(finalize)
        producer.publish(1)
        assert [first.get(), third.get()] == [False, False]
        wait_until(lambda: second.watch not in waiting._table.threads[0].rings[producer._segment.identity()].watches)
        third.consumer.read()
        assert third.begin()
        producer.publish(2)
        assert not third.get()


@pytest.mark.usefixtures("checks_at_once")
def test_a_finalizer_may_close_a_watch_in_the_thread_that_waits(own: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _futex.futex_wait_any
    _, consumer = own.pair()
    with told(consumer) as [one]:

        def finalize_and_wait(words: Any, timeout_s: float) -> None:
            one.watch.close()
            real(words, timeout_s)

        [thread] = waiting._table.threads
        monkeypatch.setattr(_futex, "futex_wait_any", finalize_and_wait)
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


@pytest.mark.usefixtures("checks_at_once")
def test_every_consumer_learns_that_the_producer_was_killed(ring: Handles, programs: Programs) -> None:
    program = programs.python("-c", _PRODUCER, ring.name, stdin=subprocess.PIPE)
    assert program.out.line() == "ready"
    strict = [ring.attach(on_gone="raise") for _ in range(3)]
    patient = ring.attach()
    with told(*strict, patient) as [*watches, last]:
        program.send_signal(signal.SIGKILL)
        program.wait()
        for each in watches:
            assert each.get()
            with pytest.raises(ProducerGoneError):
                each.watch.check()
        with Producer.create(ring.name, "<i8", 8, core=ring.producer_core) as successor:
            assert not last.get()  # for the takeover, not for the death before it
            assert last.begin()
            successor.publish(2)
            assert not last.get()
            assert last.consumer.read().tolist() == [2]


@pytest.mark.usefixtures("checks_at_once")
def test_every_consumer_learns_that_the_stream_was_removed(own: Handles) -> None:
    own.create()
    with told(own.attach(), own.attach()) as watches:
        path_of(own.name).unlink()
        for each in watches:
            assert each.get()
            with pytest.raises(StreamRemovedError):
                each.watch.check()


@pytest.mark.usefixtures("checks_at_once")
def test_a_removed_stream_is_noticed_while_pythons_clock_stands(own: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    own.create()
    monkeypatch.setattr(time, "monotonic", lambda: 1.8e9)
    with told(own.attach()) as [one]:
        path_of(own.name).unlink()
        assert one.get()


@pytest.mark.usefixtures("checks_at_once")
def test_a_descriptor_that_other_code_closed_is_noticed(own: Handles) -> None:
    own.create()
    with told(own.attach(), own.attach()) as [broken, sound]:
        os.close(broken.consumer._segment._descriptor.fileno())
        assert broken.get()
        with pytest.raises(ClosedError, match="closed by other code"):
            broken.watch.check()
        assert sound.get()
        sound.watch.check()
        assert sound.begin()


@pytest.mark.usefixtures("checks_at_once")
def test_a_record_whose_producer_was_killed_before_it_woke_anybody_is_found(own: Handles) -> None:
    own.create().close(remove=False)
    with Producer.create(own.name, "<i8", 8), told(own.attach()) as [one]:
        overwrite(own.name, HEAD, (1).to_bytes(8, "little"))
        assert not one.get()
        overwrite(own.name, HEAD, (0).to_bytes(8, "little"))


@pytest.mark.usefixtures("never_checks")
@pytest.mark.parametrize("always_wake", [True, False])
def test_a_consumer_that_may_only_read_finds_a_record(
    own: Handles, always_wake: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = opening.map_segment
    producer = own.create(always_wake=always_wake)
    monkeypatch.setattr(segment, "map_segment", lambda *given, **more: (real(*given, **more)[0], None))
    with told(own.attach()) as [one]:
        assert next(iter(waiting._table.threads[0].rings.values())).naps is not always_wake
        producer.publish(1)
        assert not one.get()
        assert one.consumer.read().tolist() == [1]
        assert one.begin()


@pytest.mark.usefixtures("never_checks")
def test_those_that_began_before_a_change_are_not_forgotten(own: Handles) -> None:
    producer = own.create()
    early, late = own.attach(), own.attach()
    with told(early, late) as [first, second]:
        producer.publish(1)
        late.read()
        assert second.begin() in (True, False)  # whether the thread was quicker or not
        assert not first.get()
        wait_until(second.begin)
        producer.publish(2)
        assert not second.get()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.usefixtures("never_checks")
def test_a_forked_child_has_waits_of_its_own(own: Handles) -> None:
    producer, consumer = own.pair()

    def child() -> None:
        one.watch.close()
        assert waiting._table.threads == []
        with told(own.attach("next")) as [mine]:
            assert thread_count() == 1
            os.write(writing, b"!")
            assert not mine.get()
        os._exit(0)

    with told(consumer) as [one]:
        reading, writing = os.pipe()
        waiter = os.fork()
        if waiter == 0:
            child()
        assert os.read(reading, 1) == b"!"
        os.close(reading)
        os.close(writing)
        producer.publish(1)
        assert os.waitpid(waiter, 0)[1] == 0
        assert not one.get()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_while_a_thread_has_the_lock_does_not_hang_the_child(own: Handles) -> None:
    _, consumer = own.pair()

    def child() -> None:
        one.watch.close()
        with told(own.attach()):
            pass

    with told(consumer) as [one]:
        with waiting._table._lock:
            code = in_fork(child)
        assert code == 0


def test_a_kernel_without_futex_waitv_is_noticed(own: Handles, many: bool, programs: Programs) -> None:
    if not many:
        return
    producer = own.create()
    program = programs.python("-c", _WITHOUT_WAITV, own.name, own.consumer_core)
    assert program.out.line() == "waiting, one thread for each ring: True"
    producer.publish(1)
    assert program.out.line() == "notified"
    assert program.wait() == 0


def test_a_process_that_may_not_use_futex_waitv_any_more_looks_now_and_then(
    own: Handles, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not many:
        return
    real: Callable[..., int] = _futex._syscall

    def refuse(number: int, *arguments: Any) -> int:
        if number != _futex._SYS_FUTEX_WAITV:
            return real(number, *arguments)
        ctypes.set_errno(errno.EPERM)
        return -1

    producer, consumer = own.pair()
    with told(consumer) as [one]:
        monkeypatch.setattr(_futex, "_syscall", refuse)
        assert not _futex.can_wait_for_many.__wrapped__()
        producer.publish(1)
        assert not one.get()
        assert consumer.read().tolist() == [1]
        assert one.begin()
        producer.publish(2)
        assert not one.get()


def test_a_machine_whose_system_calls_are_unknown_looks_now_and_then(
    own: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_futex, "AVAILABLE", False)
    producer, consumer = own.pair()
    with told(consumer) as [one]:
        producer.publish(1)
        assert not one.get()

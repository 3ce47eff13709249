from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chronostream.errors import (
    ChronoStreamError,
    ClosedError,
    CoreUnavailableError,
    InvalidNameError,
    InvalidTypeError,
    InvalidValueError,
    ProducerGoneError,
    StreamNotFoundError,
    StreamRemovedError,
)
from chronostream.ring import Consumer, inspect, remove
from chronostream.ring import consumer as consumers
from chronostream.ring.core import IdleStrategy
from chronostream.ring.layout import STATE
from tests.ring.harness import Handles, overwrite, path_of, wait_until

IDLE: list[IdleStrategy] = ["busy-spin", "yielding", "sleeping", "blocking"]


@pytest.fixture
def checks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "LIVENESS_CHECK_S", 0.01)


@pytest.fixture
def never_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a wake can end a wait: one that is lost runs into the test's timeout."""
    monkeypatch.setattr(consumers, "LIVENESS_CHECK_S", 3600.0)


# --- Attaching.


def test_a_consumer_says_what_it_is_attached_to(ring: Handles) -> None:
    ring.create([("a", "<i8")], 4)
    consumer = ring.attach()
    assert (consumer.name, consumer.capacity, consumer.dtype) == (ring.name, 4, np.dtype([("a", "<i8")]))
    assert (consumer.start, consumer.position, consumer.lag, consumer.lost) == (0, 0, 0, 0)
    assert (consumer.registered, consumer.closed, consumer.producer_alive) == (True, False, True)
    assert consumer.header["generation"] == 1


@pytest.mark.parametrize(("count", "oldest"), [(0, 0), (3, 0), (4, 0), (5, 1), (100, 96)])
@pytest.mark.parametrize("register", [True, False])
def test_a_consumer_starts_at_the_oldest_record_or_the_next(
    ring: Handles, count: int, oldest: int, register: bool
) -> None:
    producer = ring.create(capacity=4)
    producer.publish_many(range(count))
    first = ring.attach("oldest", register=register)
    second = ring.attach("next", register=register)
    assert (first.start, second.start) == (oldest, count)
    producer.publish(count)
    assert second.read().tolist() == [count]


def test_oldest_is_the_default(own: Handles) -> None:
    own.create().publish_many(range(3))
    with Consumer.attach(own.name) as consumer:
        assert consumer.read().tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"start": "newest"}, InvalidValueError),
        ({"start": None}, InvalidValueError),
        ({"on_gone": "ignore"}, InvalidValueError),
        ({"idle": "spin"}, InvalidValueError),
        ({"label": b"x"}, InvalidTypeError),
        ({"core": "fast"}, CoreUnavailableError),
    ],
    ids=str,
)
def test_an_argument_that_is_none_of_its_choices_is_refused(
    own: Handles, options: dict[str, Any], error: type[Exception]
) -> None:
    own.create(max_consumers=1)
    with pytest.raises(error):
        Consumer.attach(own.name, **options)
    assert own.attach().registered


def test_a_stream_that_is_not_there_is_not_found(name: str) -> None:
    with pytest.raises(StreamNotFoundError):
        Consumer.attach(name)
    with pytest.raises(InvalidNameError):
        Consumer.attach(f"../{name}")


def test_a_consumer_that_cannot_be_made_gives_its_place_back(own: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    own.create(max_consumers=1)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(consumers, "_enter", interrupted)
        with pytest.raises(KeyboardInterrupt):
            own.attach()
    assert own.attach().registered


def test_a_full_table_leaves_the_next_one_unregistered_but_reading(ring: Handles) -> None:
    producer, first = ring.pair(max_consumers=1)
    second = ring.attach()
    assert (first.registered, second.registered) == (True, False)
    producer.publish(1)
    assert second.read().tolist() == [1]
    first.close()
    assert ring.attach().registered


def test_who_does_not_want_a_place_takes_none(ring: Handles) -> None:
    ring.create(max_consumers=1)
    assert not ring.attach(register=False).registered
    assert ring.attach().registered


@pytest.mark.parametrize(
    ("label", "shown"),
    [("reader", "reader"), ("", ""), ("x" * 70, "x" * 64), ("ä" * 33, "ä" * 32), ("x" + "ä" * 32, "x" + "ä" * 31)],
)
def test_a_label_is_cut_between_characters(own: Handles, label: str, shown: str) -> None:
    own.create()
    own.attach(label=label)
    assert inspect(own.name).consumers[0].label == shown


def test_the_programs_name_is_the_label_otherwise(own: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    own.create()
    for argv, shown in (("/usr/bin/follow", "follow"), ("", "python")):
        monkeypatch.setattr(sys, "argv", [argv])
        with own.attach():
            assert inspect(own.name).consumers[0].label == shown


# --- Waiting.


def test_a_wait_ends_at_once_when_there_is_something(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish(1)
    assert consumer.wait(0)
    assert consumer.wait()
    assert consumer.lag == 1


@pytest.mark.parametrize("idle", IDLE)
@pytest.mark.parametrize("timeout_s", [0, 0.0, 0.02])
def test_a_wait_for_nothing_ends_when_its_time_is_up(ring: Handles, idle: IdleStrategy, timeout_s: float) -> None:
    ring.create()
    assert not ring.attach(idle=idle).wait(timeout_s)


@pytest.mark.parametrize("timeout_s", [-1, -0.001, -math.inf, math.nan])
def test_a_timeout_out_of_range_is_refused(ring: Handles, timeout_s: float) -> None:
    _, consumer = ring.pair()
    with pytest.raises(InvalidValueError, match=r"timeout_s is .*, expected 0 or more"):
        consumer.wait(timeout_s)


@pytest.mark.parametrize("timeout_s", ["1", b"1", [], 1j])
def test_a_timeout_that_is_no_number_is_refused(ring: Handles, timeout_s: Any) -> None:
    _, consumer = ring.pair()
    with pytest.raises(InvalidTypeError, match="expected seconds as a number, or None"):
        consumer.wait(timeout_s)


@pytest.mark.parametrize("timeout_s", [None, math.inf, 1e300, 10**400])
def test_the_longest_timeouts_are_for_ever(ring: Handles, timeout_s: float | None) -> None:
    producer, consumer = ring.pair()
    producer.close()
    assert not consumer.wait(timeout_s)


@pytest.mark.parametrize("idle", IDLE)
@pytest.mark.usefixtures("never_checks")
def test_a_wait_gives_the_interpreter_away_and_ends_with_the_record(ring: Handles, idle: IdleStrategy) -> None:
    producer = ring.create()
    consumer = ring.attach(idle=idle)
    go = threading.Event()

    def publish() -> None:
        go.wait()
        producer.publish(7)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        go.set()
        assert consumer.wait()
        assert consumer.read().tolist() == [7]
    finally:
        thread.join()


@pytest.mark.parametrize("always_wake", [False, True])
@pytest.mark.usefixtures("never_checks")
def test_one_who_sleeps_deeply_is_woken(ring: Handles, always_wake: bool) -> None:
    producer, consumer = ring.pair(always_wake=always_wake)
    thread = threading.Thread(target=_publish_when_waited_for, args=(producer, 7))
    thread.start()
    try:
        assert consumer.wait()
        assert consumer.read().tolist() == [7]
    finally:
        thread.join()


def _publish_when_waited_for(producer: Any, record: int) -> None:
    start = producer._layout.control_offset
    wait_until(lambda: producer._segment.memory[start])
    producer.publish(record)


@pytest.mark.usefixtures("never_checks")
def test_several_who_sleep_are_all_woken(ring: Handles) -> None:
    producer = ring.create()
    found: list[list[int]] = []

    def follow() -> None:
        with Consumer.attach(ring.name, core=ring.consumer_core) as consumer:
            assert consumer.wait()
            found.append(consumer.read().tolist())

    threads = [threading.Thread(target=follow) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(inspect(ring.name).consumers) == 4)
    _publish_when_waited_for(producer, 7)
    for thread in threads:
        thread.join()
    assert found == [[7]] * 4


@pytest.mark.usefixtures("never_checks")
def test_one_who_sleeps_is_woken_by_the_close(ring: Handles) -> None:
    producer, consumer = ring.pair()
    start = producer._layout.control_offset

    def close() -> None:
        wait_until(lambda: producer._segment.memory[start])
        producer.close()

    thread = threading.Thread(target=close)
    thread.start()
    try:
        assert not consumer.wait()
    finally:
        thread.join()


def test_a_closed_stream_is_drained_and_then_ends(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish_many([1, 2])
    producer.close()
    found = []
    while consumer.wait():
        found += consumer.read(1).tolist()
    assert found == [1, 2]
    assert not consumer.wait(0)


@pytest.mark.usefixtures("checks_at_once")
def test_a_wait_outlives_the_pause_between_two_generations(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish(1)
    consumer.read()
    producer.close(unlink=False)
    overwrite(ring.name, STATE, b"\1")  # it died rather
    assert not consumer.wait(0.05)
    ring.create().publish(2)
    assert consumer.wait()
    assert consumer.read().tolist() == [2]


@pytest.mark.parametrize("idle", IDLE)
@pytest.mark.usefixtures("checks_at_once")
def test_a_removed_stream_ends_the_wait_of_who_has_nothing_left(ring: Handles, idle: IdleStrategy) -> None:
    producer = ring.create()
    consumer = ring.attach(idle=idle)
    producer.publish(1)
    path_of(ring.name).unlink()
    assert consumer.wait()
    assert consumer.read().tolist() == [1]
    with pytest.raises(StreamRemovedError, match=f"stream '{ring.name}' was removed: wait for a new one"):
        consumer.wait()
    producer.publish(2)
    assert consumer.wait(0)
    assert consumer.read().tolist() == [2]


@pytest.mark.usefixtures("checks_at_once")
def test_a_name_that_leads_to_a_new_stream_is_a_removed_one(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.close(unlink=False)
    overwrite(ring.name, STATE, b"\1")
    remove(ring.name)
    ring.create()
    with pytest.raises(StreamRemovedError):
        consumer.wait()


@pytest.mark.usefixtures("checks_at_once")
def test_a_removed_stream_is_noticed_by_short_waits_too(own: Handles) -> None:
    own.create()
    consumer = own.attach()
    path_of(own.name).unlink()

    def poll() -> None:
        while not consumer.wait(0):
            pass

    with pytest.raises(StreamRemovedError):
        poll()


@pytest.mark.usefixtures("checks_at_once")
def test_a_dead_producer_is_an_error_for_who_asked_for_it_and_again_the_next_time(ring: Handles) -> None:
    producer = ring.create()
    consumer = ring.attach(on_gone="raise")
    patient = ring.attach()
    producer.publish(1)
    pid = int(consumer.header["pid"])
    producer.close(unlink=False)
    overwrite(ring.name, STATE, b"\1")
    assert consumer.wait()
    consumer.read()
    for _ in range(2):
        with pytest.raises(ProducerGoneError, match=f"process {pid}, the producer of stream '{ring.name}', died"):
            consumer.wait()
    patient.read()
    assert not patient.wait(0.05)


@pytest.mark.parametrize("on_gone", ["wait", "raise"])
def test_a_close_just_before_the_check_is_no_removal_and_no_death(
    own: Handles, on_gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "LIVENESS_CHECK_S", 0.0)
    producer = own.create()
    consumer = own.attach(on_gone=on_gone)
    real_named = consumer._segment.named

    def named() -> bool:
        producer.close()
        return real_named()

    monkeypatch.setattr(consumer._segment, "named", named)
    assert not consumer.wait()
    assert consumer.closed


@pytest.mark.parametrize("on_gone", ["wait", "raise"])
def test_a_record_just_before_the_check_is_handed_out_first(
    own: Handles, on_gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "LIVENESS_CHECK_S", 0.0)
    producer = own.create()
    consumer = own.attach(on_gone=on_gone)
    real_named = consumer._segment.named

    def named() -> bool:
        producer.publish(1)
        producer.close()
        overwrite_state(consumer)
        return real_named()

    def overwrite_state(consumer: Consumer) -> None:
        producer_memory[STATE : STATE + 4] = b"\1\0\0\0"
        assert not consumer.closed

    producer_memory = producer._segment.memory
    monkeypatch.setattr(consumer._segment, "named", named)
    assert consumer.wait()
    assert consumer.read().tolist() == [1]


def test_a_consumer_knows_whether_its_producer_lives(ring: Handles) -> None:
    producer, consumer = ring.pair()
    assert consumer.producer_alive
    producer.close(unlink=False)
    assert not consumer.producer_alive
    ring.create()
    assert consumer.producer_alive


# --- The end.


def test_closing_gives_the_place_back_and_twice_is_fine(ring: Handles) -> None:
    ring.create(max_consumers=1)
    first = ring.attach()
    first.close()
    second = ring.attach()
    first.close()
    assert second.registered
    assert len(inspect(ring.name).consumers) == 1


def test_a_block_closes_the_handle_whatever_happens(ring: Handles) -> None:
    ring.create(max_consumers=1)
    with pytest.raises(ZeroDivisionError), ring.attach() as consumer:  # noqa: PT012 - the block is what is tested
        assert consumer.registered
        raise ZeroDivisionError
    assert inspect(ring.name).consumers == ()


def test_a_closed_consumer_cannot_be_entered(ring: Handles) -> None:
    _, consumer = ring.pair()
    consumer.close()
    with pytest.raises(ClosedError), consumer:
        pass


@pytest.mark.parametrize(
    "use",
    [
        lambda consumer: consumer.read(),
        lambda consumer: consumer.read_into(np.empty(1, "<i8")),
        lambda consumer: consumer.wait(0),
        lambda consumer: consumer.position,
        lambda consumer: consumer.lost,
        lambda consumer: consumer.lag,
        lambda consumer: consumer.closed,
        lambda consumer: consumer.producer_alive,
        lambda consumer: consumer.application,
        lambda consumer: consumer.header,
    ],
    ids=["read", "read_into", "wait", "position", "lost", "lag", "closed", "producer_alive", "application", "header"],
)
def test_a_closed_consumer_says_so(ring: Handles, use: Callable[[Consumer], object]) -> None:
    _, consumer = ring.pair()
    consumer.close()
    with pytest.raises(ClosedError, match=f"the handle on stream '{ring.name}' was closed: open another one"):
        use(consumer)


def test_what_a_closed_consumer_was_still_says_what_it_was(ring: Handles) -> None:
    _, consumer = ring.pair()
    consumer.close()
    assert (consumer.name, consumer.start, consumer.registered) == (ring.name, 0, True)
    assert (consumer.capacity, consumer.dtype) == (8, np.dtype("<i8"))


def test_a_consumer_may_be_closed_while_another_thread_waits_with_it(ring: Handles) -> None:
    """Not a thing to do, but no reason to touch memory that is gone."""
    producer, consumer = ring.pair()
    caught: list[ChronoStreamError] = []

    def wait() -> None:
        try:
            consumer.wait()
        except ChronoStreamError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: producer._segment.memory[producer._layout.control_offset])
    consumer.close()
    thread.join()
    assert [type(error) for error in caught] == [ClosedError]

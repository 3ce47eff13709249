from __future__ import annotations

import gc
import itertools
import os
import weakref
from typing import Any

import numpy as np
import pytest

from chronostream.errors import (
    ClosedError,
    CoreUnavailableError,
    InvalidNameError,
    InvalidTypeError,
    InvalidValueError,
    OutOfSharedMemoryError,
    RecordError,
    StreamNotFoundError,
    StreamRemovedError,
)
from chronostream.ring import Producer, inspect
from chronostream.ring.layout import FREE_TAIL
from tests.ring.harness import Handles, overwrite, path_of

POINT = np.dtype([("a", "<i8"), ("b", "<f4")])  # 12 bytes, padded to 16


def test_a_new_stream_is_empty_and_live(own: Handles) -> None:
    producer = own.create(POINT, 4)
    assert (producer.name, producer.capacity, producer.dtype) == (own.name, 4, POINT)
    assert (producer.head, producer.depth, len(producer), bool(producer), producer.taken_over) == (0, 0, 0, True, False)
    assert len(producer.application) == 0
    assert inspect(own.name).state == "live"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"name": "../x"}, InvalidNameError),
        ({"dtype": object}, InvalidTypeError),
        ({"dtype": None}, InvalidTypeError),
        ({"dtype": "S0"}, InvalidValueError),
        ({"dtype": ("<f8", (3,))}, InvalidTypeError),
        ({"capacity": 100}, InvalidValueError),
        ({"capacity": 8.0}, InvalidTypeError),
        ({"application_size": -1}, InvalidValueError),
        ({"max_consumers": 0}, InvalidValueError),
        ({"mode": -1}, InvalidValueError),
        ({"mode": 0o1777}, InvalidValueError),
        ({"group": "no such group"}, InvalidValueError),
        ({"producer_version": "x" * 33}, InvalidValueError),
        ({"producer_version": "ä" * 17}, InvalidValueError),
        ({"producer_version": "a\0b"}, InvalidValueError),
        ({"producer_version": "\ud800"}, InvalidValueError),
        ({"producer_version": 7}, InvalidTypeError),
        ({"instance_id": "x" * 65}, InvalidValueError),
        ({"instance_id": None}, InvalidTypeError),
        ({"core": "fast"}, CoreUnavailableError),
        ({"core": ""}, CoreUnavailableError),
        ({"core": np.array(["native", "portable"])}, CoreUnavailableError),
        ({"before_live": 1}, InvalidTypeError),
        ({"capacity": 1 << 42}, OutOfSharedMemoryError),
    ],
    ids=str,
)
def test_a_stream_that_cannot_be_is_refused_and_nothing_is_left(
    name: str, options: dict[str, Any], error: type[Exception]
) -> None:
    arguments: dict[str, Any] = {"name": name, "dtype": "<i8", "capacity": 8} | options
    with pytest.raises(error):
        Producer.create(**arguments)
    assert not path_of(name).exists()


@pytest.mark.parametrize("left", ["closed", "dead"])
def test_who_looks_at_a_stream_before_going_live_may_refuse_it_and_leave_it_as_it_was(own: Handles, left: str) -> None:
    first = own.create(application_size=8)
    first.publish(7)
    first.application[:] = b"the last"
    if left == "closed":
        first.close(remove=False)
    else:
        first._segment.close()
    before = path_of(own.name).read_bytes()

    def refuse(producer: Producer) -> None:
        assert (producer.head, producer.records[0], bytes(producer.application)) == (1, 7, b"the last")
        assert inspect(own.name).generation == 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        own.create(application_size=8, before_live=refuse)
    assert path_of(own.name).read_bytes() == before
    assert inspect(own.name).state == left


def test_a_new_stream_that_is_refused_before_going_live_is_seen_by_nobody(own: Handles) -> None:
    def refuse(_: Producer) -> None:
        with pytest.raises(StreamNotFoundError, match="still being made"):
            own.attach()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        own.create(before_live=refuse)
    assert not path_of(own.name).exists()


def test_texts_as_long_as_their_fields_are_kept_whole(own: Handles) -> None:
    own.create(producer_version="v" * 32, instance_id="ä" * 32)
    status = inspect(own.name)
    assert (status.version, status.instance) == ("v" * 32, "ä" * 32)


def test_the_application_area_is_writable_and_seen_by_consumers(ring: Handles) -> None:
    producer, consumer = ring.pair(application_size=5)
    producer.application[:] = b"hello"
    assert bytes(consumer.application) == b"hello"
    assert consumer.application.readonly


def test_records_are_all_slots_in_the_order_of_the_ring(own: Handles) -> None:
    producer = own.create(POINT, 4)
    producer.publish_many([(number, 0) for number in range(6)])
    assert producer.records["a"].tolist() == [4, 5, 2, 3]
    producer.records["a"][3] = 9
    assert own.attach().read()["a"].tolist() == [2, 9, 4, 5]


def test_offering_to_nobody_always_succeeds(own: Handles) -> None:
    producer = own.create(capacity=2)
    assert all(producer.offer(number) for number in range(10))


def test_an_offer_to_a_consumer_a_whole_ring_behind_is_declined_and_nothing_is_lost(ring: Handles) -> None:
    producer, consumer = ring.pair(capacity=8)
    assert [producer.offer(number) for number in range(10)] == [True] * 8 + [False] * 2
    assert (producer.head, len(producer)) == (8, 8)
    assert consumer.read(1).tolist() == [0]
    assert producer.offer(8)
    assert not producer.offer(9)
    assert consumer.read().tolist() == list(range(1, 9))
    assert consumer.lost == 0


def test_an_offer_waits_for_the_slowest(ring: Handles) -> None:
    producer, slow = ring.pair(capacity=2)
    quick = ring.attach()
    producer.offer(1)
    producer.offer(2)
    quick.read()
    assert not producer.offer(3)
    slow.read(1)
    assert producer.offer(3)


def test_an_offer_does_not_wait_for_who_is_not_registered(ring: Handles) -> None:
    producer = ring.create(capacity=2)
    consumer = ring.attach(register=False)
    assert all(producer.offer(number) for number in range(5))
    assert consumer.read().tolist() == [3, 4]
    assert consumer.lost == 3


def test_an_offer_does_not_wait_for_who_has_left(ring: Handles) -> None:
    producer, consumer = ring.pair(capacity=2)
    producer.publish_many([1, 2])
    assert not producer.offer(3)
    consumer.close()
    assert producer.offer(3)


def test_an_offer_does_not_wait_for_who_was_overrun_until_it_reads_again(ring: Handles) -> None:
    producer, consumer = ring.pair(capacity=2)
    producer.publish_many([1, 2, 3, 4])
    assert producer.offer(5)
    assert consumer.read(1).tolist() == [4]
    assert not all(producer.offer(number) for number in (6, 7))


def test_an_offer_waits_for_who_may_have_lost_one_record_to_another_offer(ring: Handles) -> None:
    producer, consumer = ring.pair(capacity=2)
    producer.publish_many([1, 2, 3])
    assert not producer.offer(4)
    assert consumer.read(1).tolist() == [2]
    assert producer.offer(4)
    assert (consumer.read().tolist(), consumer.lost) == ([3, 4], 1)


def test_a_place_that_nobody_holds_is_freed_when_it_is_in_the_way(own: Handles) -> None:
    producer = own.create(capacity=2, max_consumers=3)
    for place in range(3):
        overwrite(own.name, producer._layout.tail_offset(place), bytes(8))
    producer.publish_many([1, 2])
    assert len(producer) == 0
    assert producer.offer(3)
    assert producer._segment.table["tail"].tolist() == [FREE_TAIL] * 3


def test_an_offered_wrong_record_is_an_error_even_when_there_is_no_room(ring: Handles) -> None:
    producer, _ = ring.pair(capacity=1)
    producer.offer(1)
    with pytest.raises(RecordError):
        producer.offer("wrong")


def test_the_depth_is_the_lag_of_the_slowest_but_at_most_the_capacity(ring: Handles) -> None:
    producer, slow = ring.pair(capacity=4)
    quick = ring.attach()
    for number, depth in enumerate([1, 2, 3, 4, 4, 4, 4, 4, 4], 1):
        producer.publish(number)
        quick.read()
        assert len(producer) == producer.depth == depth
    slow.read()
    assert len(producer) == 0


def test_a_tail_ahead_of_the_head_counts_for_nothing(own: Handles) -> None:
    producer = own.create()
    consumer = own.attach()
    producer.publish(1)
    overwrite(own.name, producer._layout.tail_offset(0), (50).to_bytes(8, "little"))
    assert len(producer) == 0
    consumer.read()
    producer.publish(2)
    assert len(producer) == 1


def test_claimed_rows_are_published_together_when_the_block_ends(ring: Handles) -> None:
    producer, consumer = ring.pair(POINT, 8)
    with producer.claim(3) as rows:
        assert (rows.shape, rows.dtype) == ((3,), POINT)
        rows["a"] = [1, 2, 3]
        rows["b"] = 0.5
        assert consumer.lag == 0
    assert consumer.read().tolist() == [(1, 0.5), (2, 0.5), (3, 0.5)]


@pytest.mark.parametrize("dtype", ["<i8", "<i4", POINT], ids=str)
@pytest.mark.parametrize(("before", "count"), [(0, 8), (5, 3), (5, 4), (7, 8), (6, 1), (7, 2)])
def test_a_claim_may_wrap_around_the_rings_end(ring: Handles, dtype: Any, before: int, count: int) -> None:
    producer, consumer = ring.pair(dtype, 8)
    field: Any = "a" if producer.dtype.names else ...
    with producer.claim(before) if before else producer.claim(8) as rows:
        rows[field] = range(100, 100 + len(rows))
    consumer.read()
    with producer.claim(count) as rows:
        rows[field] = range(count)
    assert consumer.read()[field].tolist() == list(range(count))
    assert consumer.lost == 0


@pytest.mark.parametrize("count", [1, 3, 4])
def test_claimed_rows_hold_what_was_there_before(own: Handles, count: int) -> None:
    producer = own.create(capacity=4)
    producer.publish_many(range(6))
    with producer.claim(count) as rows:
        assert rows.tolist() == [2, 3, 4, 5][:count]


def test_an_exception_inside_a_claim_publishes_nothing(ring: Handles) -> None:
    producer, consumer = ring.pair()
    with pytest.raises(ZeroDivisionError), producer.claim(2) as rows:  # noqa: PT012 - the block is what is tested
        rows[:] = 9
        raise ZeroDivisionError
    assert (producer.head, consumer.lag) == (0, 0)
    producer.publish(1)
    assert consumer.read().tolist() == [1]


def test_an_abandoned_claim_may_have_cost_a_reader_the_records_under_it(ring: Handles) -> None:
    producer, consumer = ring.pair(capacity=4)
    producer.publish_many(range(4))
    with pytest.raises(ZeroDivisionError), producer.claim(3):
        raise ZeroDivisionError
    assert consumer.read().tolist() == [3]
    assert consumer.lost == 3


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_rows_are_read_only_after_the_block(own: Handles, before: int, error: type[Exception] | None) -> None:
    producer = own.create(capacity=4)
    producer.publish_many(range(before))
    try:
        with producer.claim(2) as rows:
            rows[:] = 7
            if error:
                raise error
    except ZeroDivisionError:
        pass
    with pytest.raises(ValueError, match="read-only"):
        rows[:] = 8


def test_a_claim_within_a_claim_is_refused_and_the_outer_one_goes_on(own: Handles) -> None:
    producer = own.create()
    with producer.claim(2) as rows:
        rows[:] = 1
        with pytest.raises(InvalidValueError, match="a claim is open already"), producer.claim(1):
            pass
    assert producer.head == 2
    with producer.claim(1) as rows:
        rows[:] = 2
    assert producer.head == 3


@pytest.mark.parametrize("method", ["publish", "publish_many", "offer"])
def test_publishing_inside_a_claim_is_an_error_of_the_claim(own: Handles, method: str) -> None:
    producer = own.create()
    with (
        pytest.raises(InvalidValueError, match="records were published inside the claim's block"),
        producer.claim(2),
    ):
        getattr(producer, method)([1] if method == "publish_many" else 1)
    assert producer.head == 1
    with producer.claim(1):
        pass
    assert producer.head == 2


@pytest.mark.parametrize(
    ("count", "error", "message"),
    [
        *((count, InvalidValueError, "expected 1 to 8, the ring's capacity") for count in (0, -1, 9, 1 << 70)),
        *((count, InvalidTypeError, "expected an integer") for count in (1.0, "1", None)),
    ],
)
def test_a_claim_of_no_number_of_records_is_refused(own: Handles, count: Any, error: Any, message: str) -> None:
    producer = own.create()
    with pytest.raises(error, match=message):
        producer.claim(count).__enter__()
    assert producer.head == 0


def test_a_producer_closed_inside_a_claim_publishes_nothing(ring: Handles) -> None:
    producer, consumer = ring.pair()
    with pytest.raises(ClosedError), producer.claim(1) as rows:  # noqa: PT012 - the block is what is tested
        producer.close()
        rows[:] = 5
    assert (consumer.lag, consumer.closed) == (0, True)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 16, 1000])
def test_a_batch_of_any_length_is_published_whole(ring: Handles, count: int) -> None:
    producer, consumer = ring.pair(capacity=8)
    producer.publish_many(np.arange(count))
    assert producer.head == count
    assert consumer.read().tolist() == list(range(max(0, count - 8), count))
    assert consumer.lost == max(0, count - 8)


def test_the_next_producer_goes_on_with_a_closed_stream(ring: Handles) -> None:
    first = ring.create(producer_version="one", instance_id="i", application_size=3)
    first.application[:] = b"abc"
    first.publish_many(range(11))
    first.close(remove=False)
    second = ring.create(producer_version="two", instance_id="j", application_size=3)
    assert (second.taken_over, second.head, bytes(second.application)) == (True, 11, b"abc")
    status = inspect(ring.name)
    assert (status.generation, status.version, status.instance, status.pid) == (2, "two", "j", os.getpid())
    second.publish(11)
    assert ring.attach().read().tolist() == list(range(4, 12))


def test_a_consumer_that_did_not_look_goes_on_in_the_next_generation(ring: Handles) -> None:
    first, consumer = ring.pair()
    first.publish(1)
    first.close(remove=False)
    second = ring.create()
    second.publish(2)
    assert not consumer.closed
    assert consumer.read().tolist() == [1, 2]


def test_a_dtype_spelled_differently_is_the_same(own: Handles) -> None:
    own.create(np.dtype([("a", "<i8"), ("b", "<f4")])).close(remove=False)
    assert own.create([("a", np.int64), ("b", "single")]).taken_over


def test_taking_over_frees_the_places_of_the_dead_and_of_nobody_else(ring: Handles) -> None:
    first, living = ring.pair(max_consumers=3)
    first.publish_many(range(3))
    first.close(remove=False)
    overwrite(ring.name, first._layout.tail_offset(1), (0).to_bytes(8, "little"))
    overwrite(ring.name, first._layout.tail_offset(2), (1).to_bytes(8, "little"))
    living.read(2)
    second = ring.create(max_consumers=3)
    assert second._segment.table["tail"].tolist() == [2, FREE_TAIL, FREE_TAIL]
    assert len(second) == 1


def test_closing_deletes_the_stream_and_marks_it_closed(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.close()
    assert not path_of(ring.name).exists()
    assert consumer.closed
    with pytest.raises(StreamNotFoundError):
        ring.attach()


def test_a_kept_stream_can_be_attached_to_and_drained(ring: Handles) -> None:
    producer = ring.create()
    producer.publish_many(range(3))
    producer.close(remove=False)
    consumer = ring.attach()
    assert consumer.closed
    assert not consumer.producer_alive
    assert consumer.wait(0)
    assert consumer.read().tolist() == [0, 1, 2]
    assert not consumer.wait()


def test_closing_twice_is_fine_and_does_not_delete_a_successor(own: Handles) -> None:
    first = own.create()
    first.close()
    second = own.create()
    first.close()
    second.check()


def test_a_block_closes_and_deletes_the_stream_whatever_happens(name: str) -> None:
    with pytest.raises(ZeroDivisionError), Producer.create(name, "<i8", 8) as producer:  # noqa: PT012 - the block is what is tested
        assert producer.name == name
        raise ZeroDivisionError
    assert not path_of(name).exists()


@pytest.mark.parametrize("order", list(itertools.permutations(["producer", "consumer", "collect"])), ids="-".join)
def test_views_outlive_their_handles_closed_in_any_order(ring: Handles, order: tuple[str, ...]) -> None:
    producer, consumer = ring.pair(capacity=4, application_size=3)
    producer.publish_many([1, 2, 3])
    producer.application[:] = b"abc"
    with producer.claim(2) as wrapped:
        wrapped[:] = [4, 5]
    with producer.claim(1) as claimed:
        claimed[:] = 6
    views: list[Any] = [producer.records, producer.application, consumer.application, claimed, wrapped, consumer.read()]
    for step in order:
        if step == "collect":
            gc.collect()
        else:
            {"producer": producer.close, "consumer": consumer.close}[step]()
    assert views[0].tolist() == [5, 6, 3, 4]
    assert bytes(views[1]) == bytes(views[2]) == b"abc"
    assert [view.tolist() for view in views[3:]] == [[6], [4, 5], [3, 4, 5, 6]]
    views[0][:] = 9
    assert views[3].tolist() == [9]


def test_a_producer_shows_what_it_is(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish_many(range(3))
    consumer.read(1)
    assert repr(producer) == f"<Producer {ring.name!r} live head=3 depth=2 capacity=8>"
    producer._writer.close()
    assert repr(producer) == f"<Producer {ring.name!r} closed head=3 depth=2 capacity=8>"
    producer.close()
    assert repr(producer) == f"<Producer {ring.name!r} closed handle>"


def test_a_removed_stream_is_noticed_by_its_producer(own: Handles) -> None:
    producer = own.create()
    producer.check()
    path_of(own.name).unlink()
    with pytest.raises(StreamRemovedError, match=f"stream '{own.name}' was removed while its producer was running"):
        producer.check()
    producer.publish(1)
    successor = Producer.create(own.name, "<i8", 8)
    producer.close()
    successor.check()
    successor.close()


def test_a_forgotten_producer_leaves_a_dead_stream_and_says_so(own: Handles) -> None:
    producer = Producer.create(own.name, "<i8", 8, core=own.producer_core)
    producer.publish(1)
    gone = weakref.ref(producer)
    with pytest.warns(ResourceWarning, match="unclosed file"):
        del producer
    assert gone() is None
    assert inspect(own.name).state == "dead"
    assert own.create().head == 1

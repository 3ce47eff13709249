"""Reading in place: `Consumer.peek`."""

from __future__ import annotations

import numpy as np
import pytest

from chronostream.errors import ClosedError, InvalidValueError, LostError
from chronostream.ring.layout import LINE
from tests.ring.harness import Handles


def test_a_peek_gives_what_there_is_and_moves_past_it_when_the_block_ends(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish_many(range(3))
    with consumer.peek() as rows:
        assert rows.tolist() == [0, 1, 2]
        assert (consumer.position, consumer.lag) == (0, 3)
    assert (consumer.position, consumer.lag, consumer.lost) == (3, 0, 0)
    producer.publish(3)
    assert consumer.read().tolist() == [3]


def test_a_peek_copies_nothing_and_lets_nobody_write(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish(1)
    with consumer.peek() as rows:
        assert np.shares_memory(rows, consumer._segment.records)
        with pytest.raises(ValueError, match="read-only"):
            rows[0] = 2


def test_a_peek_at_nothing_gives_nothing(ring: Handles) -> None:
    _, consumer = ring.pair()
    with consumer.peek() as rows:
        assert (rows.shape, rows.dtype) == ((0,), np.dtype("<i8"))
    assert consumer.position == 0


def test_a_limit_bounds_a_peek(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish_many(range(5))
    with consumer.peek(2) as rows:
        assert rows.tolist() == [0, 1]
    with consumer.peek(0) as rows:
        assert rows.tolist() == []
    assert consumer.read().tolist() == [2, 3, 4]


def test_a_peek_goes_no_further_than_the_end_of_the_ring_and_the_next_one_goes_on(ring: Handles) -> None:
    producer, consumer = ring.pair(capacity=4)
    producer.publish_many(range(3))
    consumer.read()
    producer.publish_many(range(3, 6))
    with consumer.peek() as rows:
        assert rows.tolist() == [3]
    with consumer.peek() as rows:
        assert rows.tolist() == [4, 5]


def test_rows_of_any_width_lie_where_they_should(ring: Handles) -> None:
    dtype = np.dtype([("a", "<u2"), ("b", "S9")])
    producer, consumer = ring.pair(dtype, 4)
    producer.publish_many([(1, b"one"), (2, b"two")])
    with consumer.peek() as rows:
        assert (rows.dtype, rows.tolist()) == (dtype, [(1, b"one"), (2, b"two")])


def test_what_was_overwritten_before_the_peek_is_lost_without_an_error(ring: Handles) -> None:
    producer, consumer = ring.pair(capacity=4)
    producer.publish_many(range(7))
    with consumer.peek() as rows:
        assert rows.tolist() == [3]
    assert (consumer.lost, consumer.position) == (3, 4)


@pytest.mark.parametrize(("more", "lost"), [(1, 1), (3, 3), (4, 4), (9, 4)])
def test_what_is_overwritten_during_the_block_is_lost_and_an_error_says_which(
    ring: Handles, more: int, lost: int
) -> None:
    producer, consumer = ring.pair(capacity=4)
    producer.publish_many(range(4))
    with pytest.raises(LostError) as caught, consumer.peek():
        producer.publish_many(range(4, 4 + more))
    assert (caught.value.first, caught.value.last) == (0, lost - 1)
    assert (consumer.lost, consumer.position, consumer.lag) == (lost, 4, more)
    assert consumer.read().tolist() == list(range(4 + more))[-min(more, 4) :]


def test_what_is_only_claimed_during_the_block_is_not_trusted_either(ring: Handles) -> None:
    producer, consumer = ring.pair(capacity=4)
    producer.publish_many(range(4))
    with pytest.raises(LostError, match="positions 0 to 1"), consumer.peek():
        producer._writer.claim(2)


def test_what_was_not_looked_at_is_not_lost_by_the_peek(ring: Handles) -> None:
    producer, consumer = ring.pair(capacity=4)
    producer.publish_many(range(4))
    with pytest.raises(LostError), consumer.peek(1):
        producer.publish_many(range(4, 6))
    assert (consumer.lost, consumer.position) == (1, 1)


def test_an_exception_inside_the_block_leaves_the_position_where_it_was(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish_many(range(2))
    with pytest.raises(ZeroDivisionError), consumer.peek():
        raise ZeroDivisionError
    assert consumer.read().tolist() == [0, 1]


def test_reading_inside_the_block_is_an_error(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish_many(range(2))
    with pytest.raises(InvalidValueError, match="read inside peek's block"), consumer.peek():
        consumer.read(1)
    assert consumer.read().tolist() == [1]


def test_a_registered_consumers_tail_stays_until_the_block_ends(ring: Handles) -> None:
    producer, consumer = ring.pair(capacity=2)
    producer.publish_many(range(2))
    with consumer.peek():
        assert not producer.offer(2)
    assert producer.offer(2)
    tail = producer._segment.memory[producer._layout.control_offset + LINE :][:8]
    assert int.from_bytes(tail, "little") == 2


def test_rows_outlive_the_consumer(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish_many(range(2))
    with consumer.peek() as rows:
        pass
    consumer.close()
    producer.close()
    assert rows.tolist() == [0, 1]
    with pytest.raises(ClosedError), consumer.peek():
        pass


def test_a_consumer_closed_inside_the_block_says_so(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish(1)
    with pytest.raises(ClosedError), consumer.peek():
        consumer.close()

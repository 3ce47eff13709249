"""Each method of a handle, called 30,000 times, where it succeeds and where it fails: nothing is leaked."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from chronostream.errors import ChronoStreamError
from chronostream.ring import Consumer, Producer
from tests.ring.harness import Handles

TIMES = 30_000
POINT = np.dtype([("a", "<i8"), ("b", "<f4")])
PADDED = np.dtype({"names": ["a"], "formats": ["<i8"], "offsets": [8], "itemsize": 24})
CAPACITY = 8
# A constructor that fails leaves nothing either; these are slower than calls, so there are fewer of them.
FEWER = 1_000


@dataclass
class Case:
    """Handles on two rings, closed handles, and one value of each kind that a method may be given."""

    producer: Any
    consumer: Any
    padded: Any
    padded_consumer: Consumer
    closed_producer: Producer
    closed_consumer: Consumer
    raw: bytes
    row: npt.NDArray[Any]
    rows: npt.NDArray[Any]
    strided: npt.NDArray[Any]
    masked: Any
    values: Any
    many: Any
    too_large: Any
    out: npt.NDArray[Any]
    wrong_out: npt.NDArray[Any]
    read_only: npt.NDArray[Any]
    limit: Any
    wrong: Any


Call = Callable[[Case], object]


def claimed(case: Case, rows: Any) -> None:
    with case.producer.claim(3) as claim:
        claim[:] = rows


def claimed_and_overtaken(case: Case) -> None:
    with case.producer.claim(3):
        case.producer.publish(case.raw)


def peeked(case: Case, count: int) -> None:
    with case.consumer.peek() as view:
        for _ in range(count):
            case.producer.publish_many(case.rows)
        assert view is not None


CALLS: dict[str, list[Call]] = {
    "publish": [
        lambda case: case.producer.publish(case.raw),
        lambda case: case.producer.publish(case.row),
        lambda case: case.producer.publish(case.rows[0]),
        lambda case: case.producer.publish(case.values),
        lambda case: case.padded.publish((1,)),
        lambda case: case.producer.publish(case.wrong),
        lambda case: case.producer.publish(case.too_large),
        lambda case: case.producer.publish(case.masked),
        lambda case: case.producer.publish(),
        lambda case: case.closed_producer.publish(case.row),
    ],
    "publish_many": [
        lambda case: case.producer.publish_many(case.rows),
        lambda case: case.producer.publish_many(case.strided),
        lambda case: case.producer.publish_many(case.many),
        lambda case: case.producer.publish_many(case.raw * 9),
        lambda case: case.producer.publish_many(case.wrong),
        lambda case: case.producer.publish_many([case.values, case.too_large]),
        lambda case: case.closed_producer.publish_many(case.rows),
    ],
    "offer": [
        lambda case: (case.consumer.read(), case.producer.offer(case.row)),
        lambda case: case.producer.offer(case.row),
        lambda case: case.producer.offer(case.wrong),
        lambda case: case.closed_producer.offer(case.row),
    ],
    "claim": [
        lambda case: claimed(case, case.rows),
        lambda case: claimed(case, case.wrong),
        claimed_and_overtaken,
        lambda case: case.producer.claim(case.wrong),
        lambda case: case.closed_producer.claim(1).__enter__(),
    ],
    "head, len and repr": [
        lambda case: (case.producer.head, len(case.producer), repr(case.producer)),
        lambda case: case.closed_producer.head,
        lambda case: repr(case.closed_producer),
    ],
    "read": [
        lambda case: case.consumer.read(),
        lambda case: (case.producer.publish_many(case.raw * 9), case.consumer.read()),
        lambda case: (case.producer.publish_many(case.rows), case.consumer.read(limit=case.limit)),
        lambda case: (case.padded.publish((1,)), case.padded_consumer.read()),
        lambda case: case.consumer.read(case.wrong),
        lambda case: case.consumer.read(-1),
        lambda case: case.consumer.read(nonsense=case.wrong),
        lambda case: case.closed_consumer.read(case.limit),
    ],
    "read_into": [
        lambda case: (case.producer.publish_many(case.rows), case.consumer.read_into(case.out)),
        lambda case: case.consumer.read_into(case.wrong),
        lambda case: case.consumer.read_into(case.wrong_out),
        lambda case: case.consumer.read_into(case.read_only),
        lambda case: case.closed_consumer.read_into(case.out),
    ],
    "peek": [
        lambda case: peeked(case, 0),
        lambda case: peeked(case, 1),
        lambda case: peeked(case, 4),  # The ring is lapped meanwhile.
        lambda case: case.consumer.peek(case.wrong).__enter__(),
        lambda case: case.closed_consumer.peek().__enter__(),
    ],
    "wait": [
        lambda case: (case.producer.publish(case.row), case.consumer.wait(1.0), case.consumer.read()),
        lambda case: case.consumer.wait(0.0),
        lambda case: case.consumer.wait(case.wrong),
        lambda case: case.closed_consumer.wait(1.0),
    ],
    "position, lost, lag, closed and repr": [
        lambda case: (case.consumer.position, case.consumer.lost, case.consumer.lag, case.consumer.closed),
        lambda case: repr(case.consumer),
        lambda case: case.closed_consumer.lag,
        lambda case: repr(case.closed_consumer),
    ],
    "iteration": [lambda case: (case.producer.publish_many(case.rows), next(iter(case.consumer)))],
}


@pytest.fixture
def case(core: str, name: str) -> Iterator[Case]:
    with (
        Handles(name, core, core) as own,
        Handles(f"{name}-padded", core, core) as padded,
        Handles(f"{name}-closed", core, core) as closed,
    ):
        yield cases(own.pair(POINT, CAPACITY), padded.pair(PADDED, CAPACITY), closed.pair(POINT, CAPACITY))


def cases(
    opened: tuple[Producer, Consumer], padded: tuple[Producer, Consumer], closed: tuple[Producer, Consumer]
) -> Case:
    for handle in closed:
        handle.close()
    rows = np.ones(3, POINT)
    read_only = np.zeros(4, POINT)
    read_only.flags.writeable = False
    return Case(
        *opened,
        *padded,
        *closed,
        raw=bytes(POINT.itemsize),
        row=np.ones(1, POINT),
        rows=rows,
        strided=np.ones(6, POINT)[::2],
        masked=np.ma.masked_array(rows[:1], mask=True),
        values=(1 << 40, 2.5),
        many=[(1, 2.5), (3, 4.5)],
        too_large=(1 << 70, 0.0),
        out=np.zeros(4, POINT),
        wrong_out=np.zeros(4, "<i8"),
        read_only=read_only,
        limit=np.int64(2),
        wrong=object(),
    )


def call(calls: list[Call], case: Case, times: int) -> None:
    for each in calls:
        for _ in range(times // len(calls)):
            with contextlib.suppress(ChronoStreamError, TypeError, ValueError):
                each(case)
    gc.collect()


def references(case: Case) -> dict[str, int]:
    return {name: sys.getrefcount(value) for name, value in vars(case).items()}


@pytest.mark.parametrize("method", CALLS)
def test_a_method_that_is_called_over_and_over_keeps_nothing(case: Case, method: str) -> None:
    call(CALLS[method], case, FEWER)
    before, blocks = references(case), sys.getallocatedblocks()
    call(CALLS[method], case, TIMES)
    assert references(case) == before
    assert sys.getallocatedblocks() - blocks < TIMES // 100


def test_handles_that_are_opened_and_closed_over_and_over_keep_nothing(own: Handles) -> None:
    producer, _ = own.pair(POINT, CAPACITY)

    def attach(times: int) -> None:
        for _ in range(times):
            with Consumer.attach(producer.name, core=own.consumer_core) as consumer:
                consumer.read()
        gc.collect()

    attach(10)
    blocks, count = sys.getallocatedblocks(), sys.getrefcount(producer)
    attach(FEWER)
    assert sys.getrefcount(producer) == count
    assert sys.getallocatedblocks() - blocks < FEWER // 2

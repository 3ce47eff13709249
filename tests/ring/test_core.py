from __future__ import annotations

import gc
import importlib
import inspect
import os
import platform
import pydoc
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronostream.errors import (
    ClosedError,
    CoreUnavailableError,
    CorruptSegmentError,
    InvalidTypeError,
    InvalidValueError,
    RecordError,
)
from chronostream.ring import CORE, Consumer, Producer
from chronostream.ring import core as cores
from chronostream.ring.layout import CLAIM, FREE_TAIL, HEAD, LINE, STATE, WAITING, WAKE_SEQ
from tests.process_harness import Programs
from tests.ring.harness import CORES, Handles, move_head, overwrite, uses

POINT = np.dtype([("a", "<i8"), ("b", "<f4")])  # 12 bytes, padded to 16


class Words:
    """A segment's words, read behind the cores' backs."""

    def __init__(self, producer: Producer) -> None:
        self._memory = producer._segment.memory
        self._control = producer._layout.control_offset

    def __getitem__(self, offset: int) -> int:
        return int.from_bytes(self._memory[offset : offset + 8], "little")

    def tail(self, place: int) -> int:
        return self[self._control + LINE + place * LINE]

    def half(self, offset: int) -> int:
        return self[offset] & 0xFFFFFFFF

    @property
    def waiting(self) -> int:
        return self.half(self._control + WAITING)

    def raise_flag(self) -> None:
        self._memory[self._control + WAITING] = 1


@pytest.mark.parametrize("name", ["", "Native", "fast", "portable ", []])
def test_a_core_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(CoreUnavailableError, match="CHRONOSTREAM_CORE is one of native, portable"):
        cores.load_core(name)


def test_a_native_core_that_was_not_built_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(CoreUnavailableError, match="not built: install a C compiler"):
        cores.load_core("native")
    monkeypatch.delenv("CHRONOSTREAM_CORE", raising=False)
    assert cores._default_core() == "portable"


def test_a_core_that_fails_for_another_reason_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> None:
        raise ModuleNotFoundError(name="numpy")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(ModuleNotFoundError):
        cores.load_core("native")


def test_the_portable_core_is_refused_where_stores_are_not_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(CoreUnavailableError, match="right only on x86-64, this machine is aarch64"):
        cores.load_core("portable")


@pytest.mark.parametrize(
    ("wanted", "status", "printed"),
    [*((core, 0, core) for core in CORES), ("fast", 1, "CoreUnavailableError: there is no core 'fast'")],
)
def test_the_environment_chooses_the_core_and_never_falls_back(
    programs: Programs, wanted: str, status: int, printed: str
) -> None:
    code = "import chronostream.ring as r; print(r.CORE)"
    program = programs.python("-c", code, env=os.environ | {"CHRONOSTREAM_CORE": wanted})
    assert program.wait() == status
    assert printed in program.out.rest() + program.err.rest()


def test_the_default_is_the_native_core_where_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHRONOSTREAM_CORE", raising=False)
    assert cores._default_core() == CORES[0]
    assert CORE in CORES


@dataclass
class Reader:
    """What one consumer must see."""

    consumer: Consumer
    start: int
    position: int
    received: int = 0
    lost: int = 0


class Model:
    """A ring, and the naive list of all that was ever published into it."""

    def __init__(self, ring: Handles, capacity: int, head: int) -> None:
        Producer.create(ring.name, POINT, capacity, core=ring.producer_core).close(remove=False)
        move_head(ring.name, head)
        self._ring = ring
        self.producer = Producer.create(ring.name, POINT, capacity, core=ring.producer_core)
        self.capacity = capacity
        self.first = head
        self.claim = head
        self.published: list[tuple[int, float]] = []
        self.readers: list[Reader] = []

    @property
    def head(self) -> int:
        return self.first + len(self.published)

    @property
    def oldest(self) -> int:
        return max(0, self.claim - self.capacity)

    def rows(self, count: int) -> list[tuple[int, float]]:
        return [(self.head + number, float(number)) for number in range(count)]

    def add(self, rows: list[tuple[int, float]]) -> None:
        self.published += rows
        self.claim = max(self.claim, self.head)

    def publish(self, count: int) -> None:
        for row in self.rows(count):
            self.producer.publish(row)
            self.add([row])

    def publish_many(self, count: int) -> None:
        rows = self.rows(count)
        self.producer.publish_many(rows)
        self.add(rows)

    def write_in_place(self, count: int) -> None:
        rows = self.rows(min(max(1, count), self.capacity))
        with self.producer.claim(len(rows)) as slots:
            slots[:] = rows
        self.add(rows)

    def abandon(self, count: int) -> None:
        count = min(max(1, count), self.capacity)
        with pytest.raises(ZeroDivisionError), self.producer.claim(count) as slots:  # noqa: PT012 - the block is what is tested
            slots["a"] = -1
            raise ZeroDivisionError
        self.claim = max(self.claim, self.head + count)

    def offer(self, count: int) -> None:
        for row in self.rows(count):
            # Consumers of which `publish` has overwritten more than one record are no reason to hold back.
            tails = [reader.position for reader in self.readers if reader.position >= self.head - self.capacity - 1]
            room = all(self.head + 1 - tail <= self.capacity for tail in tails)
            assert self.producer.offer(row) is room
            if room:
                self.add([row])

    def attach(self, start: int) -> None:
        consumer = Consumer.attach(self._ring.name, "oldest" if start % 2 else "next", core=self._ring.consumer_core)
        position = min(self.head, self.oldest) if start % 2 else self.head
        self.readers.append(Reader(consumer, position, position))

    def read(self, index: int, limit: int | None) -> None:
        if not self.readers:
            return
        reader = self.readers[index % len(self.readers)]
        found = reader.consumer.read(limit)
        assert (found.dtype, found.flags.writeable, found.flags.aligned) == (POINT, True, True)
        self._check(reader, found, limit)

    def read_into(self, index: int, size: int) -> None:
        if not self.readers:
            return
        reader = self.readers[index % len(self.readers)]
        out = np.full(size, -7, POINT)
        count = reader.consumer.read_into(out)
        assert (out[count:] == np.full(size - count, -7, POINT)).all()
        self._check(reader, out[:count], size)

    def _check(self, reader: Reader, found: npt.NDArray[np.void], limit: int | None) -> None:
        if limit != 0:
            skipped = max(reader.position, min(self.head, self.oldest)) - reader.position
            reader.lost += skipped
            reader.position += skipped
        else:  # whether losses are noticed when nothing was asked for is open
            reader.lost, reader.position = reader.consumer.lost, reader.consumer.position
        expected = self.published[max(0, reader.position - self.first) :][:limit]
        if reader.position < self.first:  # from before the model began: the ring holds zeros there
            expected = [(0, 0.0)] * (self.first - reader.position) + self.published
            expected = expected[:limit]
        assert found.tolist() == expected
        reader.received += len(expected)
        reader.position += len(expected)

    def check(self) -> None:
        assert self.producer.head == self.head
        for reader in self.readers:
            consumer = reader.consumer
            assert (consumer.start, consumer.position, consumer.lost) == (reader.start, reader.position, reader.lost)
            assert reader.received + consumer.lost + consumer.lag == self.head - consumer.start
        lags = [min(self.head - reader.position, self.capacity) for reader in self.readers]
        assert len(self.producer) == max(lags, default=0)

    def close(self) -> None:
        for reader in self.readers:
            reader.consumer.close()
        self.producer.close()


COUNT = st.integers(0, 40)
STEP = st.one_of(
    st.tuples(st.sampled_from(["publish", "publish_many", "write_in_place", "abandon", "offer"]), COUNT),
    st.tuples(st.just("attach"), st.integers(0, 1)),
    st.tuples(st.just("read"), st.integers(0, 3), st.none() | COUNT),
    st.tuples(st.just("read_into"), st.integers(0, 3), COUNT),
)


@given(
    st.sampled_from([1, 2, 4, 8, 16]),
    st.sampled_from([0, 0, 3, (1 << 32) - 5, (1 << 62) + 1, (1 << 63) - 2000]),
    st.lists(STEP, max_size=25),
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_received_and_lost_and_lag_add_up_and_every_record_is_the_right_one(
    ring: Handles, capacity: int, head: int, steps: list[tuple[Any, ...]]
) -> None:
    model = Model(ring, capacity, head)
    try:
        for step, *arguments in steps:
            getattr(model, step)(*arguments)
            model.check()
    finally:
        model.close()


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20), st.sampled_from([1, 2, 8]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_offered_is_never_lost(ring: Handles, steps: list[tuple[int, int]], capacity: int) -> None:
    with (
        Producer.create(ring.name, "<i8", capacity, core=ring.producer_core) as producer,
        Consumer.attach(ring.name, core=ring.consumer_core) as consumer,
    ):
        offered, received = 0, []
        for offers, limit in steps:
            for _ in range(offers):
                offered += producer.offer(offered)
            received += consumer.read(limit).tolist()
        received += consumer.read().tolist()
        assert (received, consumer.lost) == (list(range(offered)), 0)


@pytest.mark.parametrize(
    ("kind", "method", "parameters"),
    [
        (Producer, "publish", "(record, /)"),
        (Producer, "publish_many", "(records, /)"),
        (Producer, "offer", "(record)"),
        (Consumer, "read", "(limit=None)"),
        (Consumer, "read_into", "(out, /)"),
    ],
)
def test_a_method_shows_the_same_words_and_signature_on_the_class_and_on_a_handle(
    own: Handles, kind: type, method: str, parameters: str
) -> None:
    handle = next(handle for handle in own.pair() if isinstance(handle, kind))
    public, bound = getattr(kind, method), getattr(handle, method)
    for shown in (public.__get__(handle), bound):
        signature = inspect.signature(shown)
        bare = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
        assert str(signature.replace(parameters=bare, return_annotation=signature.empty)) == parameters
    words = inspect.getdoc(public)
    assert words is not None
    assert inspect.getdoc(bound) == words
    assert words.splitlines()[0] in pydoc.plain(pydoc.render_doc(kind))
    assert bound.__qualname__ == public.__qualname__ == f"{kind.__name__}.{method}"


def test_a_call_that_is_none_names_the_public_method(own: Handles) -> None:
    producer, consumer = own.pair()
    producer.publish(1)
    with pytest.raises(TypeError, match=r"^Consumer\.read\(\) got an unexpected keyword argument 'nonsense'$"):
        consumer.read("three", nonsense=1)  # type: ignore[call-arg, arg-type]
    with pytest.raises(TypeError, match=r"^Consumer\.read\(\) "):
        consumer.read(1, limit=2)  # type: ignore[misc]
    with pytest.raises(TypeError, match=r"^Consumer\.read\(\) "):
        consumer.read(1, 2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^Consumer\.read_into\(\) "):
        consumer.read_into()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^Producer\.publish\(\) "):
        producer.publish()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^Producer\.publish_many\(\) "):
        producer.publish_many(1, 2)  # type: ignore[call-arg]
    assert (producer.head, consumer.lag) == (1, 1)


def test_a_method_of_a_derived_class_takes_the_place_of_the_cores(own: Handles) -> None:
    class Doubling(Producer):
        def publish(self, record: Any, /) -> None:
            super().publish(record * 2)

    class One(Consumer):
        def read(self, limit: SupportsIndex | None = 1) -> npt.NDArray[Any]:
            return super().read(limit)

    with (
        Doubling.create(own.name, "<i8", 8, core=own.producer_core) as producer,
        One.attach(own.name, core=own.consumer_core) as consumer,
    ):
        producer.publish(2)
        producer.publish_many([6, 8])
        assert consumer.read().tolist() == [4]
        assert consumer.read_into(np.empty(1, "<i8")) == 1
        assert consumer.read(None).tolist() == [8]


def test_publishing_moves_claim_and_head_together(own: Handles) -> None:
    producer = own.create()
    words = Words(producer)
    producer.publish(1)
    assert (words[CLAIM], words[HEAD]) == (1, 1)
    producer.publish_many(range(20))
    assert (words[CLAIM], words[HEAD]) == (21, 21)


def test_claiming_moves_claim_first_and_never_back(own: Handles) -> None:
    producer = own.create()
    words = Words(producer)
    with producer.claim(3):
        assert (words[CLAIM], words[HEAD]) == (3, 0)
    assert (words[CLAIM], words[HEAD]) == (3, 3)
    with pytest.raises(ZeroDivisionError), producer.claim(5):
        raise ZeroDivisionError
    producer.publish(1)
    assert (words[CLAIM], words[HEAD]) == (8, 4)


def test_a_publish_wakes_only_who_waits(own: Handles) -> None:
    producer = own.create()
    words = Words(producer)
    before = words.half(WAKE_SEQ)
    producer.publish(1)
    assert words.half(WAKE_SEQ) == before
    for publish, record in ((producer.publish, 1), (producer.publish_many, [1, 2]), (producer.offer, 1)):
        words.raise_flag()
        publish(record)
        assert (words.half(WAKE_SEQ), words.waiting) == (before + 1, 0)
        before += 1
    words.raise_flag()
    with producer.claim(1):
        assert words.waiting == 1
    assert (words.half(WAKE_SEQ), words.waiting) == (before + 1, 0)


@pytest.mark.parametrize("always_wake", [True, 2])
def test_a_producer_may_wake_always(own: Handles, always_wake: bool) -> None:
    producer = own.create(always_wake=always_wake)
    assert producer._segment.header["always_wake"] == 1
    words = Words(producer)
    before = words.half(WAKE_SEQ)
    producer.publish(1)
    producer.publish(2)
    assert words.half(WAKE_SEQ) == before + 2


def test_waking_counts_on_beyond_32_bits(own: Handles) -> None:
    producer = own.create(always_wake=True)
    words = Words(producer)
    producer._segment.memory[WAKE_SEQ : WAKE_SEQ + 4] = b"\xff" * 4
    producer.publish(1)
    assert words.half(WAKE_SEQ) == 0
    assert words.half(WAKE_SEQ + 4) == 0


def test_opening_and_closing_wake_whether_somebody_waits_or_not(own: Handles) -> None:
    producer = own.create()
    words = Words(producer)
    before = words.half(WAKE_SEQ)
    producer.close(remove=False)
    assert (words.half(STATE), words.half(WAKE_SEQ)) == (2, before + 1)
    own.create()
    assert (words.half(STATE), words.half(WAKE_SEQ)) == (1, before + 2)


def test_a_registered_consumers_line_says_where_it_is(ring: Handles) -> None:
    producer, consumer = ring.pair()
    words = Words(producer)
    assert words.tail(0) == 0
    producer.publish_many(range(11))
    consumer.read(2)
    assert (words.tail(0), words[producer._layout.tail_offset(0) + 8]) == (5, 3)
    consumer.close()
    assert words.tail(0) == FREE_TAIL


def test_an_unregistered_consumer_writes_nothing(ring: Handles) -> None:
    producer = ring.create()
    before = producer._segment.memory[producer._layout.control_offset : producer._layout.application_offset]
    consumer = ring.attach(register=False)
    producer.publish(1)
    consumer.read()
    consumer.close()
    after = producer._segment.memory[producer._layout.control_offset : producer._layout.application_offset]
    assert after == before


def test_the_records_lie_where_the_layout_says(own: Handles) -> None:
    producer = own.create(POINT, 4)
    producer.publish_many([(number, number / 2) for number in range(6)])
    memory, layout = producer._segment.memory, producer._layout
    for position in range(2, 6):
        start = layout.records_offset + (position & 3) * layout.record_size
        assert memory[start : start + 12] == np.array((position, position / 2), POINT).tobytes()


DTYPES = [
    "?",
    "u1",
    "<f8",
    ">i4",
    "S3",
    "<U5",
    "V11",
    "<M8[ns]",
    "<m8[s]",
    "<c16",
    POINT,
    [("a", "u1"), ("b", "<f8", (2, 3)), ("c", [("d", "S3"), ("e", "<M8[ms]", 2)])],
    np.dtype([("a", "u1"), ("b", "<i8")], align=True),
    {"names": ["late", "early"], "formats": ["<i4", "<i2"], "offsets": [12, 1], "itemsize": 41},
]


def sample(dtype: Any, count: int) -> Any:
    """Return `count` records that differ."""
    dtype = np.dtype(dtype)
    if dtype.kind == "U":
        return np.array([chr(0x100 + number) * 5 for number in range(count)], dtype)
    if dtype.kind == "b":
        return np.arange(count) % 3 == 0
    return np.random.default_rng(count).integers(1, 100, count * dtype.itemsize, np.uint8).view(dtype)


def same(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> bool:
    """Compare dtypes, shapes and fields; what stands between fields may be anything."""
    return found.dtype == expected.dtype and np.array_equal(found, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_records_of_any_fixed_width_come_back_as_they_were(ring: Handles, dtype: Any) -> None:
    producer, consumer = ring.pair(dtype, 8)
    rows = sample(dtype, 13)
    producer.publish_many(rows[:5])
    assert same(consumer.read(2), rows[:2])
    for row in rows[5:7]:
        producer.publish(row)
    with producer.claim(2) as slots:
        slots[:] = rows[7:9]
    out = np.empty(8, dtype)
    assert consumer.read_into(out) == 7
    assert same(out[:7], rows[2:9])
    for row in rows[9:]:
        assert producer.offer(row)
    assert same(consumer.read(), rows[9:])
    assert consumer.dtype == producer.dtype == np.dtype(dtype)


def test_what_stands_between_the_fields_goes_through_the_ring_as_it_is(ring: Handles) -> None:
    dtype = np.dtype({"names": ["a", "b"], "formats": ["u1", "<i8"], "offsets": [3, 16], "itemsize": 41})
    producer, consumer = ring.pair(dtype, 8)
    raw = np.random.default_rng(1).integers(1, 256, (12, 41), np.uint8)
    rows = raw.reshape(-1).view(dtype)
    out = np.zeros(8, dtype)

    def same_bytes(found: npt.NDArray[Any], expected: npt.NDArray[np.uint8]) -> bool:
        return found.view(np.uint8).tobytes() == expected.tobytes()

    producer.publish(rows[0])
    producer.publish(raw[1].tobytes())
    producer.publish_many(rows[2:8:2])
    assert same_bytes(consumer.read(2), raw[:2])
    assert consumer.read_into(out) == 3
    assert same_bytes(out[:3], raw[2:8:2])
    with producer.claim(5) as claimed:  # it goes around the ring's end
        claimed.view(np.uint8).reshape(5, 41)[:] = raw[7:]
    assert same_bytes(consumer.read(), raw[7:])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_was_read_can_be_published_again(own: Handles, dtype: Any) -> None:
    producer, consumer = own.pair(dtype, 8)
    rows = sample(dtype, 3)
    producer.publish_many(rows)
    found = consumer.read()
    for row in found:
        producer.publish(row)
    producer.publish_many(list(found))
    producer.publish_many(found)
    assert same(consumer.read(), rows[[1, 2, 0, 1, 2, 0, 1, 2]])


@pytest.mark.parametrize(
    ("dtype", "right", "wrong"),
    [
        ("<U5", ["abc", np.str_("abc")], ["abcdef", np.str_("abcdef"), 5]),
        ("S5", [b"abc", np.bytes_(b"abc"), b"abc\0\0"], [b"abcdef", np.bytes_(b"abcdef"), bytearray(b"abc"), 5]),
        ("i1", [-56, np.int8(-56), b"\xc8"], [200, np.uint8(200), np.array([200], np.uint8), 1.5]),
        ("?", [True, np.True_, 1, b"\x01"], [2, np.uint8(2), b"\x02", bytearray(b"\x02")]),
        (POINT, [(1, 2.0), (np.uint8(1), np.float64(2))], [(1 << 63, 2.0), (1.5, 2.0), (1, 1e39), (True, "2")]),
        ("<f8", [1, 1.0, np.float64(1)], [np.ma.masked, "1"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["publish", "offer", "publish_many"])
def test_a_record_is_the_same_thing_to_both_cores(
    own: Handles, dtype: Any, right: list[Any], wrong: list[Any], method: str
) -> None:
    producer, consumer = own.pair(dtype, 8)

    def publish(record: Any) -> None:
        getattr(producer, method)([record] if method == "publish_many" else record)

    accepted = [
        record for record in right if method != "publish_many" or not isinstance(record, bytes) or dtype == "S5"
    ]
    for record in accepted:
        publish(record)
    assert len(np.unique(consumer.read())) == 1
    assert consumer.position == len(accepted)
    for record in wrong:
        with pytest.raises(RecordError):
            publish(record)
    assert consumer.lag == 0


def test_integers_of_any_kind_are_integers_and_bools_are_none(own: Handles) -> None:
    producer = own.create("<i8", np.int64(8), application_size=np.uint8(3), max_consumers=np.int32(2))  # type: ignore[arg-type]
    assert (producer.capacity, type(producer.capacity)) == (8, int)
    consumer = own.attach()
    with producer.claim(np.int16(2)) as rows:
        rows[:] = 1
    producer.publish_many([2, 3, 4])
    assert consumer.read(np.int64(1)).tolist() == [1]
    assert consumer.read(limit=np.uint8(1)).tolist() == [1]
    with consumer.peek(np.int64(1)) as peeked:
        assert peeked.tolist() == [2]
    assert consumer.wait(np.float32(0.5))  # type: ignore[arg-type]
    create: Any = partial(Producer.create, f"{own.name}-no", "<i8")
    for wrong in (True, np.True_):
        for call in (consumer.read, lambda limit: consumer.peek(limit).__enter__(), consumer.wait):
            with pytest.raises(InvalidTypeError, match="bool"):
                call(wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidTypeError, match="count is bool"), producer.claim(wrong):  # type: ignore[arg-type]
            pass
        for size in ("capacity", "max_consumers", "application_size"):
            with pytest.raises(InvalidTypeError, match=f"{size} is bool"):
                create(**{"capacity": 8, size: wrong})
    assert (consumer.lag, producer.head) == (2, 5)


@pytest.mark.parametrize("method", ["publish", "publish_many", "offer"])
@pytest.mark.parametrize(
    "wrong",
    [None, 5, "text", object(), b"short", (1,), [1, 2], np.zeros((2, 2)), ([],)],
    ids=lambda wrong: type(wrong).__name__,
)
def test_what_is_no_record_is_refused_and_nothing_is_published(own: Handles, method: str, wrong: Any) -> None:
    producer = own.create(POINT)
    words = Words(producer)
    with pytest.raises(RecordError):
        getattr(producer, method)(wrong)
    assert (producer.head, words[CLAIM], words[HEAD]) == (0, 0, 0)
    producer.publish((1, 2.0))
    assert producer.head == 1


def test_one_wrong_row_among_many_publishes_none(own: Handles) -> None:
    producer = own.create(POINT)
    with pytest.raises(RecordError):
        producer.publish_many([(1, 2.0), (3, 4.0), (5,)])
    assert producer.head == 0


def test_publishing_does_not_hold_on_to_what_was_published(own: Handles) -> None:
    producer = own.create(POINT)
    row = np.zeros(1, POINT)
    many = np.zeros(3, POINT)
    before = sys.getrefcount(row), sys.getrefcount(many)
    producer.publish(row)
    producer.offer(row)
    producer.publish_many(many)
    assert (sys.getrefcount(row), sys.getrefcount(many)) == before
    buffer = bytearray(12)
    producer.publish(buffer)
    buffer.append(0)  # a buffer that is still exported cannot grow


def test_what_was_read_is_the_readers_own(ring: Handles) -> None:
    producer, consumer = ring.pair(capacity=2)
    producer.publish_many([1, 2])
    found = consumer.read()
    producer.publish_many([3, 4])
    found[0] = 9
    assert found.tolist() == [9, 2]
    assert consumer.read().tolist() == [3, 4]


def test_reading_nothing_gives_an_empty_array_of_the_dtype(ring: Handles) -> None:
    _, consumer = ring.pair(POINT)
    found = consumer.read()
    assert (found.dtype, found.shape) == (POINT, (0,))
    assert consumer.read_into(np.empty(3, POINT)) == 0


def test_a_head_that_is_damaged_while_a_read_begins_is_an_error(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish_many([1, 2])
    consumer.read(1)

    class Damaging:
        def __index__(self) -> int:
            overwrite(ring.name, HEAD, bytes(8))
            return 5

    with pytest.raises(CorruptSegmentError, match="its head is 0, but records up to 1 were read from it"):
        consumer.read(Damaging())
    overwrite(ring.name, HEAD, (2).to_bytes(8, "little"))
    assert (consumer.position, consumer.lost, consumer.lag) == (1, 0, 1)
    assert consumer.read().tolist() == [2]


def test_a_limit_bounds_a_read_and_zero_reads_nothing(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish_many(range(5))
    assert consumer.read(0).tolist() == []
    assert consumer.read(2).tolist() == [0, 1]
    assert consumer.read(100).tolist() == [2, 3, 4]


def test_a_limit_may_be_named(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish_many(range(5))
    assert consumer.read(limit=1).tolist() == [0]
    with consumer.peek(limit=2) as rows:
        assert rows.tolist() == [1, 2]
    assert consumer.read(limit=None).tolist() == [3, 4]


@pytest.mark.parametrize(
    ("limit", "error"), [(-1, InvalidValueError), (1.5, InvalidTypeError), ("1", InvalidTypeError)]
)
def test_a_limit_that_is_none_is_refused_and_nothing_is_read(ring: Handles, limit: Any, error: type[Exception]) -> None:
    producer, consumer = ring.pair()
    producer.publish(1)
    with pytest.raises(error, match="limit is"):
        consumer.read(limit)
    with pytest.raises(error, match="limit is"), consumer.peek(limit):
        pass
    assert consumer.lag == 1


@pytest.mark.parametrize(
    "out", [None, [0], np.zeros(3, "<f8"), np.zeros((2, 2), "<i8"), np.zeros(4, "<i8")[::2]], ids=repr
)
def test_what_cannot_be_read_into_is_refused_and_nothing_is_read(ring: Handles, out: Any) -> None:
    producer, consumer = ring.pair()
    producer.publish(1)
    with pytest.raises((InvalidTypeError, InvalidValueError), match="out "):
        consumer.read_into(out)
    read_only = np.empty(3, "<i8")
    read_only.flags.writeable = False
    with pytest.raises(InvalidValueError, match="out must be a writable array"):
        consumer.read_into(read_only)
    assert consumer.lag == 1


def test_reading_into_an_array_leaves_the_rest_of_it_alone(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish_many([1, 2])
    out = np.full(4, 9)
    assert consumer.read_into(out[1:]) == 2
    assert out.tolist() == [9, 1, 2, 9]
    assert consumer.read_into(out[:0]) == 0


def test_a_sleeping_consumer_of_a_ring_of_eight_knows_what_it_lost(ring: Handles) -> None:
    producer, consumer = ring.pair(capacity=8)
    producer.publish_many(range(8))
    assert (consumer.lag, len(producer)) == (8, 8)
    producer.publish(8)
    producer.publish_many(range(9, 100))
    assert (consumer.lag, consumer.lost, len(producer)) == (100, 0, 8)
    assert consumer.read().tolist() == list(range(92, 100))
    assert (consumer.lag, consumer.lost, consumer.position) == (0, 92, 100)


def test_after_the_end_every_method_says_why_and_says_it_again(ring: Handles) -> None:
    producer, consumer = ring.pair()
    of_the_cores: list[Callable[[], object]] = [
        lambda: consumer._reader.peek(None),
        lambda: consumer._reader.end_peek(0, 0),
        consumer._reader.leave,
        producer._writer.slowest,
        producer._writer.open,
        lambda: producer._writer.claim(1),
        lambda: producer._writer.commit(0, 1, None),
        producer._writer.close,
    ]
    every = [*uses(producer, consumer), *of_the_cores]
    consumer.close()
    producer.close()
    for use in every * 2:
        with pytest.raises(ClosedError, match=f"the handle on stream '{ring.name}' was closed: open another") as caught:
            use()
        frames = traceback.extract_tb(caught.value.__traceback__)
        assert [frame.name for frame in frames].count(frames[0].name) == 1  # and not also those of the first time


def test_what_was_known_of_a_closed_handle_is_still_known(ring: Handles) -> None:
    producer, consumer = ring.pair()
    consumer.close()
    producer.close()
    assert (producer.name, producer.capacity, producer.dtype, bool(producer)) == (ring.name, 8, np.dtype("<i8"), True)
    assert (consumer.name, consumer.capacity, consumer.dtype) == (ring.name, 8, np.dtype("<i8"))
    assert (consumer.start, consumer.registered) == (0, True)


def test_a_core_lets_the_memory_go_when_it_is_told_to(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish(1)
    consumer.read()
    memories = [producer._segment.memory, consumer._segment.memory, consumer._segment.control]
    publish, read = producer.publish, consumer.read
    consumer.close()
    producer.close()
    gc.collect()
    for memory in memories:
        assert memory is not None
        if not isinstance(memory, memoryview):
            memory.close()  # refused while anything still looks into it
    with pytest.raises(ClosedError):
        publish(2)
    with pytest.raises(ClosedError):
        read()

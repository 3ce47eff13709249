"""A handle used from inside its own calls: by a signal handler, a finalizer or a trace function of the same thread.

Whatever comes in is done at once or refused, and afterwards everything adds up.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chronostream import ring as rings
from chronostream.errors import BusyError, ClosedError, InvalidValueError, LostError
from chronostream.ring import _portable, _side, consumer, producer, records
from tests.ring.harness import CORES, Handles, at_line

CAPACITY = 8
FILES = {module.__file__ for module in (_portable, _side, consumer, producer, records)}
PADDED = np.dtype([("value", "<i8"), ("odd", "u1")])  # 9 bytes in slots of 16
REFUSALS = (BusyError, InvalidValueError)  # the latter by `claim` and `peek`, of what came into their block


class Ledger:
    """A stream of numbers that are never the same, and what is known of each: published, received, in which order."""

    def __init__(self, own: Handles, dtype: Any) -> None:
        self._own = own
        self.producer, self.consumer = own.pair(dtype, CAPACITY)
        self._witness = own.attach()
        self._field: Any = "value" if self.producer.dtype.names else ...
        self._numbers = itertools.count(1)
        self.published: set[int] = set()
        self.received: list[list[int]] = []
        self.refused = 0
        self._in_ring: list[int] = []

    def numbers(self, count: int) -> np.ndarray[Any, Any]:
        rows = np.zeros(count, self.producer.dtype)
        rows[self._field] = [next(self._numbers) for _ in range(count)]
        return rows

    def _note(self, rows: np.ndarray[Any, Any]) -> None:
        self.published.update(rows[self._field].tolist())

    def publish(self) -> None:
        rows = self.numbers(1)
        self.producer.publish(rows[0])
        self._note(rows)

    def publish_many(self) -> None:
        rows = self.numbers(4)
        self.producer.publish_many(rows)
        self._note(rows)

    def offer(self) -> None:
        rows = self.numbers(1)
        if self.producer.offer(rows[0]):
            self._note(rows)

    def claim(self) -> None:
        rows = self.numbers(3)
        with self.producer.claim(3) as claimed:
            claimed[self._field] = rows[self._field]
        self._note(rows)

    def read(self) -> None:
        self.received.append(self.consumer.read()[self._field].tolist())

    def read_into(self) -> None:
        out = np.zeros(2, self.consumer.dtype)
        self.received.append(out[: self.consumer.read_into(out)][self._field].tolist())

    def peek(self) -> None:
        found: list[int] = []
        lost = 0
        try:
            with self.consumer.peek(2) as rows:
                found = rows[self._field].tolist()
        except LostError as error:
            lost = error.last + 1 - error.first
        self.received.append(found[lost:])

    def close(self) -> None:
        for handle in (self.producer, self.consumer, self._witness):
            handle.close()
        if self.producer.name in rings.list_names():
            rings.remove(self.producer.name)

    def fill(self) -> None:
        """Leave the consumer with as much to read as there can be."""
        for _ in range(CAPACITY):
            self.publish()
        self.look()

    def look(self) -> None:
        self._in_ring += self._witness.read()[self._field].tolist()
        assert self._witness.lost == 0

    def check_published(self) -> None:
        """Every record that was published is there once, and no other is."""
        self.look()
        assert sorted(self._in_ring) == sorted(self.published)

    def check(self) -> None:
        """That, and what was received, lost and left adds up, without a record that came twice."""
        self.check_published()
        assert len(self._in_ring) == self.producer.head
        consumer = self.consumer
        received = list(itertools.chain(*self.received))
        assert len(received) + consumer.lost + consumer.lag == self.producer.head
        assert len(set(received)) == len(received)
        for batch in self.received:
            places = [self._in_ring.index(number) for number in batch]
            assert places == list(range(places[0], places[0] + len(batch))) if batch else True


def tried(ledger: Ledger, step: str) -> None:
    try:
        getattr(ledger, step)()
    except REFUSALS:
        ledger.refused += 1


WRITES = ["publish", "publish_many", "offer", "claim"]
READS = ["read", "read_into", "peek"]


@pytest.mark.parametrize(
    ("dtype", "outer", "inner"),
    [
        *itertools.product(["<i8"], WRITES + READS, WRITES + READS),
        *itertools.product([PADDED], WRITES, ["publish_many", "claim"]),
        *itertools.product([PADDED], READS, ["publish_many", "read", "peek"]),
    ],
    ids=str,
)
def test_what_comes_in_at_any_line_is_done_or_refused_and_all_adds_up(
    own: Handles, dtype: Any, outer: str, inner: str
) -> None:
    ledger = Ledger(own, dtype)
    for line in itertools.count(1):
        ledger.fill()
        with at_line(FILES, line, lambda: tried(ledger, inner)) as reached:
            tried(ledger, outer)
        ledger.check()
        ledger.read()
        if len(reached) < line:
            break
    assert line > 1 or own.producer_core == "native"


@pytest.mark.parametrize("outer", WRITES + READS)
def test_a_handle_closed_at_any_line_of_a_call_takes_no_further_step(own: Handles, outer: str) -> None:
    for line in itertools.count(1):
        ledger = Ledger(own, "<i8")
        ledger.fill()
        close = (lambda: ledger.producer.close(remove=False)) if outer in WRITES else ledger.consumer.close  # noqa: B023
        with at_line(FILES, line, close) as reached, contextlib.suppress(ClosedError):
            getattr(ledger, outer)()
        ledger.check_published()
        ledger.close()
        if len(reached) < line:
            break


@pytest.mark.parametrize("dtype", ["<i8", PADDED], ids=str)
def test_a_signal_handler_that_uses_the_handles_loses_and_repeats_nothing(own: Handles, dtype: Any) -> None:
    ledger = Ledger(own, dtype)
    steps = itertools.cycle(WRITES + READS)
    before = signal.signal(signal.SIGVTALRM, lambda *_: tried(ledger, next(steps)))
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.001, 0.001)
    try:
        for _ in range(3000):
            tried(ledger, "publish")
            tried(ledger, "read")
            ledger.look()
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    ledger.check()


class Cycle:
    """Garbage that only a collection finds, and that uses a handle as it goes."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action = action
        self._itself = self

    def __del__(self) -> None:
        self._action()


class Limit:
    """A number that reads when it is asked for its value, and leaves garbage that reads `later` than that."""

    def __init__(self, ledger: Ledger, later: int) -> None:
        self._ledger = ledger
        self._later = later

    def __index__(self) -> int:
        self._ledger.received.append(self._ledger.consumer.read(2).tolist())
        Cycle(lambda: tried(self._ledger, "read_into"))
        gc.set_threshold(gc.get_count()[0] + self._later)
        gc.enable()
        return CAPACITY


def test_a_finalizer_that_reads_while_a_read_makes_its_array_repeats_nothing(own: Handles) -> None:
    ledger = Ledger(own, "<i8")
    before = gc.get_threshold()
    for later in range(-2, 20):
        ledger.fill()
        gc.disable()
        try:
            found = ledger.consumer.read(Limit(ledger, later))
        finally:
            gc.set_threshold(*before)
            gc.enable()
        ledger.received.append(found.tolist())
        gc.collect()
        ledger.check()
        ledger.read()


class Failing:
    """numpy, but that one of the arrays asked for finds no memory."""

    def __init__(self, countdown: int) -> None:
        self.left = countdown

    def __getattr__(self, name: str) -> Any:
        if name in {"empty", "ascontiguousarray"}:
            self.left -= 1
            if self.left == 0:
                raise MemoryError
        return getattr(np, name)


@pytest.mark.parametrize("step", READS)
@pytest.mark.parametrize("dtype", ["<i8", PADDED], ids=str)
def test_a_read_that_finds_no_memory_has_read_nothing(
    name: str, dtype: Any, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Handles(name, "portable", "portable") as own:
        ledger = Ledger(own, dtype)
        for number in itertools.count(1):
            ledger.fill()
            failing = Failing(number)
            with monkeypatch.context() as patch:
                patch.setattr(_portable, "np", failing)
                with contextlib.suppress(MemoryError):
                    getattr(ledger, step)()
            ledger.check()
            if failing.left > 0:
                break
        ledger.read()
        assert ledger.consumer.lag == 0


@pytest.mark.skipif("native" not in CORES, reason="the native core was not built, and this is not CI")
@pytest.mark.parametrize("method", ["read", "read_into"])
def test_wherever_memory_runs_out_in_the_native_core_it_has_read_all_or_nothing(name: str, method: str) -> None:
    testcapi = pytest.importorskip("_testcapi", reason="this Python was installed without its own tests")
    arguments = (np.zeros(512, "<i8"),) if method == "read_into" else ()
    received = failed = 0
    with Handles(name, "native", "native") as own:
        producer, consumer = own.pair(capacity=512)
        call = getattr(consumer, method)
        for number in range(30):
            producer.publish_many(range(300))  # more than there are integers that Python keeps at hand
            found: Any = 0
            try:
                testcapi.set_nomemory(number, number + 1)
                found = call(*arguments)
            except MemoryError:
                failed += 1
            finally:
                testcapi.remove_mem_hooks()
            received += found if isinstance(found, int) else len(found)
            assert received + consumer.lost + consumer.lag == producer.head
    assert failed

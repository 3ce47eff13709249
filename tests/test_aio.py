from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop

import chronostream as cs
from chronostream import aio
from chronostream.errors import (
    ClosedError,
    InvalidTypeError,
    InvalidValueError,
    LayoutMismatchError,
    LostError,
    ProducerGoneError,
    StreamNotFoundError,
    StreamRemovedError,
    UnknownFrequencyError,
)
from chronostream.ring import Consumer, Producer, _futex
from chronostream.ring import consumer as consumers
from chronostream.ring import waiting as waits
from tests.process_harness import Programs
from tests.ring.harness import TIMEOUT_S, in_fork, in_thread, path_of, wait_until
from tests.streams import event_ring, seconds, sequences

LOOPS = [
    pytest.param((asyncio.new_event_loop, True), id="asyncio"),
    pytest.param((uvloop.new_event_loop, True), id="uvloop"),
    pytest.param((asyncio.new_event_loop, False), id="asyncio, a thread for each ring"),
]


@pytest.fixture(autouse=True, params=LOOPS)
def loop_factory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each kind of event loop that the tests here run in; the last with a kernel that has no futex_waitv."""
    new_event_loop, many = request.param
    if not many:
        monkeypatch.setattr(_futex, "can_wait_for_many", lambda: False)
    return new_event_loop


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a thread that waits look often whether the producer lives."""
    monkeypatch.setattr(consumers, "LIVENESS_CHECK_S", 0.01)


_PRODUCER = """
import sys, time
from chronostream.event import EVENT_DTYPE
from chronostream.ring import Producer
producer = Producer.create(sys.argv[1], EVENT_DTYPE, 64)
print("ready", flush=True)
time.sleep(3600)
"""


@asynccontextmanager
async def nothing_left_behind() -> AsyncIterator[None]:
    threads, descriptors = threading.active_count(), descriptor_count()
    yield
    assert (threading.active_count(), descriptor_count()) == (threads, descriptors)


def descriptor_count() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def waiters() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("chronostream wait")]


def waiting_handles() -> int:
    rings = [ring for thread in waits._table.threads for ring in thread.rings.values()]
    return sum(watch.notify is not None for ring in rings for watch in ring.watches)


async def until_waiting(count: int = 1) -> None:
    """Let tasks run until a thread waits for so many handles."""
    await until(lambda: waiting_handles() >= count)


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - what happens in threads sets no event
        await asyncio.sleep(0.001)


async def test_a_loop_gives_every_event_and_ends_with_the_stream(name: str) -> None:
    async with nothing_left_behind():
        producer = event_ring(name)
        producer.publish_many(seconds(1, 3))
        async with aio.subscribe(name, start="oldest") as events:
            asyncio.get_running_loop().call_later(0.02, producer.publish_many, seconds(4, 2))
            asyncio.get_running_loop().call_later(0.04, producer.close)
            assert [event.sequence async for event in events] == [1, 2, 3, 4, 5]
            assert events.closed


async def test_a_backlog_lets_other_tasks_in(name: str) -> None:
    with event_ring(name, 4096) as producer:
        producer.publish_many(seconds(1, 4096))
        async with aio.subscribe(name, start="oldest") as events:
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            counting = asyncio.create_task(count())
            for _ in range(4096):
                await anext(events)
            counting.cancel()
            assert turns >= 3


async def test_only_the_wanted_frequencies_pass(name: str) -> None:
    with event_ring(name) as producer:
        async with aio.subscribe(name, {"minute"}) as events:
            waiting = asyncio.create_task(anext(events))
            await until_waiting()
            producer.publish_many(seconds(1, 3))
            producer.publish_many(seconds(7, 1, frequency=cs.Frequency.MINUTE))
            assert (await waiting).sequence == 7


async def test_a_wait_that_ran_out_of_time_loses_no_event(name: str) -> None:
    with event_ring(name) as producer:
        async with nothing_left_behind(), aio.subscribe(name) as events:
            for sequence in range(1, 4):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.005):
                        await anext(events)
                producer.publish_many(seconds(sequence, 1))
                assert (await anext(events)).sequence == sequence


async def test_a_cancelled_task_leaves_its_event_to_the_next(name: str) -> None:
    with event_ring(name) as producer:
        async with nothing_left_behind(), aio.subscribe(name) as events:
            waiting = asyncio.create_task(anext(events))
            await until_waiting()
            waiting.cancel()
            producer.publish_many(seconds(1, 1))
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await anext(events)).sequence == 1


async def test_a_cancelled_loop_leaves_nothing_behind(name: str) -> None:
    async def follow() -> None:
        async with aio.subscribe(name) as events:
            async for _ in events:
                pass

    with event_ring(name):
        async with nothing_left_behind():
            task = asyncio.create_task(follow())
            await until_waiting()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_each_of_several_tasks_gets_events_and_none_gets_them_twice(name: str) -> None:
    with event_ring(name) as producer:
        async with aio.subscribe(name) as events:
            tasks = [asyncio.create_task(anext(events)) for _ in range(5)]
            await until_waiting()
            for sequence in range(1, 6):
                producer.publish_many(seconds(sequence, 1))
                await asyncio.sleep(0)
            assert sorted(event.sequence for event in await asyncio.gather(*tasks)) == [1, 2, 3, 4, 5]


async def test_ten_consumers_share_one_event_loop(name: str) -> None:
    async def follow() -> list[int]:
        async with aio.subscribe(name) as events:
            return [event.sequence async for event in events]

    async with nothing_left_behind():
        producer = event_ring(name)
        tasks = [asyncio.create_task(follow()) for _ in range(10)]
        await until_waiting(10)
        for sequence in range(1, 21):
            producer.publish_many(seconds(sequence, 1))
            await asyncio.sleep(0.001)
        producer.close()
        assert await asyncio.gather(*tasks) == [list(range(1, 21))] * 10


async def test_one_thread_serves_the_handles_of_many_streams(name: str) -> None:
    names = [f"{name}-{number}" for number in range(10)]
    async with nothing_left_behind():
        with ExitStack() as producers:
            rings = [producers.enter_context(event_ring(each)) for each in names]
            handles = [aio.subscribe(each) for each in names for _ in range(5)]
            tasks = [asyncio.create_task(anext(handle)) for handle in handles]
            await until_waiting(50)
            assert len(waiters()) == (1 if _futex.can_wait_for_many() else 10)
            for sequence, ring in enumerate(rings, 1):
                ring.publish_many(seconds(sequence, 1))
            received = [event.sequence for event in await asyncio.gather(*tasks)]
            assert received == [sequence for sequence in range(1, 11) for _ in range(5)]
            for handle in handles:
                await handle.aclose()
            assert waiters() == []


async def test_one_thread_serves_all_waits_of_a_handle(name: str) -> None:
    with event_ring(name) as producer:
        async with aio.subscribe(name) as events:
            served = set()
            for sequence in range(1, 21):
                waiting = asyncio.create_task(anext(events))
                await until_waiting()
                served |= set(waiters())
                producer.publish_many(seconds(sequence, 1))
                assert (await waiting).sequence == sequence
            assert len(served) == 1


async def test_no_thread_is_started_while_there_is_something_to_read(name: str) -> None:
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 5))
        producer.close(remove=False)
        async with aio.subscribe(name, start="oldest") as events:
            assert [(await anext(events)).sequence for _ in range(5)] == [1, 2, 3, 4, 5]
            assert waiters() == []


async def test_two_threads_never_use_the_handle_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[str] = []
    crossed: list[str] = []
    users = set()
    wait = Consumer.wait

    def watched_wait(consumer: Consumer, timeout_s: float | None = None) -> bool:
        return bool(watched(f"wait({timeout_s})", wait, consumer, timeout_s))

    def watched(what: str, method: Callable[..., Any], *arguments: Any) -> Any:
        crossed.extend(f"{what} during {other}" for other in inside)
        inside.append(what)
        users.add(threading.current_thread())
        try:
            return method(*arguments)
        finally:
            inside.remove(what)

    monkeypatch.setattr(Consumer, "wait", watched_wait)

    received = []
    with event_ring(name) as producer:
        async with aio.subscribe(name) as events:
            assert events._source is not None
            consumer = events._source.consumer
            read = consumer.read
            monkeypatch.setattr(consumer, "read", lambda *limit: watched("read", read, *limit))
            for sequence in range(1, 101):
                asyncio.get_running_loop().call_later(
                    0.0005 * (sequence % 3), producer.publish_many, seconds(sequence, 1)
                )
                try:
                    async with asyncio.timeout(0.0005 * (sequence % 2)):
                        received.append((await anext(events)).sequence)
                except TimeoutError:
                    received += sequences(await events.read())
            while len(received) < 100:
                received.append((await anext(events)).sequence)
    assert sorted(received) == list(range(1, 101))
    assert crossed == []
    assert users == {threading.current_thread()}


async def test_closing_while_a_task_waits_ends_its_wait(name: str) -> None:
    with event_ring(name):
        async with nothing_left_behind():
            events = aio.subscribe(name)
            waiting = asyncio.create_task(anext(events))
            await until_waiting()
            await asyncio.gather(events.aclose(), events.aclose())
            with pytest.raises(ClosedError, match="was closed"):
                await waiting


async def test_closing_a_handle_disturbs_no_other_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "LIVENESS_CHECK_S", 3600.0)  # Only a wake-up ends a wait.
    with event_ring(name) as producer:
        async with nothing_left_behind(), aio.subscribe(name) as last:
            waiting = asyncio.create_task(anext(last))
            others = [aio.subscribe(name) for _ in range(20)]
            tasks = [asyncio.create_task(anext(other)) for other in others]
            await until_waiting(21)
            for other in others:
                await other.aclose()
            for task in tasks:
                with pytest.raises(ClosedError, match="was closed"):
                    await task
            assert waiting_handles() == 1
            producer.publish_many(seconds(1, 1))
            assert (await waiting).sequence == 1


@pytest.mark.parametrize("waited", [True, False])
async def test_a_closed_handle_says_so(name: str, waited: bool) -> None:
    with event_ring(name):
        events = aio.subscribe(name)
        if waited:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await events.wait()
        await events.aclose()
        await events.aclose()
        for use in (events.wait, events.read, events.__anext__, events.__aenter__):
            with pytest.raises(ClosedError, match="was closed"):
                await use()


async def test_a_forgotten_handle_closes_itself(name: str) -> None:
    with event_ring(name) as producer:
        threads, descriptors = threading.active_count(), descriptor_count()
        producer.publish_many(seconds(1, 2))
        async for event in aio.subscribe(name, start="oldest"):
            if event.sequence == 2:
                break
        gc.collect()
        assert descriptor_count() == descriptors
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await anext(aio.subscribe(name))
        await asyncio.sleep(0)  # what was cancelled lets go of it
        gc.collect()
        await until(lambda: (threading.active_count(), descriptor_count()) == (threads, descriptors))


def test_an_event_loop_that_ends_during_a_wait_takes_the_thread_along(loop_factory: Any, name: str) -> None:
    loop_factory().close()  # The first loop of uvloop keeps a pipe for the whole process.
    threads, descriptors = threading.active_count(), descriptor_count()

    async def follow() -> None:
        await anext(aio.subscribe(name))

    async def main() -> asyncio.Task[None]:
        task = asyncio.create_task(follow())
        await until_waiting()
        return task

    with event_ring(name):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            task = runner.run(main())
        assert task.cancelled()
        del task  # or its traceback would keep the handle
        gc.collect()
        wait_until(lambda: threading.active_count() == threads)
    assert descriptor_count() == descriptors


def test_a_wait_in_an_event_loop_that_was_closed_disturbs_no_other_loop(loop_factory: Any, name: str) -> None:
    with event_ring(name) as producer:
        forgotten, followed = aio.subscribe(name), aio.subscribe(name)
        loop = loop_factory()
        with pytest.raises(TimeoutError):
            loop.run_until_complete(asyncio.wait_for(forgotten.wait(), 0.01))
        assert waiting_handles() == 1
        loop.close()

        async def follow() -> int:
            async with followed:
                waiting = asyncio.create_task(anext(followed))
                await until_waiting(2)
                producer.publish_many(seconds(1, 1))
                return (await waiting).sequence

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            assert runner.run(follow()) == 1
            runner.run(forgotten.aclose())
    assert waiters() == []


def test_event_loops_in_several_threads_share_a_waiting_thread(loop_factory: Any, name: str) -> None:
    numbers: dict[int, list[int]] = {}

    async def follow(number: int) -> None:
        async with aio.subscribe(name) as events:
            numbers[number] = [event.sequence async for event in events]

    def run(number: int) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(follow(number))

    with ExitStack() as threads:
        producer = event_ring(name)
        for number in range(3):
            threads.enter_context(in_thread(run, number))
        wait_until(lambda: waiting_handles() == 3)
        assert len(waiters()) == 1
        for sequence in range(1, 21):
            producer.publish_many(seconds(sequence, 1))
        producer.close()
    assert numbers == {number: list(range(1, 21)) for number in range(3)}
    assert waiters() == []


async def test_what_there_is_can_be_read_as_arrays(name: str) -> None:
    with event_ring(name) as producer:
        async with aio.subscribe(name) as events:
            assert len(await events.read()) == 0
            producer.publish_many(seconds(1, 5))
            assert events.lag == 5
            assert sequences(await events.read(2)) == [1, 2]
            assert (await anext(events)).sequence == 3
            assert sequences(await events.read()) == [4, 5]
            assert (events.lag, events.lost) == (0, 0)


async def test_what_came_after_a_wait_ran_out_of_time_can_be_read_at_once(name: str) -> None:
    with event_ring(name) as producer:
        async with aio.subscribe(name) as events:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await events.wait()
            assert len(await events.read()) == 0
            with pytest.raises(InvalidValueError, match="limit is -1"):
                await events.read(-1)
            producer.publish_many(seconds(1, 2))
            assert sequences(await events.read()) == [1, 2]


async def test_losses_are_counted_or_raised_once(name: str) -> None:
    with event_ring(name, 4) as producer:
        async with aio.subscribe(name) as counting, aio.subscribe(name, on_lost="raise") as raising:
            producer.publish_many(seconds(1, 10))
            assert (await anext(counting)).sequence == 7
            assert counting.lost == 6
            with pytest.raises(LostError) as caught:
                await anext(raising)
            assert (caught.value.first, caught.value.last) == (0, 5)
            assert (await anext(raising)).sequence == 7


async def test_a_stream_that_is_removed_ends_the_wait(name: str) -> None:
    producer = event_ring(name)
    async with nothing_left_behind(), aio.subscribe(name) as events:
        waiting = asyncio.create_task(anext(events))
        await until_waiting()
        path_of(name).unlink()
        with pytest.raises(StreamRemovedError):
            await waiting
    producer.close()


async def test_every_handle_learns_that_the_producer_was_killed(name: str, programs: Programs) -> None:
    program = programs.python("-c", _PRODUCER, name)
    assert program.out.line() == "ready"
    async with nothing_left_behind():
        handles = [aio.subscribe(name, on_gone="raise") for _ in range(5)]
        patient = aio.subscribe(name)
        tasks = [asyncio.create_task(anext(handle)) for handle in (*handles, patient)]
        await until_waiting(6)
        program.send_signal(signal.SIGKILL)
        program.wait()
        ended = await asyncio.gather(*tasks[:5], return_exceptions=True)
        assert [type(error) for error in ended] == [ProducerGoneError] * 5
        with event_ring(name) as successor:
            successor.publish_many(seconds(7, 1))
            assert (await tasks[5]).sequence == 7
        for handle in (*handles, patient):
            await handle.aclose()


async def test_a_stream_that_is_not_there_is_an_error_at_once(name: str) -> None:
    with pytest.raises(StreamNotFoundError):
        aio.subscribe(name)
    with pytest.raises(StreamNotFoundError):
        aio.attach(name)


async def test_a_stream_that_comes_later_is_waited_for(name: str) -> None:
    events = aio.subscribe(name, start="oldest", wait_s=TIMEOUT_S)
    assert (events.lag, events.lost, events.closed) == (0, 0, False)
    tasks = [asyncio.create_task(anext(events)) for _ in range(2)]
    await asyncio.sleep(0)
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 2))
        assert sorted(event.sequence for event in await asyncio.gather(*tasks)) == [1, 2]
        await events.aclose()


async def test_a_stream_that_never_comes_is_given_up(name: str) -> None:
    with pytest.raises(StreamNotFoundError):
        async with aio.subscribe(name, wait_s=0.05):
            pass


async def test_waiting_for_a_stream_ends_when_the_handle_is_closed(name: str) -> None:
    consumer = aio.attach(name, wait_s=TIMEOUT_S)
    with pytest.raises(StreamNotFoundError, match="does not exist yet"):
        _ = consumer.consumer
    waiting = asyncio.create_task(consumer.wait())
    await asyncio.sleep(0)
    await consumer.aclose()
    with pytest.raises(ClosedError):
        await waiting


async def test_a_plain_ring_gives_batches_until_it_is_closed(name: str) -> None:
    async with nothing_left_behind():
        producer = Producer.create(name, "<i8", 64)
        producer.publish_many(np.arange(3))
        async with aio.attach(name) as consumer:
            assert consumer.consumer.dtype == np.dtype("<i8")
            asyncio.get_running_loop().call_later(0.02, producer.publish_many, np.arange(3, 5))
            asyncio.get_running_loop().call_later(0.04, producer.close)
            batches = [batch.tolist() async for batch in consumer]
    assert batches == [[0, 1, 2], [3, 4]]


async def test_a_plain_ring_can_be_waited_for(name: str) -> None:
    with Producer.create(name, "<i8", 64) as producer:
        async with aio.attach(name, "next", register=False, label="me") as consumer:
            assert not consumer.consumer.registered
            waiting = asyncio.create_task(consumer.wait())
            await until_waiting()
            producer.publish(7)
            assert await waiting
            assert (await consumer.read()).tolist() == [7]
            producer.close()
            assert not await consumer.wait()


async def test_a_handle_shows_what_it_is(name: str) -> None:
    early = aio.subscribe(name, {"minute"}, wait_s=TIMEOUT_S)
    assert repr(early) == f"<AsyncEventStream '{name}': does not exist yet>"
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 3))
        async with early, aio.attach(name) as consumer:
            assert repr(early) == (
                f"<AsyncEventStream of <EventStream '{name}': live, position 3, lag 0, lost 0, minute>>"
            )
            assert repr(consumer) == f"<AsyncConsumer of {consumer.consumer!r}>"
    assert repr(early) == f"<AsyncEventStream of <EventStream '{name}': this handle is closed, minute>>"
    never = aio.subscribe(name, wait_s=TIMEOUT_S)
    await never.aclose()
    assert repr(never) == f"<AsyncEventStream '{name}': this handle is closed>"


def test_a_ring_of_something_else_is_no_stream(name: str) -> None:
    with Producer.create(name, "<i8", 8), pytest.raises(LayoutMismatchError):
        aio.subscribe(name)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"frequencies": "second"}, InvalidTypeError),
        ({"frequencies": 1.5}, InvalidTypeError),
        ({"frequencies": {"fortnight"}}, UnknownFrequencyError),
        ({"on_lost": "cry"}, InvalidValueError),
        ({"wait_s": -1}, InvalidValueError),
        ({"wait_s": "long"}, InvalidTypeError),
    ],
)
def test_bad_arguments_are_refused(name: str, options: dict[str, Any], error: type[Exception]) -> None:
    descriptors = descriptor_count()
    with event_ring(name):
        with pytest.raises(error):
            aio.subscribe(name, **options)
        gc.collect()
    assert descriptor_count() == descriptors


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_can_let_go_of_a_handle_that_has_a_thread_in_its_parent(loop_factory: Any, name: str) -> None:
    with event_ring(name), asyncio.Runner(loop_factory=loop_factory) as runner:
        events = aio.subscribe(name)
        with pytest.raises(TimeoutError):
            runner.run(asyncio.wait_for(events.wait(), 0.01))
        assert in_fork(lambda: asyncio.run(events.aclose())) == 0
        runner.run(events.aclose())


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_handles_of_its_own(loop_factory: Any, name: str) -> None:
    async def follow() -> None:
        async with aio.subscribe(name, start="oldest") as events:
            assert (await anext(events)).sequence == 1
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(events)
            assert len(waiters()) == 1

    def child() -> None:
        with asyncio.Runner(loop_factory=loop_factory) as fresh:
            fresh.run(follow())

    with event_ring(name) as producer, asyncio.Runner(loop_factory=loop_factory) as runner:
        events = aio.subscribe(name)
        with pytest.raises(TimeoutError):
            runner.run(asyncio.wait_for(events.wait(), 0.01))
        producer.publish_many(seconds(1, 1))
        assert in_fork(child) == 0
        assert runner.run(anext(events)).sequence == 1
        runner.run(events.aclose())

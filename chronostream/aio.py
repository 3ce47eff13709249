"""Streams and rings for asyncio.

::

    async with cs.aio.subscribe("market-clock", {"minute"}) as events:
        async for event in events:
            ...

The event loop's thread reads, and never blocks. When there is nothing to read, a thread waits for the ring; each handle
has one. Only that thread uses the handle during the wait, and it reads nothing. So a task that is cancelled, or times
out, loses no record, and the next task joins the same wait.

Timeouts are asyncio's own, `asyncio.timeout`. A handle belongs to the event loop in which it first waited. Any number
of tasks there may use it, and each record goes to one of them. Leaving a loop by ``break`` does not close the handle:
use ``async with``. A handle is also closed when it is garbage collected.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterable
from typing import Any, Generic, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt

from chronostream import ring
from chronostream.errors import ClosedError, StreamNotFoundError
from chronostream.event import Event, Frequency
from chronostream.ring.records import checked_limit
from chronostream.stream.events import LOOK_AGAIN_S, EventStream, look_for_stream
from chronostream.stream.events import subscribe as subscribe_blocking

__all__ = ["AsyncConsumer", "AsyncEventStream", "attach", "subscribe"]

_BATCH = 1024
# A wait in the ring cannot be ended from outside, so it looks this often whether the handle was closed.
_TURN_S = 0.1

_Source = TypeVar("_Source", bound=ring.Consumer | EventStream)
_Outcome = bool | Exception | None


class _Handle(Generic[_Source]):
    """What both kinds have: a blocking handle, opened as soon as its stream exists, and its waiter."""

    def __init__(self, name: str, open_source: Callable[[], _Source], wait_s: float) -> None:
        self.name = name
        self._source: _Source | None = None
        self._waiter: _Waiter | None = None
        self._look = look_for_stream(open_source, wait_s)
        self._closed = False
        self._try_to_open()

    @property
    def lost(self) -> int:
        """How many records were overwritten before they were read."""
        return 0 if self._source is None else self._source.lost

    @property
    def lag(self) -> int:
        """How many records are published, and neither read nor lost yet."""
        return 0 if self._source is None else self._source.lag

    @property
    def closed(self) -> bool:
        """Whether the stream is marked closed; the rest of it can still be read."""
        return self._source is not None and self._source.closed

    async def read(self, limit: int | None = None) -> npt.NDArray[Any]:
        """Return the records that are there, at most `limit` and maybe none, as an array; does not wait for more.

        Raises:
            StreamNotFoundError: the stream did not exist within `wait_s`.
            LostError: records were lost, and ``on_lost="raise"``; the next call goes on.
            ClosedError: the handle was closed.
        """
        source, waiter = await self._opened()
        if waiter.waiting:
            if not source.lag:
                return np.empty(checked_limit(limit, 0), waiter.consumer.dtype)
            await waiter.wait()  # There is something to read: the thread's wait has ended, or ends at once.
        return source.read(limit)

    async def wait(self) -> bool:
        """Wait for something to read.

        Returns:
            True: there is something. False: the stream is closed and drained.

        Raises:
            StreamNotFoundError: the stream did not exist within `wait_s`.
            StreamRemovedError: the stream was removed.
            ProducerGoneError: the producer died, and ``on_gone="raise"``.
            LostError: records were lost, and ``on_lost="raise"``; the next call goes on.
            ClosedError: the handle was closed, before or during the wait.
        """
        source, waiter = await self._opened()
        while waiter.waiting or not source.wait(0):
            if not await waiter.wait():
                return False
        return True

    async def aclose(self) -> None:
        """Close the handle and end its thread; closing twice is fine. A task that waits gets `ClosedError`."""
        self._closed = True
        if self._waiter is not None:
            await self._waiter.aclose()

    def __aiter__(self) -> Self:
        """Return the handle itself."""
        return self

    async def __aenter__(self) -> Self:
        """Return the handle itself, once its stream exists."""
        await self._opened()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        kind = type(self).__name__
        if self._source is not None:
            return f"<{kind} of {self._source!r}>"
        return f"<{kind} {self.name!r}: {'this handle is closed' if self._closed else 'does not exist yet'}>"

    def __del__(self) -> None:
        if (waiter := getattr(self, "_waiter", None)) is not None:
            waiter.abandon()

    async def _opened(self) -> tuple[_Source, _Waiter]:
        while True:
            if self._closed:
                raise ClosedError(f"the handle on stream {self.name!r} was closed: open another one")
            if self._source is not None and self._waiter is not None:
                return self._source, self._waiter
            await asyncio.sleep(LOOK_AGAIN_S)
            if not self._closed and self._source is None:  # Another task may have been quicker.
                self._try_to_open()

    def _try_to_open(self) -> None:
        source: ring.Consumer | EventStream | None
        source = self._source = self._look()
        if source is not None:
            self._waiter = _Waiter(source.consumer if isinstance(source, EventStream) else source)


class AsyncEventStream(_Handle[EventStream]):
    """The events of one stream, as `Event` objects in a loop or as arrays of `EVENT_DTYPE`; `subscribe` makes it.

    A loop over it ends when the stream is closed and drained.
    """

    _in_a_row = 0

    async def __anext__(self) -> Event:
        """Return the next event; wait until there is one. Errors as for `wait`."""
        self._in_a_row += 1
        if self._in_a_row % _BATCH == 0:
            await asyncio.sleep(0)  # A long backlog must not keep other tasks waiting.
        if not await self.wait():
            raise StopAsyncIteration
        assert self._source is not None
        return next(self._source)


class AsyncConsumer(_Handle[ring.Consumer]):
    """The records of any ring, as arrays of its dtype; `attach` makes it.

    A loop over it gives arrays that are not empty, and ends when the ring is closed and drained.
    """

    @property
    def consumer(self) -> ring.Consumer:
        """The blocking handle, for its dtype, capacity and the like; do not wait, read or close there.

        Raises:
            StreamNotFoundError: the ring does not exist yet.
        """
        if self._source is None:
            raise StreamNotFoundError(
                f"stream {self.name!r} does not exist yet: enter the handle with `async with` first"
            )
        return self._source

    async def __anext__(self) -> npt.NDArray[Any]:
        """Return the next records; wait until there are any. Errors as for `wait`."""
        await asyncio.sleep(0)  # A long backlog must not keep other tasks waiting.
        while await self.wait():
            assert self._source is not None
            records = self._source.read(_BATCH)
            if len(records):
                return records
        raise StopAsyncIteration


def subscribe(
    name: str,
    frequencies: Iterable[Frequency | str | int] | None = None,
    start: Literal["next", "oldest"] = "next",
    *,
    wait_s: float = 0,
    on_lost: Literal["count", "raise"] = "count",
    on_gone: Literal["wait", "raise"] = "wait",
    label: str | None = None,
    any_owner: bool = False,
) -> AsyncEventStream:
    """Subscribe to the events of a stream; arguments and errors as for `chronostream.subscribe`.

    If the stream does not exist yet, the handle looks for it during the next `wait_s` seconds, whenever it is awaited.
    """
    chosen = None if frequencies is None else Frequency.parse_all(frequencies)

    def open_stream() -> EventStream:
        return subscribe_blocking(
            name, chosen, start, on_lost=on_lost, on_gone=on_gone, label=label, any_owner=any_owner
        )

    return AsyncEventStream(name, open_stream, wait_s)


def attach(
    name: str,
    start: Literal["oldest", "next"] = "oldest",
    *,
    wait_s: float = 0,
    register: bool = True,
    on_gone: Literal["wait", "raise"] = "wait",
    label: str | None = None,
    any_owner: bool = False,
) -> AsyncConsumer:
    """Attach to any ring; arguments and errors as for `chronostream.ring.Consumer.attach`.

    `wait_s` is as for `subscribe`.
    """

    def open_consumer() -> ring.Consumer:
        return ring.Consumer.attach(name, start, register=register, on_gone=on_gone, label=label, any_owner=any_owner)

    return AsyncConsumer(name, open_consumer, wait_s)


class _Waiter:
    """Waits for a consumer in a thread of its own, one wait at a time; used from one event loop."""

    def __init__(self, consumer: ring.Consumer) -> None:
        self.consumer = consumer
        self._orders: queue.SimpleQueue[asyncio.Future[_Outcome] | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._wait: asyncio.Future[_Outcome] | None = None
        self._ended: asyncio.Future[_Outcome] | None = None

    @property
    def waiting(self) -> bool:
        """Whether the thread has the handle."""
        return self._wait is not None and not self._wait.done()

    async def wait(self) -> bool:
        """Join the current wait, or begin one. True: something to read; false: closed and drained."""
        if self._wait is None or self._wait.done():
            self._wait = asyncio.get_running_loop().create_future()
            self._orders.put(self._wait)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_serve,
                    args=(self.consumer, self._orders, self._stop),
                    name=f"chronostream wait {self.consumer.name}",
                    daemon=True,  # A handle that was never closed must not keep the process alive.
                )
                self._thread.start()
        outcome = await asyncio.shield(self._wait)
        if isinstance(outcome, Exception):
            raise outcome
        return bool(outcome)

    async def aclose(self) -> None:
        """End the wait, close the consumer, and return when the thread has ended."""
        if self._thread is None or not self._thread.is_alive():  # A forked child does not have the thread.
            self.consumer.close()
            return
        if self._ended is None:
            self._ended = asyncio.get_running_loop().create_future()
            self._stop.set()
            self._orders.put(self._ended)
            if self._wait is not None:
                _set_result(self._wait, _closed(self.consumer))
        await asyncio.shield(self._ended)
        self._thread.join()  # It ends now: this future was its last.

    def abandon(self) -> None:
        """Do the same without an event loop: the thread closes the consumer within a turn."""
        self._stop.set()
        self._orders.put(None)
        if self._thread is None:
            self.consumer.close()


def _serve(
    consumer: ring.Consumer, orders: queue.SimpleQueue[asyncio.Future[_Outcome] | None], stop: threading.Event
) -> None:
    """Wait once for each future in `orders`, and set its result; end with the first one after `stop`."""
    while True:
        future = orders.get()
        if stop.is_set():
            break
        assert future is not None
        _post(future, _wait_for(consumer, stop))
        del future
    consumer.close()
    if future is not None:
        _post(future, None)


def _wait_for(consumer: ring.Consumer, stop: threading.Event) -> _Outcome:
    try:
        while not stop.is_set():
            if consumer.wait(_TURN_S):
                return True
            if consumer.closed:
                return consumer.lag > 0
    except Exception as error:  # noqa: BLE001 - the task that waits gets it, whatever it is
        return error
    return _closed(consumer)


def _post(future: asyncio.Future[_Outcome], outcome: _Outcome) -> None:
    with contextlib.suppress(RuntimeError):  # The event loop was closed, and its tasks with it.
        future.get_loop().call_soon_threadsafe(_set_result, future, outcome)


def _set_result(future: asyncio.Future[_Outcome], outcome: _Outcome) -> None:
    if not future.done():
        future.set_result(outcome)


def _closed(consumer: ring.Consumer) -> ClosedError:
    return ClosedError(f"the handle on stream {consumer.name!r} was closed: open another one")

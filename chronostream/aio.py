"""Streams and rings for asyncio.

::

    async with cs.aio.subscribe("market-clock", {"minute"}) as events:
        async for event in events:
            ...

The event loop's thread reads, and never blocks. When there is nothing to read, another thread waits for the ring. One
serves all handles of the process, or several if these are on more than 127 rings; before Linux 5.16, which has no
`futex_waitv`, there is one for each ring. It reads nothing. So a task that is cancelled, or times out, loses no record,
and the next task joins the same wait.

Timeouts are asyncio's own, `asyncio.timeout`. A handle belongs to the event loop in which it first waited. Any number
of tasks there may use it, and each record goes to one of them. Leaving a loop by ``break`` does not close the handle:
use ``async with``. A handle is also closed when it is garbage collected.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Generic, Literal, Self, TypeVar

import numpy.typing as npt

from chronostream import ring
from chronostream.errors import ClosedError, StreamNotFoundError
from chronostream.event import Event, Frequency
from chronostream.ring.waiting import Watch
from chronostream.stream.events import LOOK_AGAIN_S, EventStream, look_for_stream
from chronostream.stream.events import subscribe as subscribe_blocking

__all__ = ["AsyncConsumer", "AsyncEventStream", "attach", "subscribe"]

_BATCH = 1024

_Source = TypeVar("_Source", bound=ring.Consumer | EventStream)


class _Handle(Generic[_Source]):
    """What both kinds have: a blocking handle, opened as soon as its stream exists, and its waits."""

    def __init__(self, name: str, open_source: Callable[[], _Source], wait_s: float) -> None:
        self.name = name
        self._source: _Source | None = None
        self._watch: Watch | None = None
        self._change: asyncio.Future[bool] | None = None  # the wait that has begun, for all tasks
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
        source, _ = await self._opened()
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
        while True:
            source, watch = await self._opened()
            if source.wait(0):
                return True
            if source.closed:
                return source.wait(0)  # The stream may have been published to before it was closed.
            await self._changed(watch)

    async def aclose(self) -> None:
        """Close the handle; closing twice is fine. A task that waits gets `ClosedError`."""
        self._closed = True
        if self._change is not None:
            _set_result(self._change, False)
        if self._watch is not None:
            self._watch.close()
        if self._source is not None:
            self._source.close()

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
        if (watch := getattr(self, "_watch", None)) is not None:
            watch.abandon()
        if (source := getattr(self, "_source", None)) is not None:
            source.close()

    async def _opened(self) -> tuple[_Source, Watch]:
        while True:
            if self._closed:
                raise ClosedError(f"the handle on stream {self.name!r} was closed: open another one")
            if self._source is not None and self._watch is not None:
                return self._source, self._watch
            await asyncio.sleep(LOOK_AGAIN_S)
            if not self._closed and self._source is None:  # Another task may have been quicker.
                self._try_to_open()

    async def _changed(self, watch: Watch) -> None:
        """Wait until it may be worth to look again; raise what is wrong with the stream."""
        if self._change is None or self._change.done():
            change = asyncio.get_running_loop().create_future()
            if not watch.begin(partial(_post, change)):
                await asyncio.sleep(0)
                return
            self._change = change
        if await asyncio.shield(self._change):
            watch.check()

    def _try_to_open(self) -> None:
        source: ring.Consumer | EventStream | None
        source = self._source = self._look()
        if source is not None:
            self._watch = Watch(source.consumer if isinstance(source, EventStream) else source)


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


def _post(change: asyncio.Future[bool], wrong: bool) -> None:
    with contextlib.suppress(RuntimeError):  # The event loop was closed, and its tasks with it.
        change.get_loop().call_soon_threadsafe(_set_result, change, wrong)


def _set_result(change: asyncio.Future[bool], wrong: bool) -> None:
    if not change.done():
        change.set_result(wrong)

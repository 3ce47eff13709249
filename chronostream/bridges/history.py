"""Reads the events of a stream that JetStream holds, from one boundary to another, as arrays."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from chronostream._renamed import renamed
from chronostream._values import Instant, checked_seconds, open_range
from chronostream.bridges.connection import Connection, ConnectionOptions
from chronostream.bridges.jetstream import Origin, stream_for
from chronostream.bridges.reader import JetStreamReader, Part
from chronostream.calendar.order import in_range, key_before
from chronostream.errors import BridgeError
from chronostream.event import Frequency

__all__ = ["audit", "fetch", "fetch_async", "fetch_origin"]

_T = TypeVar("_T")


@renamed(patience_s="timeout_s")
def fetch(
    connection: ConnectionOptions,
    name: str,
    *,
    stream: str | None = None,
    frequencies: Iterable[Frequency | str | int] | None = None,
    start_ns: Instant | None = None,
    end_ns: Instant | None = None,
    timeout_s: float = 5,
) -> Iterator[npt.NDArray[np.void]]:
    """Yield the events that JetStream holds at the start: arrays of `EVENT_DTYPE`, shape ``(n,)``, in order.

    It blocks. Where an event loop runs, use `fetch_async`.

    Args:
        connection: addresses and credentials of NATS.
        name: of the stream in JetStream: its name where it is produced, unless its relay uses another one.
        stream: the JetStream stream; ``CHRONOSTREAM_`` and the name by default.
        frequencies: of the events to yield; all if None.
        start_ns: start of the range; the oldest event if None.
        end_ns: end of the range (exclusive); no end if None.
        timeout_s: how long to wait for a server, at the start and after each disconnection.

    Raises:
        BridgeError: the server refuses access, no server answers, or the JetStream stream does not exist.
        StreamMismatchError: the JetStream stream holds the events of another stream.
    """
    return _iterate(
        fetch_async(
            connection,
            name,
            stream=stream,
            frequencies=frequencies,
            start_ns=start_ns,
            end_ns=end_ns,
            timeout_s=timeout_s,
        )
    )


def fetch_async(
    connection: ConnectionOptions,
    name: str,
    *,
    stream: str | None = None,
    frequencies: Iterable[Frequency | str | int] | None = None,
    start_ns: Instant | None = None,
    end_ns: Instant | None = None,
    timeout_s: float = 5,
) -> AsyncGenerator[npt.NDArray[np.void], None]:
    """Yield the same as `fetch`, for ``async for``; arguments and errors as for it."""
    chosen = None if frequencies is None else Frequency.parse_all(frequencies)
    low_ns, high_ns = open_range(start_ns, end_ns)
    after = None if low_ns is None else key_before(low_ns)
    return _records(_reader(connection, name, stream, timeout_s, after=after), high_ns, chosen)


def audit(
    connection: ConnectionOptions, name: str, *, stream: str | None = None, timeout_s: float = 5
) -> Iterator[Part]:
    """Yield all that JetStream holds at the start, as it is stored; arguments and errors as for `fetch`.

    Unlike `fetch` it keeps events that are duplicates or out of order, and says which messages are no events.
    """
    return _iterate(_parts(_reader(connection, name, stream, timeout_s, audit=True)))


@renamed(patience_s="timeout_s")
def fetch_origin(
    connection: ConnectionOptions, name: str, *, stream: str | None = None, timeout_s: float = 5
) -> Origin:
    """Return the description of a stream in JetStream; arguments and errors as for `fetch`."""
    reader = _reader(connection, name, stream, timeout_s)

    _check_no_loop()

    async def ask() -> Origin:
        try:
            return await reader.open()
        finally:
            await reader.connection.close()

    return asyncio.run(ask())


def _reader(
    connection: ConnectionOptions, name: str, stream: str | None, timeout_s: float, **options: Any
) -> JetStreamReader:
    timeout_s = checked_seconds("timeout_s", timeout_s)
    nats = Connection(connection, f"chronostream history {name}", timeout_s=timeout_s)
    return JetStreamReader(nats, stream_for(name, stream), name, to_end=True, **options)


async def _parts(reader: JetStreamReader) -> AsyncGenerator[Part, None]:
    try:
        async for part in reader.parts():
            yield part
    finally:
        await reader.connection.close()


async def _records(
    reader: JetStreamReader, end_ns: int | None, frequencies: tuple[Frequency, ...] | None
) -> AsyncGenerator[npt.NDArray[np.void], None]:
    async with contextlib.aclosing(_parts(reader)) as parts:
        async for part in parts:
            inside = in_range(part.records, None, end_ns)
            chosen = inside if frequencies is None else inside & np.isin(part.records["frequency"], frequencies)
            if chosen.any():
                yield part.records[chosen]
            if not inside.all():
                return


def _iterate(items: AsyncGenerator[_T, None]) -> Iterator[_T]:
    """Yield the items of an asynchronous generator, which runs only while the caller waits for one."""
    _check_no_loop()

    async def next_item() -> _T | None:
        return await anext(items, None)

    async def close() -> None:
        await items.aclose()

    with asyncio.Runner() as runner:
        try:
            while (item := runner.run(next_item())) is not None:
                yield item
        finally:
            runner.run(close())


def _check_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise BridgeError("this blocks, and an event loop runs in this thread: use fetch_async, or asyncio.to_thread")

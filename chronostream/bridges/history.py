"""What JetStream holds of a stream, from one boundary to another, as arrays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from chronostream.bridges.connection import ConnectionOptions, Link
from chronostream.bridges.continuity import order_before
from chronostream.bridges.jetstream import Origin, stream_for
from chronostream.bridges.reader import Reader
from chronostream.calendar.gaps import check_window
from chronostream.event import Frequency

__all__ = ["fetch", "fetch_origin"]


def fetch(
    connection: ConnectionOptions,
    name: str,
    *,
    stream: str | None = None,
    frequencies: Iterable[Frequency | str | int] | None = None,
    start_ns: int | None = None,
    end_ns: int | None = None,
    patience_s: float = 5,
) -> Iterator[npt.NDArray[np.void]]:
    """Yield the events that JetStream holds when this begins: arrays of `EVENT_DTYPE`, shape ``(n,)``, in order.

    Args:
        connection: where NATS is.
        name: the stream's name where it is produced, or what its relay calls it.
        stream: the JetStream stream; ``CHRONOSTREAM_`` and the name by default.
        frequencies: which events; all of them if None.
        start_ns: the first boundary, Unix nanoseconds; the oldest that is held if None.
        end_ns: the boundary that comes behind the last, not before `start_ns`; none if None.
        patience_s: how long to wait for a server, at the beginning and whenever it is away.

    Raises:
        BridgeError: there is no server or no such JetStream stream, or it does not let us in.
        StreamMismatchError: the JetStream stream holds other events.
        UnknownFrequencyError: not a frequency that events have.
        InvalidValueError: the range ends before it starts, or another argument is out of its range.
        InvalidTypeError: an argument is of the wrong kind.
    """
    wanted = None if frequencies is None else Frequency.parse_all(frequencies)
    check_window(start_ns, end_ns)
    after = None if start_ns is None else order_before(start_ns)
    return _in_turns(_read(_reader(connection, name, stream, patience_s, after), end_ns), wanted)


def fetch_origin(
    connection: ConnectionOptions, name: str, *, stream: str | None = None, patience_s: float = 5
) -> Origin:
    """Return what the events of a stream in JetStream are; arguments and errors as for `fetch`."""
    reader = _reader(connection, name, stream, patience_s)

    async def ask() -> Origin:
        try:
            return await reader.open()
        finally:
            await reader.link.close()

    return asyncio.run(ask())


def _reader(
    connection: ConnectionOptions, name: str, stream: str | None, patience_s: float, after: int | None = None
) -> Reader:
    link = Link(connection, f"chronostream history {name}", patience_s=patience_s)
    return Reader(link, stream_for(name, stream), name, after=after)


async def _read(reader: Reader, end_ns: int | None) -> AsyncIterator[npt.NDArray[np.void]]:
    try:
        await reader.open()
        await reader.end_with_last()
        async for part in reader.parts():
            records = part.records
            if end_ns is not None:
                records = records[records["timestamp"] < end_ns]
            yield records
            if len(records) < len(part.records):
                return
    finally:
        await reader.link.close()


def _in_turns(
    parts: AsyncIterator[npt.NDArray[np.void]], wanted: tuple[Frequency, ...] | None
) -> Iterator[npt.NDArray[np.void]]:
    """Yield what an asynchronous iterator does; between two turns nothing of it runs."""

    async def turn() -> npt.NDArray[np.void] | None:
        return await anext(parts, None)

    with asyncio.Runner() as runner:
        while (records := runner.run(turn())) is not None:
            chosen = records if wanted is None else records[np.isin(records["frequency"], wanted)]
            if len(chosen):
                yield chosen

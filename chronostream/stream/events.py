"""A ring of events, read as `Event` objects or as arrays."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt

from chronostream._exclusive import Exclusive
from chronostream._values import checked_seconds
from chronostream.errors import (
    ChronoStreamError,
    InvalidValueError,
    LayoutMismatchError,
    LostError,
    StreamNotFoundError,
)
from chronostream.event import EVENT_DTYPE, Event, Frequency, to_events
from chronostream.ring import Consumer
from chronostream.ring.core import IdleStrategy
from chronostream.ring.records import checked_limit

__all__ = ["LOOK_AGAIN_S", "EventStream", "look_for_stream", "require_events", "subscribe", "wait_for_stream"]

_T = TypeVar("_T")

LOOK_AGAIN_S = 0.02
"""How long to wait between two looks for a stream that does not exist yet."""

_BATCH = 1024


class EventStream(Exclusive):
    """The events of one stream from some position on: an iterator that blocks, and a reader that does not.

    A loop over it ends when the stream is closed and drained. Use it as a context manager; one thread at a time. A
    signal handler or a finalizer that uses it in the middle of another call may get `BusyError`.

    Attributes:
        consumer: the handle on the ring.
        frequencies: those that it returns; all of them if None.
    """

    def __init__(self, consumer: Consumer, frequencies: frozenset[Frequency] | None, *, on_lost: str) -> None:
        self.consumer = consumer
        self.frequencies = frequencies
        self._on_lost = on_lost
        self._passes = None if frequencies is None else np.isin(np.arange(256), list(frequencies))
        self._batch = np.empty(0, EVENT_DTYPE)  # the records of the last batch of `Event` objects
        self._events: list[Event] = []  # those that are not yet returned, the next one last
        self._pending = self._batch  # read from the ring after that batch
        self._loss: LostError | None = None  # to be raised once the pending ones are returned
        self._after_loss = self._batch  # read after the loss

    @property
    def lost(self) -> int:
        """How many events, of any frequency, were overwritten before this stream read them."""
        return self.consumer.lost

    @property
    def lag(self) -> int:
        """How many events are published and not yet returned; those in the ring count whatever their frequency."""
        return self.consumer.lag + len(self._events) + len(self._pending) + len(self._after_loss)

    @property
    def closed(self) -> bool:
        """Whether the stream is marked closed; what is left of it can still be read."""
        return self.consumer.closed

    def read(self, limit: int | None = None) -> npt.NDArray[np.void]:
        """Return the events that are there, at most `limit`, as an array of `EVENT_DTYPE`; never blocks.

        Raises:
            LostError: the next events were lost, and ``on_lost="raise"``; the next call continues behind them.
        """
        return self._exclusively(self._take, checked_limit(limit, self.lag))

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for an event, for `timeout_s` seconds or for ever.

        Returns:
            True: there is one to read. False: the time is up, or the stream is closed and drained.

        Raises:
            LostError: as for `read`.
            StreamRemovedError: the stream was removed.
            ProducerGoneError: the producer died, and ``on_gone="raise"``.
        """
        deadline_s = math.inf if timeout_s is None else time.monotonic() + checked_seconds("timeout_s", timeout_s)
        while not self._exclusively(self._has_events):
            remaining_s = max(0.0, deadline_s - time.monotonic())
            if not self.consumer.wait(remaining_s):
                return False
            if not remaining_s:
                return self._exclusively(self._has_events)
        return True

    def close(self) -> None:
        """Release the stream; twice is fine."""
        self.consumer.close()
        self._events, self._pending = [], self._batch[:0]

    def __iter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __next__(self) -> Event:
        """Return the next event; block until there is one. It raises what `wait` raises."""
        while True:
            try:
                return self._events.pop()
            except IndexError:
                if not self.wait():
                    raise StopIteration from None
                self._exclusively(self._convert)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        labels = "all frequencies" if self.frequencies is None else ", ".join(map(str, sorted(self.frequencies)))
        try:
            state = "closed" if self.closed else "live" if self.consumer.producer_alive else "dead"
            facts = f"{state}, position {self.consumer.position}, lag {self.lag}, lost {self.lost}"
        except (ChronoStreamError, OSError):
            facts = "this handle is closed"
        return f"<{type(self).__name__} {self.consumer.name!r}: {facts}, {labels}>"

    def _take(self, count: int) -> npt.NDArray[np.void]:
        events, self._events = self._events, []
        if events:
            self._pending = np.concatenate([self._batch[-len(events) :], self._pending])
        self._fill(count)
        records, self._pending = self._pending[:count], self._pending[count:]
        return records

    def _has_events(self) -> bool:
        if not self._events:
            self._fill(1)
        return bool(self._events) or len(self._pending) > 0

    def _convert(self) -> None:
        """Make `Event` objects of the next batch, unless a call in between did, or returned its records."""
        if not self._events:
            batch = self._pending[:_BATCH]
            events = to_events(batch)[::-1]
            self._batch, self._events, self._pending = batch, events, self._pending[_BATCH:]

    def _fill(self, count: int) -> None:
        """Read until `count` events are pending, but only what is published by now: a fast producer never stops."""
        end = self.consumer.position + self.consumer.lag
        while True:
            if self._loss is not None and not len(self._pending):
                loss, self._loss = self._loss, None
                self._pending, self._after_loss = self._after_loss, self._pending
                raise loss
            if self._loss is not None or len(self._pending) >= count or self.consumer.position >= end:
                return
            self._fetch()

    def _fetch(self) -> None:
        """Move a batch from the ring to the pending events, or behind a loss that comes after those."""
        position, lost = self.consumer.position, self.consumer.lost
        records = self.consumer.read(_BATCH)
        if self._passes is not None:
            records = records[self._passes[records["frequency"]]]
        newly_lost = self.consumer.lost - lost
        if newly_lost and self._on_lost == "raise":
            self._loss = LostError(position, position + newly_lost - 1)
            self._after_loss = records
        else:
            self._pending = np.concatenate([self._pending, records]) if len(self._pending) else records


def subscribe(
    name: str,
    frequencies: Iterable[Frequency | str | int] | None = None,
    start: Literal["next", "oldest"] = "next",
    *,
    wait_s: float = 0,
    on_lost: Literal["count", "raise"] = "count",
    on_gone: Literal["wait", "raise"] = "wait",
    idle: IdleStrategy = "blocking",
    label: str | None = None,
    any_owner: bool = False,
) -> EventStream:
    """Subscribe to the events of a stream.

    Args:
        name: the stream's name.
        frequencies: which events to hand out; all of them if None.
        start: with the ``"next"`` event to come, or with the ``"oldest"`` that the ring still holds.
        wait_s: how long to wait for the stream to exist.
        on_lost: events that were overwritten before they were read are counted in `EventStream.lost`; ``"raise"``
            also raises `LostError` once for each loss, and then continues.
        on_gone: when the producer died, ``"wait"`` for the next one, or ``"raise"`` `ProducerGoneError`.
        idle: what a wait does meanwhile: ``"blocking"`` sleeps until woken; ``"busy-spin"``, ``"yielding"`` and
            ``"sleeping"`` look again, from the quickest to the cheapest.
        label: name shown in the status, the program's by default.
        any_owner: also trust a stream that another user's process made.

    Raises:
        StreamNotFoundError: there is no such stream, not even after `wait_s`.
        LayoutMismatchError: the ring of that name does not carry events.
        CorruptSegmentError: its segment is damaged, or another program's.
        AccessDeniedError: it is another user's, or its mode keeps this process out.
    """
    if on_lost not in ("count", "raise"):
        raise InvalidValueError(f"on_lost is {on_lost!r}, expected one of 'count', 'raise'")
    chosen = None if frequencies is None else frozenset(Frequency.parse_all(frequencies))

    def attach() -> Consumer:
        return Consumer.attach(name, start, on_gone=on_gone, idle=idle, label=label, any_owner=any_owner)

    return EventStream(require_events(wait_for_stream(attach, wait_s)), chosen, on_lost=on_lost)


def wait_for_stream(attach: Callable[[], _T], wait_s: float) -> _T:
    """Call `attach` until its stream exists, for at most `wait_s` seconds, and return its result."""
    look = look_for_stream(attach, wait_s)
    # Counted as well: a test may have replaced the clock by one that stands still.
    for _ in range(math.ceil(checked_seconds("wait_s", wait_s) / LOOK_AGAIN_S)):
        if (found := look()) is not None:
            return found
        time.sleep(LOOK_AGAIN_S)
    return attach()


def look_for_stream(attach: Callable[[], _T], wait_s: float) -> Callable[[], _T | None]:
    """Return a function that does one turn of `wait_for_stream`, for asyncio; None means to call it again."""
    deadline_s = time.monotonic() + checked_seconds("wait_s", wait_s)

    def look() -> _T | None:
        try:
            return attach()
        except StreamNotFoundError:
            if time.monotonic() >= deadline_s:
                raise
            return None

    return look


def require_events(consumer: Consumer) -> Consumer:
    """Return the consumer if its ring carries events; otherwise close it and raise `LayoutMismatchError`."""
    if consumer.dtype == EVENT_DTYPE:
        return consumer
    consumer.close()
    raise LayoutMismatchError(
        f"ring {consumer.name!r} carries records of {consumer.dtype}, not events: read it with "
        "chronostream.ring.Consumer"
    )

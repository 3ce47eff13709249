"""A stream whose time a test moves: a real engine on a real ring, under a fake clock and without threads."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from contextlib import suppress
from numbers import Real
from typing import Any, Self

from chronostream import ring
from chronostream._values import Instant, checked_duration_ns, instant_ns, instant_text
from chronostream.clock import FakeClock
from chronostream.errors import ClosedError, StreamExistsError, StreamNotFoundError
from chronostream.event import Event, Frequency, to_events
from chronostream.producer.engine import Engine
from chronostream.stream.config import StreamConfig

__all__ = ["Feed"]

_numbers = itertools.count()


class Feed:
    """A stream that publishes when a test says so; it is deleted at the end of a ``with`` block, or by `close`.

    The producer works in the caller's thread, and only during the methods below. Each returns the events that it
    published; consumers, in this process or another, can read them from then on.

    Args:
        name: the stream's name; by default one that no other has.
        frequencies: those of its events.
        start: the first reading of the clock. The first event is that of the next boundary.
        options: further fields of `StreamConfig`, such as ``timezone="Europe/Berlin"``.

    Attributes:
        name: the stream's name.
        clock: the stream's clock; give it to tested code that reads or waits for the time.

    Raises:
        StreamExistsError: there is a stream of this name, which a test must not delete.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        frequencies: Iterable[Frequency | str | int] = (Frequency.SECOND,),
        start: Instant = "2026-01-01",
        **options: Any,
    ) -> None:
        self.name = f"testing-{os.getpid()}-{next(_numbers)}" if name is None else name
        self._config = StreamConfig(name=self.name, frequencies=frequencies, **options)
        self.clock = FakeClock(instant_ns("start", start))
        if self.name in ring.list_names():
            raise StreamExistsError(
                f"stream {self.name!r} exists, and a feed is deleted in the end: use another name, or remove the "
                f"stream first (`chronostream remove {self.name}`)"
            )
        self._closed = False
        self._start()

    def advance(self, seconds: float) -> list[Event]:
        """Let time pass, 0 seconds or more, during which the producer publishes each event on time."""
        end_ns = self.clock.realtime_ns() + checked_duration_ns("seconds", seconds)
        events: list[Event] = []
        while self._deadline_ns is not None and self._deadline_ns <= end_ns:
            self.clock.advance(self._deadline_ns - self.clock.realtime_ns())
            events += self._look()
        self.clock.advance(end_ns - self.clock.realtime_ns())
        return events

    def suspend(self, seconds: float) -> list[Event]:
        """Let the machine sleep for 0 seconds or more; afterwards the producer looks what is due."""
        self.clock.suspend(checked_duration_ns("seconds", seconds))
        return self._look()

    def step(self, seconds: float) -> list[Event]:
        """Set the wall clock by so many seconds, back if negative; no time passes, and the producer notices."""
        is_back = isinstance(seconds, Real) and seconds < 0
        ns = checked_duration_ns("seconds", -seconds if is_back else seconds)
        self.clock.step(-ns if is_back else ns)
        return self._look()

    def stop(self) -> None:
        """Stop the producer, which marks the stream closed. Time may pass until `restart`."""
        self._engine.close()
        self._end()

    def crash(self) -> None:
        """Have the producer die, so that the stream stays as it is. Time may pass until `restart`."""
        self._engine.ring._segment.close()  # noqa: SLF001 - no public method releases a stream without closing it
        self._end()

    def restart(self) -> list[Event]:
        """Have another producer take the stream over, and look what is due; one that still works is stopped first.

        Raises:
            ClosedError: the feed was closed.
        """
        if self._closed:
            raise ClosedError(f"the feed {self.name!r} was closed: make another one")
        self.stop()
        self._start()
        return to_events(self._reader.read())

    def close(self) -> None:
        """Close the stream and delete it. Twice is fine."""
        if self._closed:
            return  # By now, a stream of this name is another one.
        self._closed = True
        self.stop()
        with suppress(StreamNotFoundError):
            ring.remove(self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Feed {self.name!r} at {instant_text(self.clock.realtime_ns())}>"

    def _start(self) -> None:
        self._engine = Engine(self._config, clock=self.clock)
        self._reader = ring.Consumer.attach(self.name, "next", register=False)
        self._deadline_ns: int | None = self._engine.step()

    def _end(self) -> None:
        self._reader.close()
        self._deadline_ns = None

    def _look(self) -> list[Event]:
        if self._deadline_ns is None:
            return []
        self._deadline_ns = self._engine.step()
        return to_events(self._reader.read())

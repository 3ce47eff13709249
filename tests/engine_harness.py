"""What the engine's tests share: engines of one stream under one fake clock, without threads."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from typing import Any, Self

import pytest

from chronostream.boundaries import count_boundaries
from chronostream.clock import FakeClock
from chronostream.event import Event, Frequency, to_events
from chronostream.producer.engine import Engine
from chronostream.ring import Consumer
from chronostream.stream.config import StreamConfig
from chronostream.stream.description import Description
from chronostream.stream.state import Checkpoint, StateReader
from chronostream.stream.status import EngineStatus, stream_status
from tests.ring.harness import path_of

SECOND, MINUTE, HOUR, DAY = Frequency.SECOND, Frequency.MINUTE, Frequency.HOUR, Frequency.DAY

NS = 1_000_000_000
HOUR_S, DAY_S, YEAR_S = 3600, 86_400, 31_536_000
NOON_S = 1_700_000_000 // DAY_S * DAY_S + DAY_S // 2
"""A noon in UTC: every run starts half a second after it, and times are told in seconds since."""
START_NS = NOON_S * NS + NS // 2

_numbers = itertools.count()

Emitted = list[tuple[Frequency, int]]


class Run:
    """A stream and the engines that emit it, one after the other; gone at the end of the block, whatever happened.

    Attributes:
        engine: the latest one.
        lines: what the latest engine logged: level and text.
    """

    def __init__(self, *frequencies: Frequency, **options: Any) -> None:
        self.name = f"engine-{os.getpid()}-{next(_numbers)}"
        self.clock = FakeClock(START_NS, boottime_ns=1000 * NS)
        self.options: dict[str, Any] = {"frequencies": frequencies or (SECOND,), "capacity": 64} | options
        self.lines: list[tuple[int, str]] = []
        self._open = contextlib.ExitStack()
        self._consumer: Consumer | None = None

    def config(self, **options: Any) -> StreamConfig:
        return StreamConfig(
            **{"name": self.name, "instance_id": "host", "producer_version": "1"} | self.options | options
        )

    def start(self, parts: dict[str, Any] | None = None, **options: Any) -> Engine:
        """Make an engine, with `parts` by injection; it has not taken a step yet."""
        self.lines.clear()
        self.engine = Engine(self.config(**options), **({"clock": self.clock} | (parts or {})))
        self._open.callback(self.engine.close)
        return self.engine

    def restart(self, **options: Any) -> Emitted:
        """Stop the engine, go on with another one, look, and return what is emitted."""
        self.stop()
        self.start(**options)
        return self.look()

    def stop(self) -> None:
        """Stop the engine: the stream is marked closed."""
        self.engine.close()

    def die(self) -> None:
        """Let the stream go as the system does for a process that was killed: the lock falls, nothing else changes."""
        self.engine.ring._segment.close()

    def look(self) -> Emitted:
        """Let the engine take a step, and return what is emitted."""
        before = len(self.events())
        self.engine.step()
        return [(event.frequency, event.timestamp // NS - NOON_S) for event in self.events()[before:]]

    def after(self, seconds: float) -> Emitted:
        """Let so much time pass unseen, look, and return what is emitted."""
        self.clock.advance(round(seconds * NS))
        return self.look()

    def hang(self, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let so much time pass unseen by the engine, but seen by those who ask for the stream's status."""
        monkeypatch.setattr("chronostream.stream.status._CLOCK", self.clock)
        self.clock.advance(round(seconds * NS))

    def set_clock(self, seconds: float) -> Emitted:
        """Set the wall clock by so much, look, and return what is emitted."""
        self.clock.step(round(seconds * NS))
        return self.look()

    def second_by_second(self, seconds: int) -> Emitted:
        return [emitted for _ in range(seconds) for emitted in self.after(1)]

    def events(self) -> list[Event]:
        """Return all events of the stream; fails if some were overwritten before they were read."""
        if self._consumer is None:
            self._consumer = self._open.enter_context(Consumer.attach(self.name, register=False))
            self._events: list[Event] = []
        self._events += to_events(self._consumer.read())
        assert self._consumer.lost == 0
        return self._events

    def status(self) -> EngineStatus:
        status = stream_status(self.name).engine
        assert status is not None
        return status

    def description(self) -> Description:
        description = stream_status(self.name).description
        assert description is not None
        return description

    def missed(self, frequency: Frequency = SECOND) -> int:
        return next(known.missed for known in self.status().frequencies if known.frequency is frequency)

    def facts(self) -> dict[str, int]:
        """Return how often each kind of fact occurred in this run, those that did."""
        return {label: count for label, count in self.status().counts.items() if count}

    def checkpoint(self) -> Checkpoint:
        with Consumer.attach(self.name, register=False) as consumer:
            checkpoint = StateReader(consumer.application).checkpoint()
        assert checkpoint is not None
        return checkpoint

    def segment(self) -> bytes:
        """Return every byte of the stream's segment."""
        return path_of(self.name).read_bytes()

    def check_accounts(self) -> None:
        """Each boundary since the start up to the floor was emitted or missed, once; no sequence was used twice."""
        checkpoint = self.checkpoint()
        numbers = {frequency: last.sequence for frequency, last in checkpoint.published.items()}
        assert sum(numbers.values()) == checkpoint.position
        for known in checkpoint.scheduler.frequencies:
            passed = count_boundaries(known.frequency, START_NS + 1, known.floor_ns + 1, self.config().timezone)
            assert numbers[known.frequency] + known.missed == passed

    def check_events(self) -> None:
        """The events of each frequency count from 1, and their boundaries increase."""
        for frequency in self.config().scheduler().frequencies:
            events = [event for event in self.events() if event.frequency is frequency]
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            boundaries = [event.timestamp for event in events]
            assert boundaries == sorted(set(boundaries))

    def __enter__(self) -> Self:
        logger = logging.getLogger("chronostream.producer.engine")
        level = logger.level
        logger.setLevel(logging.INFO)
        self._open.callback(logger.setLevel, level)
        handler = _Lines(self.lines)
        logger.addHandler(handler)
        self._open.callback(logger.removeHandler, handler)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        path_of(self.name).unlink(missing_ok=True)


class _Lines(logging.Handler):
    def __init__(self, lines: list[tuple[int, str]]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append((record.levelno, record.getMessage()))

"""Waits under clocks that tests replace: by Python's (freezegun and its like), and below Python (libfaketime)."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chronostream.errors import StreamRemovedError
from chronostream.ring.core import IdleStrategy
from tests.process_harness import Programs
from tests.ring.harness import Handles, path_of

IDLE: list[IdleStrategy] = ["busy-spin", "yielding", "sleeping", "blocking"]
FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


def standing() -> float:
    return 1.8e9


def running_back() -> Iterator[float]:
    return (1e9 - turn for turn in itertools.count())


def leaping() -> Iterator[float]:
    return (turn % 2 * 1e9 for turn in itertools.count())


CLOCKS = [standing, running_back().__next__, leaping().__next__]


@pytest.mark.parametrize("clock", CLOCKS, ids=["standing", "running back", "leaping"])
@pytest.mark.parametrize("idle", IDLE)
def test_a_wait_ends_whatever_pythons_clock_says(
    own: Handles, idle: IdleStrategy, clock: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = own.create()
    consumer = own.attach(idle=idle)
    monkeypatch.setattr(time, "monotonic", clock)
    assert not consumer.wait(0.02)
    producer.publish(1)
    assert consumer.wait(0.02)
    assert consumer.read().tolist() == [1]
    producer.close()
    assert not consumer.wait()


@pytest.mark.usefixtures("checks_at_once")
def test_a_removed_stream_is_noticed_under_a_clock_that_stands(own: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    own.create()
    consumer = own.attach()
    monkeypatch.setattr(time, "monotonic", standing)
    path_of(own.name).unlink()
    with pytest.raises(StreamRemovedError):
        consumer.wait()


@pytest.mark.usefixtures("checks_at_once")
def test_a_removed_stream_is_noticed_by_short_waits_after_the_clock_was_put_back(
    own: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.create()
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", standing)
        consumer = own.attach()
    path_of(own.name).unlink()
    with pytest.raises(StreamRemovedError):
        consumer.wait(0)


@pytest.mark.skipif(FAKETIME is None and "CI" not in os.environ, reason="libfaketime is not installed")
@pytest.mark.parametrize("idle", IDLE)
def test_a_wait_below_a_frozen_clock_ends_and_ctrl_c_ends_it(own: Handles, idle: str, programs: Programs) -> None:
    assert FAKETIME is not None, "CI needs libfaketime (apt install faketime)"
    own.create()
    code = f"""
import time
from chronostream.ring import Consumer
assert time.monotonic() == time.monotonic(), "the clock is not frozen"
consumer = Consumer.attach({own.name!r}, idle={idle!r}, core={own.consumer_core!r})
try:
    print(consumer.wait(0.05), flush=True)
    consumer.wait()
except KeyboardInterrupt:
    print("interrupted")
"""
    frozen = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": "2026-01-01 00:00:00"}
    program = programs.python("-c", code, env=os.environ | frozen)
    assert program.out.line() == "False"
    program.send_signal(signal.SIGINT)
    assert program.wait() == 0
    assert program.out.rest() == "interrupted\n"

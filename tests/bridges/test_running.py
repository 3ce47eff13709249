from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from chronostream.bridges import running
from chronostream.bridges.running import Backoff, Troubles, first_of


def test_the_first_that_ends_ends_the_others() -> None:
    ended = []

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    asyncio.run(first_of(asyncio.sleep(0), wait_for_ever(), wait_for_ever()))
    assert ended == [True, True]


def test_what_the_first_raises_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("this")

    with pytest.raises(ValueError, match="this"):
        asyncio.run(first_of(fail(), asyncio.Event().wait()))


def test_one_that_swallows_its_cancellation_is_cancelled_again() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    asyncio.run(asyncio.wait_for(first_of(asyncio.sleep(0.01), stubborn()), 20))


def test_one_that_is_cancelled_again_while_it_cancels_still_waits_for_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_CANCEL_AGAIN_S", 0.01)
    ended = []

    async def stubborn() -> None:
        for _ in range(5):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        ended.append("stubborn")

    async def outer() -> None:
        await first_of(first_of(stubborn(), asyncio.Event().wait()), asyncio.sleep(0.01))
        ended.append("outer")

    asyncio.run(asyncio.wait_for(outer(), 20))
    assert ended == ["stubborn", "outer"]


def test_a_clean_up_that_takes_its_time_comes_to_its_end() -> None:
    ended = []

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.7)
            ended.append("inner")

    async def outer() -> None:
        await first_of(first_of(slow(), asyncio.Event().wait()), asyncio.sleep(0.01))
        ended.append("outer")

    asyncio.run(asyncio.wait_for(outer(), 20))
    assert ended == ["inner", "outer"]


def test_each_kind_of_trouble_is_logged_once_until_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles(logging.getLogger("troubles"))
    for number in range(3):
        troubles.log("port %d is closed", number)
        troubles.log("no answer")
    assert caplog.messages == ["port 0 is closed", "no answer"]
    assert troubles.last == "no answer"
    troubles.end()
    assert troubles.last == ""
    troubles.log("no answer")
    assert caplog.messages[2:] == ["no answer"]


def test_waits_grow_until_they_are_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    backoff = Backoff(logging.getLogger())

    async def run() -> None:
        for _ in range(10):
            await backoff.wait()
        backoff.reset()
        await backoff.wait()

    asyncio.run(run())
    assert slept[0] <= 0.02
    assert 1 <= slept[9] <= 2
    assert slept[10] <= 0.02

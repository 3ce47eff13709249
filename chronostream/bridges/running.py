"""How a bridge runs until it is stopped, and how it waits between failed attempts."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import Collection, Coroutine
from typing import Any

__all__ = ["Backoff", "Troubles", "cancel", "first_of"]

_SHORTEST_S, _LONGEST_S = 0.02, 2.0
_CANCEL_AGAIN_S = 5.0  # Longer than any clean-up takes, which another cancellation would cut off.
_NUMBER = re.compile(r"\d+")


async def first_of(*coroutines: Coroutine[Any, Any, object]) -> None:
    """Run coroutines until the first one ends, cancel the others, and raise what the first one raised."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel(tasks)
    for task in ended:
        task.result()


async def cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they end: `asyncio.wait_for` (before Python 3.12) and nats-py can swallow a cancellation.

    `asyncio.TaskGroup` and `asyncio.timeout` cancel only once, and would then wait for ever.

    A caller that is itself cancelled meanwhile waits for its tasks all the same, so that none of them is abandoned.
    """
    cancelled: asyncio.CancelledError | None = None
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        try:
            await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)
        except asyncio.CancelledError as error:
            cancelled = error
    await asyncio.gather(*tasks, return_exceptions=True)  # Otherwise asyncio logs errors that nobody retrieved.
    if cancelled is not None:
        raise cancelled


class Troubles:
    """Logs each kind of trouble once until it ends, also if several alternate; numbers make no other kind.

    Attributes:
        last: the text that was logged last, of a trouble that has not ended; empty if there is none.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self.end()

    def log(self, message: str, *arguments: object) -> None:
        """Log a warning, unless this kind of trouble has been logged and not ended."""
        text = message % arguments
        kind = _NUMBER.sub("", text)
        if kind not in self._kinds:
            self._kinds.add(kind)
            self.last = text
            self._log.warning("%s", text)

    def end(self) -> None:
        """Take all trouble for ended."""
        self._kinds: set[str] = set()
        self.last = ""


class Backoff:
    """Waits between failed attempts, each time twice as long, with jitter.

    Attributes:
        troubles: those of the failed attempts.
    """

    def __init__(self, log: logging.Logger) -> None:
        self.troubles = Troubles(log)
        self.reset()

    def reset(self) -> None:
        """Start again after a successful attempt."""
        self._next_s = _SHORTEST_S
        self._failing_since_s: float | None = None
        self.troubles.end()

    @property
    def failing_s(self) -> float:
        """The seconds since the first failed attempt."""
        return 0.0 if self._failing_since_s is None else time.monotonic() - self._failing_since_s

    async def wait(self) -> None:
        """Wait before the next attempt."""
        if self._failing_since_s is None:
            self._failing_since_s = time.monotonic()
        await asyncio.sleep(self._next_s * random.uniform(0.5, 1))  # noqa: S311 - not for cryptography
        self._next_s = min(2 * self._next_s, _LONGEST_S)

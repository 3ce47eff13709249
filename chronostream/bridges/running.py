"""How a bridge runs: until it is told to stop, and with longer pauses the longer a trouble lasts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterable
from typing import Any

__all__ = ["Pauses", "cancel", "first_of"]

_SHORTEST_S, _LONGEST_S = 0.02, 2.0
_CANCEL_AGAIN_S = 0.5


async def first_of(*works: Coroutine[Any, Any, object]) -> None:
    """Await the first of these that ends, and cancel the others; what it raises is raised here."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel(tasks)
    for task in ended:
        task.result()


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended: `asyncio.wait_for` (before Python 3.12) and nats-py can swallow it once."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)  # So that nobody is told that an error was never looked at.


class Pauses:
    """Pauses between attempts: each twice as long as the one before, and none like that of another process."""

    def __init__(self) -> None:
        self._next_s = _SHORTEST_S

    def reset(self) -> None:
        """Begin again with a short one."""
        self._next_s = _SHORTEST_S

    async def wait(self) -> None:
        """Pause."""
        await asyncio.sleep(self._next_s * random.uniform(0.5, 1))  # noqa: S311 - nothing secret about it
        self._next_s = min(2 * self._next_s, _LONGEST_S)

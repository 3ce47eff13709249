"""Follow a stream from asyncio: several consumers in one event loop, each with a timeout that loses nothing."""

from __future__ import annotations

import asyncio

from _demo import demo

import chronostream as cs


async def follow(name: str, label: str, count: int) -> None:
    """Print events; say so when half a second brought none, and wait on."""
    async with cs.aio.subscribe(name, {"second"}, label=label) as events:
        while count:
            try:
                async with asyncio.timeout(0.5):
                    event = await anext(events)
            except TimeoutError:
                print(f"{label}: nothing yet")
                continue
            print(f"{label}: {event.id}")
            count -= 1


async def main(name: str, count: int) -> None:
    """Run two consumers at once."""
    async with asyncio.TaskGroup() as tasks:
        for label in ("first", "second"):
            tasks.create_task(follow(name, label, count))


with demo(__doc__) as wanted:
    asyncio.run(main(wanted.name, wanted.count))

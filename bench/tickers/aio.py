"""asyncio: a coroutine that sleeps until the boundary."""

from __future__ import annotations

import asyncio
import time

from bench.host import Cores
from bench.ticker import SECOND_NS, Ticker, Ticks

__all__ = ["Asyncio"]


class Asyncio(Ticker):
    """`asyncio.sleep` in an otherwise idle loop."""

    name = "asyncio"
    how = "`asyncio.sleep` to the boundary, in an otherwise idle loop; measured when it returns"

    def tick(self, count: int, _cores: Cores) -> Ticks:
        return asyncio.run(_tick(count))


async def _tick(count: int) -> Ticks:
    late_ns = []
    begin_ns, cpu_ns = time.monotonic_ns(), time.process_time_ns()
    for _ in range(count):
        boundary_ns = (time.time_ns() // SECOND_NS + 1) * SECOND_NS
        while (now_ns := time.time_ns()) < boundary_ns:  # noqa: ASYNC110 - the clock has no event to wait for
            await asyncio.sleep((boundary_ns - now_ns) / 1e9)
        late_ns.append(now_ns - boundary_ns)
    return Ticks(late_ns, (time.process_time_ns() - cpu_ns) / (time.monotonic_ns() - begin_ns))

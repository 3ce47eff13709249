"""`time.sleep` until the boundary: the usual loop."""

from __future__ import annotations

import time

from bench.host import Cores
from bench.ticker import SECOND_NS, Ticker, Ticks

__all__ = ["Sleep"]


class Sleep(Ticker):
    """Sleep until the next boundary."""

    name = "time.sleep"
    how = "`time.sleep` to the boundary; measured when the call returns"

    def tick(self, count: int, _cores: Cores) -> Ticks:
        late_ns = []
        begin_ns, cpu_ns = time.monotonic_ns(), time.process_time_ns()
        for _ in range(count):
            boundary_ns = (time.time_ns() // SECOND_NS + 1) * SECOND_NS
            while (now_ns := time.time_ns()) < boundary_ns:
                time.sleep((boundary_ns - now_ns) / 1e9)
            late_ns.append(now_ns - boundary_ns)
        return Ticks(late_ns, (time.process_time_ns() - cpu_ns) / (time.monotonic_ns() - begin_ns))

"""APScheduler: a cron job for every second."""

from __future__ import annotations

import time

from apscheduler.schedulers.blocking import BlockingScheduler

from bench.host import Cores
from bench.ticker import SECOND_NS, Ticker, Ticks

__all__ = ["APScheduler"]


class APScheduler(Ticker):
    """A job with a cron trigger, in the default thread pool."""

    name = "apscheduler"
    distribution = "apscheduler"
    how = "`BlockingScheduler`, cron trigger `second='*'`, its default executor; measured when the job begins"

    def tick(self, count: int, _cores: Cores) -> Ticks:
        late_ns: list[int] = []
        scheduler = BlockingScheduler(timezone="UTC")

        def job() -> None:
            late_ns.append(time.time_ns() % SECOND_NS)
            if len(late_ns) >= count:
                scheduler.shutdown(wait=False)

        scheduler.add_job(job, "cron", second="*")
        begin_ns, cpu_ns = time.monotonic_ns(), time.process_time_ns()
        scheduler.start()
        return Ticks(late_ns[:count], (time.process_time_ns() - cpu_ns) / (time.monotonic_ns() - begin_ns))

"""ChronoStream: a scheduler process, and a consumer on the other core."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import psutil

import chronostream as cs
from bench.host import Cores, pin
from bench.ticker import SECOND_NS, Ticker, Ticks
from chronostream import ring
from chronostream.event import EVENT_DTYPE, Frequency

__all__ = ["ChronoStream"]

_SPIN_NS = 3_000_000


class ChronoStream(Ticker):
    """All four frequencies, as with `chronostream run`."""

    name = "chronostream"
    distribution = "chronostream"
    how = "a producer of all four frequencies; measured when a consumer that spins on the other core has the event"

    def tick(self, count: int, cores: Cores) -> Ticks:
        config = cs.StreamConfig(
            name=f"bench-tick-{os.getpid()}",
            frequencies=("second", "minute", "hour", "day"),
            capacity=1024,
            remove=True,
        )
        with cs.start(config) as producer:  # on this process's core
            pin(cores.consumer)
            with ring.Consumer.attach(config.name, "next", idle="busy-spin") as consumer:
                begin_ns, cpu_ns = time.monotonic_ns(), _cpu_ns(producer.pid)
                late_ns = [_late_ns(consumer, boundary_ns) for boundary_ns in _next_boundaries(count)]
                share = (_cpu_ns(producer.pid) - cpu_ns) / (time.monotonic_ns() - begin_ns)
            return Ticks(late_ns, share, {"own measurement": _own_lateness(producer.status())})


def _next_boundaries(count: int) -> range:
    # Not the next one: the producer has just started, and this process is not asleep yet.
    first_ns = (time.time_ns() // SECOND_NS + 2) * SECOND_NS
    return range(first_ns, first_ns + count * SECOND_NS, SECOND_NS)


def _late_ns(consumer: ring.Consumer, boundary_ns: int) -> int:
    """Spin for the event of a boundary; return how late it arrived."""
    time.sleep(max(0, boundary_ns - _SPIN_NS - time.time_ns()) / 1e9)
    out = np.empty(8, EVENT_DTYPE)
    read_into, clock = consumer.read_into, time.time_ns
    while True:
        while not (count := read_into(out)):
            pass
        now_ns = clock()
        seconds = out[:count][out["frequency"][:count] == Frequency.SECOND]
        if boundary_ns in seconds["timestamp"]:
            return now_ns - boundary_ns


def _cpu_ns(pid: int) -> int:
    """Return the processor time of all threads of a process, to the nanosecond if the system counts it."""
    try:
        return sum(int(path.read_text("ascii").split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    except OSError:
        times = psutil.Process(pid).cpu_times()
        return round((times.user + times.system) * 1e9)


def _own_lateness(status: cs.StreamStatus) -> str:
    if status.engine is None or (lateness := status.engine.frequencies[0].lateness) is None:
        return "none"
    return f"p50 {lateness.p50_ns / 1000:.1f} µs, p99 {lateness.p99_ns / 1000:.1f} µs"

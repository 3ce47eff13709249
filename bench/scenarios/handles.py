"""Many handles of `cs.aio` in one process: what they cost while nothing happens, and how long closing them takes."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from bench.peer import Contender
from bench.results import Case, Sample
from bench.scenario import Bench, Metric, Scenario
from chronostream import aio
from chronostream._extras import require
from chronostream.event import EVENT_DTYPE
from chronostream.ring import Producer

__all__ = ["HANDLES"]

_HANDLES = 500
_CAPACITY = 64
_SETTLE_S = 1.0
_LIMIT_S = 120.0


def idle_handles(rings: int, idle_s: int) -> Sample:
    """Have 500 handles of so many rings wait, then close one after the other, in each kind of event loop."""
    loops: dict[str, Callable[[], Any]] = {
        "asyncio": asyncio.new_event_loop,
        "uvloop": require("uvloop", "uvloop").new_event_loop,
    }
    names = [f"bench-handles-{os.getpid()}-{number}" for number in range(rings)]
    # Each handle has several descriptors, and the usual limit is 1,024.
    largest = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (largest, largest))
    values: dict[str, float] = {}
    with ExitStack() as producers:
        for name in names:
            producers.enter_context(Producer.create(name, EVENT_DTYPE, _CAPACITY))
        for kind, new_loop in loops.items():
            with asyncio.Runner(loop_factory=new_loop) as runner:
                cpu_share, threads, close_ns = runner.run(_wait_and_close(names, idle_s))
            values |= {f"{kind}_cpu": cpu_share, f"{kind}_close_ns": close_ns, "threads": float(threads)}
    return Sample(values)


async def _wait_and_close(names: list[str], idle_s: int) -> tuple[float, int, float]:
    """Return the processor time while all wait, as a share of one core, the threads beside, and the ns to close."""
    threads = threading.active_count()
    handles = [aio.subscribe(names[number % len(names)]) for number in range(_HANDLES)]
    tasks = [asyncio.create_task(handle.wait()) for handle in handles]
    await asyncio.sleep(_SETTLE_S)
    began_ns, processor_ns = time.perf_counter_ns(), time.process_time_ns()
    await asyncio.sleep(idle_s)
    cpu_share = (time.process_time_ns() - processor_ns) / (time.perf_counter_ns() - began_ns)
    threads = threading.active_count() - threads
    began_ns = time.perf_counter_ns()
    for handle in handles:
        await handle.aclose()
    close_ns = time.perf_counter_ns() - began_ns
    await asyncio.gather(*tasks, return_exceptions=True)
    return cpu_share, threads, float(close_ns)


def _measure(bench: Bench, _contender: Contender, case: Case) -> Sample:
    sample: Sample = bench.alone(idle_handles, case["rings"], bench.effort.idle_s, limit_s=_LIMIT_S)
    return sample


HANDLES = Scenario(
    name="handles",
    title=f"{_HANDLES} handles of `cs.aio` that wait in one event loop: while nothing happens, and closed one by one.",
    contenders="own",
    metrics=(
        Metric("asyncio_cpu", "CPU, asyncio", "share"),
        Metric("uvloop_cpu", "CPU, uvloop", "share"),
        Metric("threads", "threads", "count"),
        Metric("asyncio_close_ns", "closing all, asyncio", "ns"),
        Metric("uvloop_close_ns", "closing all, uvloop", "ns"),
    ),
    cases=lambda _effort: [{"rings": rings} for rings in (1, _HANDLES)],
    measure=_measure,
    rounds=1,
    draw=None,
)

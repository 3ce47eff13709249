"""The calls of ChronoStream's ring that peers do not have, on each of its cores."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from itertools import repeat
from typing import Any

import numpy as np

from bench.records import FIRST, make_rows
from bench.results import Sample
from bench.scenario import Metric, Scenario
from chronostream import ring

__all__ = ["CALLS"]

_SIZE, _CAPACITY, _BURST, _TURNS = 64, 65536, 256, 40


def calls(core: str) -> Sample:
    """Time each call in bursts, both sides in one process."""
    rows = make_rows(FIRST, _BURST, _SIZE)
    dtype = np.dtype([("words", "<u8", (rows.shape[1],))])
    record, records = rows[0].tobytes(), rows.view(dtype).reshape(-1)
    with (
        ring.Producer.create(f"bench-calls-{os.getpid()}", dtype, _CAPACITY, core=core) as producer,
        ring.Consumer.attach(producer.name, "next", core=core) as consumer,
    ):

        def publish() -> None:
            producer.publish_many(records)

        def claim() -> None:
            with producer.claim(_BURST) as claimed:
                claimed["words"] = rows

        def peek() -> None:
            with consumer.peek(_BURST):
                pass

        values = {
            "read_ns": _call_ns(lambda: consumer.read(1), before=publish),
            "offer_ns": _call_ns(lambda: producer.offer(record), before=consumer.read),
            "claim_ns": _call_ns(claim, calls=1) / _BURST,
            "peek_ns": _call_ns(peek, calls=1, before=publish),
            "wait_ns": _call_ns(lambda: consumer.wait(0), before=publish),
            "lag_ns": _call_ns(lambda: consumer.lag),
        }
    return Sample(values)


def _call_ns(call: Callable[[], Any], *, calls: int = _BURST, before: Callable[[], Any] = lambda: None) -> float:
    """Return the median duration of a call, without that of the loop and the lambda around it."""
    return _burst_ns(call, calls, before) - _burst_ns(lambda: None, calls, lambda: None)


def _burst_ns(call: Callable[[], Any], calls: int, before: Callable[[], Any]) -> float:
    costs = []
    for _ in range(_TURNS):
        before()
        begin_ns = time.perf_counter_ns()
        for _ in repeat(None, calls):
            call()
        costs.append(time.perf_counter_ns() - begin_ns)
    return statistics.median(costs) / calls


CALLS = Scenario(
    name="calls",
    title="The cost of further calls: one record of 64 bytes unless noted, already in the ring.",
    contenders="cores",
    metrics=(
        Metric("read_ns", "`read(1)` into a fresh array", "ns"),
        Metric("offer_ns", "`offer`", "ns"),
        Metric("claim_ns", f"`claim({_BURST})` and filling it, per record", "ns"),
        Metric("peek_ns", f"`peek({_BURST})` as a context", "ns"),
        Metric("wait_ns", "`wait` with a record available", "ns"),
        Metric("lag_ns", "`lag`", "ns"),
    ),
    measure=lambda bench, peer, _case: bench.alone(calls, peer.core),
    draw=None,
)

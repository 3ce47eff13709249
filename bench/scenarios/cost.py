"""The cost of a call for its caller: both sides in one process, which alternates between sending and receiving."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import repeat
from typing import Any

from bench.effort import Effort
from bench.limits import Copy
from bench.peer import Peer, Receiver, Spec
from bench.processes import Station
from bench.records import FIRST, Checks, check, make_rows
from bench.results import Case, Sample
from bench.scenario import Bench, Metric, Scenario

__all__ = ["BATCH", "PUBLISH_BATCH", "PUBLISH_ONE", "READ_BATCH", "READ_ONE", "SCALE", "SIZES"]

BATCH = 1024
_MAX_RING_BYTES = 1 << 24
_SCALE_BATCH = 16
_MIN_BURSTS = 8
_ARRIVAL_S = 2.0

_clock = time.perf_counter_ns


def cost(station: Station) -> Sample:
    """Repeatedly send a burst that fits and receive it; time both as a whole."""
    spec, peer = station.spec, station.peer
    sender = station.open_sender()
    receivers = [station.open_receiver(index) for index in range(spec.readers)]
    sender.wait_for_receivers()
    burst = peer.burst(spec)
    message, send = sender.message(make_rows(FIRST, spec.batch, spec.record_size)), sender.send
    sends: list[int] = []
    receives: list[int] = []
    processor: list[int] = []
    deadline = _clock() + int(station.options["budget_s"] * 1e9)
    while len(sends) < _MIN_BURSTS or _clock() < deadline:
        cpu = time.process_time_ns()
        begin = _clock()
        for _ in repeat(None, burst):
            send(message)
        end = _clock()
        processor.append(time.process_time_ns() - cpu)
        sends.append(end - begin)
        begin = _clock()
        for receiver in receivers:
            _drain(receiver.receive, burst)
        receives.append(_clock() - begin)
    loop = _loop_ns(burst)
    checks = _check_burst(station, sender.message, send, receivers)
    for receiver in receivers:
        receiver.close()
    sender.close()
    records = burst * spec.batch
    values = {
        "send_ns": (_warm_median(sends) - loop) / records,
        "send_cpu_ns": _warm_median(processor) / records,
        "receive_ns": (_warm_median(receives) / spec.readers - loop) / records,
    }
    values["send_bytes"] = spec.record_size / values["send_ns"] * 1e9
    return Sample(values, checks=checks)


def _drain(receive: Callable[[], Any], count: int) -> None:
    for _ in repeat(None, count):
        while not receive():
            pass


def _loop_ns(count: int) -> float:
    """Return the cost of the loop itself, which is subtracted."""
    costs = []
    for _ in range(64):
        begin = _clock()
        for _ in repeat(None, count):
            pass
        costs.append(_clock() - begin)
    return statistics.median(costs)


def _warm_median(costs: list[int]) -> float:
    """Return the median without the first quarter, which warms up caches and branch predictors."""
    return statistics.median(costs[len(costs) // 4 :])


def _check_burst(
    station: Station, message: Callable[[Any], Any], send: Callable[[Any], Any], receivers: list[Receiver]
) -> Checks:
    """Send another burst, of different records, and compare what arrives."""
    spec = station.spec
    total = station.peer.burst(spec) * spec.batch
    before = [receiver.reported_lost(0) for receiver in receivers]
    rows = make_rows(FIRST, total, spec.record_size)
    for first in range(0, total, spec.batch):
        send(message(rows[first : first + spec.batch]))
    result = Checks(0, 0, 0, 0, 0)
    for receiver, lost_before in zip(receivers, before, strict=True):
        parts = _gather(receiver, total)
        lost = receiver.reported_lost(total)
        reported = None if lost is None or lost_before is None else max(0, lost - lost_before)
        result += check(b"".join(parts), spec.record_size, sent=total, reported=reported)
    return result


def _gather(receiver: Receiver, total: int) -> list[bytes]:
    parts, count = [], 0
    deadline = time.monotonic() + _ARRIVAL_S
    while count < total and time.monotonic() < deadline:
        if received := receiver.receive():
            parts.append(bytes(receiver.data(received)))
            count += receiver.count(received)
    return parts


def _measure(bench: Bench, peer: Peer, spec: Spec, budget_s: float | None = None) -> Sample:
    return bench.solo(peer, spec, cost, budget_s=budget_s or bench.effort.budget_s)


def _memcpy_ns(bench: Bench, how: Copy, spec: Spec) -> float:
    """Copy the bytes of a message into or out of a ring of the same size; return ns per record."""
    repeats = max(8, int(bench.effort.budget_s * 400))
    costs = bench.limits.memcpy(how, spec.message_size, spec.capacity * spec.record_size, repeats)
    return float(statistics.median(costs)) / spec.batch


def _limit(how: Copy, key: str) -> Callable[[Bench, Case], Sample]:
    return lambda bench, _case: Sample({key: _memcpy_ns(bench, how, Spec(batch=BATCH))})


def _size_spec(case: Case) -> Spec:
    return Spec(record_size=case["bytes"], capacity=min(8192, _MAX_RING_BYTES // case["bytes"]))


def _size(bench: Bench, peer: Peer, case: Case) -> Sample:
    return _measure(bench, peer, _size_spec(case), bench.effort.budget_s / 2)


def _size_limit(bench: Bench, case: Case) -> Sample:
    spec = _size_spec(case)
    send_ns, receive_ns = _memcpy_ns(bench, "FILL", spec), _memcpy_ns(bench, "DRAIN", spec)
    return Sample({"send_ns": send_ns, "receive_ns": receive_ns, "send_bytes": case["bytes"] / send_ns * 1e9})


def _scale_cases(effort: Effort) -> list[Case]:
    return [{"records": count} for count in effort.capacities] + [{"readers": count} for count in effort.consumers]


def _scale(bench: Bench, peer: Peer, case: Case) -> Sample:
    spec = Spec(batch=_SCALE_BATCH, capacity=case.get("records", 4096), readers=case.get("readers", 1))
    return _measure(bench, peer, spec, bench.effort.budget_s / 2)


_SEND_ONE = Metric("send_ns", "per record", "ns")
_SEND_CPU = Metric("send_cpu_ns", "CPU per record", "ns")
_RECEIVE_ONE = Metric("receive_ns", "per record", "ns")

PUBLISH_ONE = Scenario(
    name="publish-one",
    title="The cost of sending a single record of 64 bytes from Python.",
    contenders="peers",
    metrics=(_SEND_ONE, _SEND_CPU),
    measure=lambda bench, peer, _case: _measure(bench, peer, Spec()),
)
READ_ONE = Scenario(
    name="read-one",
    title="The cost of receiving a single record of 64 bytes that is already there, from Python.",
    contenders="peers",
    metrics=(_RECEIVE_ONE,),
    measure=lambda bench, peer, _case: _measure(bench, peer, Spec()),
)
PUBLISH_BATCH = Scenario(
    name="publish-batch",
    title=f"The cost per record of sending {BATCH:,} records of 64 bytes in one call.",
    contenders="peers",
    metrics=(_SEND_ONE, _SEND_CPU),
    measure=lambda bench, peer, _case: _measure(bench, peer, Spec(batch=BATCH)),
    limits={"memcpy": _limit("FILL", "send_ns")},
)
READ_BATCH = Scenario(
    name="read-batch",
    title=f"The cost per record of receiving {BATCH:,} records of 64 bytes in one call.",
    contenders="peers",
    metrics=(_RECEIVE_ONE,),
    measure=lambda bench, peer, _case: _measure(bench, peer, Spec(batch=BATCH)),
    limits={"memcpy": _limit("DRAIN", "receive_ns")},
)
SIZES = Scenario(
    name="sizes",
    title="The cost of sending and receiving one record, by its size.",
    contenders="peers",
    metrics=(
        _SEND_ONE,
        Metric("receive_ns", "receiving", "ns"),
        Metric("send_bytes", "bytes sent", "per s", less_is_better=False),
    ),
    measure=_size,
    cases=lambda effort: [{"bytes": size} for size in effort.sizes],
    limits={"memcpy": _size_limit},
    draw="lines",
)
SCALE = Scenario(
    name="scale",
    title=f"The cost of sending a record, {_SCALE_BATCH} in one call, by the size of the ring and its consumers.",
    contenders="peers",
    metrics=(_SEND_ONE, Metric("receive_ns", "receiving", "ns")),
    measure=_scale,
    cases=_scale_cases,
    draw="lines",
)

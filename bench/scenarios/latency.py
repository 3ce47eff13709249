"""The time from before the send in one process to after the receive in another, on the same clock."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from bench.peer import Peer, Receiver, Spec
from bench.processes import FailedError, Station
from bench.records import FIRST, check, make_rows, positions_of
from bench.results import Case, Sample
from bench.scenario import Bench, Metric, Scenario
from bench.ticker import SECOND_NS

__all__ = ["IDLE", "LATENCY_BLOCK", "LATENCY_SPIN"]

_SENT, _DONE = 0, 1  # words of the board: the number of records sent, plus one; whether the consumer has ended
_SPIN_PERIOD_NS = 200_000
_AWAKE_NS = 50_000
_SLEEP_PERIOD_NS = 1_000_000
_SILENCE_S = 1.0
_POLLS = 256
_WARM_UP = 0.1  # of the messages

_clock = time.perf_counter_ns  # CLOCK_MONOTONIC on Linux: equal in all processes


def produce(station: Station) -> list[int]:
    """Send single records at the given rate; return the time stamps."""
    spec, words, period = station.spec, station.words(), station.options["period_ns"]
    sender = station.open_sender_and_wait()
    rows = make_rows(FIRST, station.options["count"], spec.record_size)
    messages = [sender.message(rows[index : index + 1]) for index in range(len(rows))]
    send, stamps = sender.send, []
    station.meet()
    for message in messages:
        due = _clock() + period
        # Sleep first, so that other processes get this core; then spin, so that the send is not slowed by waking up.
        time.sleep(max(0, due - _clock() - _AWAKE_NS) / 1e9)
        while _clock() < due:
            pass
        stamp = _clock()
        send(message)
        stamps.append(stamp)
    words[_SENT] = len(messages) + 1
    while not words[_DONE]:
        time.sleep(0.001)
    sender.close()
    return stamps


def consume(station: Station, index: int) -> dict[str, Any]:
    """Receive single records; return time stamps, positions, and the processor time of waiting."""
    spec = station.spec
    receiver = station.open_receiver_in_turn(index)
    station.meet()
    begin, cpu = _clock(), time.process_time_ns()
    arrivals = _arrivals(station, receiver)
    cpu, elapsed = time.process_time_ns() - cpu, _clock() - begin
    reported = receiver.reported_lost(len(arrivals))
    data = b"".join(part for _, part in arrivals)
    stamps = [stamp for stamp, part in arrivals for _ in range(len(part) // spec.record_size)]
    station.words()[_DONE] = 1
    receiver.close()
    return {
        "stamps": stamps,
        "positions": positions_of(data, spec.record_size),
        "cpu_ns": cpu,
        "elapsed_ns": elapsed,
        "checks": check(data, spec.record_size, sent=station.options["count"], reported=reported),
    }


def _arrivals(station: Station, receiver: Receiver) -> list[tuple[int, bytes]]:
    words, count = station.words(), station.options["count"]
    receive, data, blocking = receiver.receive, receiver.data, station.spec.blocking
    threads = station.peer.threads
    arrivals: list[tuple[int, bytes]] = []
    quiet_since = None
    while len(arrivals) < count:
        if blocking:
            received = receiver.wait(0.5)
        else:
            for _ in range(_POLLS):
                received = receive()
                if received:
                    break
                if threads:
                    os.sched_yield()
        if received:
            stamp = _clock()
            arrivals.append((stamp, bytes(data(received))))
            quiet_since = None
        elif words[_SENT]:
            quiet_since = quiet_since or _clock()
            if _clock() - quiet_since > _SILENCE_S * 1e9:
                break
    return arrivals


def _latency(bench: Bench, peer: Peer, spec: Spec, count: int, period_ns: int) -> Sample:
    stamps, consumed = bench.apart(peer, spec, produce, consume, count=count, period_ns=period_ns)
    consumer = consumed[0]
    sent = np.array(stamps, np.int64)[consumer["positions"] - FIRST]
    latencies = np.array(consumer["stamps"], np.int64) - sent
    latencies = latencies[consumer["positions"] >= FIRST + int(count * _WARM_UP)]
    if not len(latencies):
        raise FailedError("nothing arrived")
    sample = _percentiles(latencies)
    sample.checks = consumer["checks"]
    sample.values["cpu_ns"] = consumer["cpu_ns"] / max(len(consumer["positions"]), 1)
    sample.values["cpu_share"] = consumer["cpu_ns"] / consumer["elapsed_ns"]
    return sample


def _percentiles(latencies: Any) -> Sample:
    p50, p99, p99_9 = np.percentile(latencies, [50, 99, 99.9])
    values = {"p50": p50, "p99": p99, "p99_9": p99_9, "max": latencies.max()}
    return Sample({key: float(value) for key, value in values.items()}, latencies_ns=latencies.astype(np.int64))


def _spin(bench: Bench, peer: Peer, _case: Case) -> Sample:
    if not bench.cores.apart:
        raise FailedError("two spinning processes need two cores")
    return _latency(bench, peer, Spec(), bench.effort.spins, _SPIN_PERIOD_NS)


_PERCENTILES = (
    Metric("p50", "median", "ns"),
    Metric("p99", "p99", "ns"),
    Metric("p99_9", "p99.9", "ns"),
    Metric("max", "max", "ns"),
)

LATENCY_SPIN = Scenario(
    name="latency-spin",
    title="From process to process, one record every 200 µs, to a consumer that spins on its own core.",
    contenders="peers",
    metrics=_PERCENTILES,
    measure=_spin,
    limits={"a cache line": lambda bench, _case: _percentiles(bench.limits.line(bench.effort.spins))},
    draw="latencies",
)
LATENCY_BLOCK = Scenario(
    name="latency-block",
    title="From process to process, one record every millisecond, to a consumer that sleeps on its own core.",
    contenders="peers",
    metrics=(*_PERCENTILES, Metric("cpu_ns", "consumer's CPU per record", "ns")),
    measure=lambda bench, peer, _case: _latency(
        bench, peer, Spec(blocking=True), bench.effort.sleeps, _SLEEP_PERIOD_NS
    ),
    limits={
        "a bare futex": lambda bench, _case: _percentiles(bench.limits.futex(bench.effort.sleeps, _SLEEP_PERIOD_NS))
    },
    draw="latencies",
)
IDLE = Scenario(
    name="idle",
    title="The processor time of a consumer that sleeps on a stream of one record per second.",
    contenders="peers",
    metrics=(Metric("cpu_share", "CPU", "share"), Metric("p50", "median latency", "ns")),
    measure=lambda bench, peer, _case: _latency(bench, peer, Spec(blocking=True), bench.effort.idle_s, SECOND_NS),
    rounds=1,
)

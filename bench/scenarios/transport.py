"""From process to process at full speed: throughput, cost, and correctness."""

from __future__ import annotations

import os
import time
from functools import reduce
from itertools import repeat
from operator import add
from typing import Any

from bench.effort import Effort
from bench.peer import FULL_S, Peer, Receiver, Sender, Spec
from bench.processes import Station
from bench.records import FIRST, Checks, check, make_rows
from bench.results import Case, Sample
from bench.scenario import Bench, Metric, Scenario
from bench.scenarios.cost import BATCH

__all__ = ["ONE_TO_MANY", "ONE_TO_ONE", "OVERRUN"]

# Words of the board: the number of records sent, plus one, in the measurement and in the check; 0 until its end.
_MEASURED, _CHECKED = 0, 1
# The first of the words with the stage of each consumer.
_PROGRESS = 8

_SENDS = 64  # between two readings of the clock
_SILENCE_S = 0.1  # so long after the last record, no other one arrives
_SLOW_CAPACITY, _SLOW_TAKE, _SLOW_SLEEP_S = 1024, 16, 0.001
_SLOW_MESSAGES, _SLOW_BUDGET_S = 200_000, 1.0


def produce(station: Station) -> dict[str, Any]:
    """Send the same message at full speed for a while, then different records for the check."""
    spec, words = station.spec, station.words()
    sender = station.open_sender_and_wait()
    message = sender.message(make_rows(FIRST, spec.batch, spec.record_size))
    station.meet()
    begin, cpu = time.perf_counter_ns(), time.process_time_ns()
    messages = _send_for(sender, message, station.options["budget_s"])
    elapsed, cpu = time.perf_counter_ns() - begin, time.process_time_ns() - cpu
    words[_MEASURED] = messages * spec.batch + 1
    _await_consumers(station, 1)

    rows = make_rows(FIRST, station.options["checked"], spec.record_size)
    checked = [sender.message(rows[first : first + spec.batch]) for first in range(0, len(rows), spec.batch)]
    for message in checked:
        while not sender.offer(message):
            time.sleep(FULL_S)
    words[_CHECKED] = len(rows) + 1
    _await_consumers(station, 2)
    sender.close()
    return {"sent": messages * spec.batch, "elapsed_ns": elapsed, "cpu_ns": cpu}


def consume(station: Station, index: int) -> dict[str, Any]:
    """Receive at full speed and only count; then keep all records and compare them."""
    receiver = station.open_receiver_in_turn(index)
    station.meet()
    cpu = time.process_time_ns()
    received, elapsed = _count_all(station, receiver)
    cpu = time.process_time_ns() - cpu
    lost = receiver.reported_lost(received)
    station.words()[_PROGRESS + index] = 1
    parts = _keep_all(station, receiver, _CHECKED)
    kept = sum(map(len, parts)) // station.spec.record_size
    total_lost = receiver.reported_lost(received + kept)
    reported = None if lost is None or total_lost is None else total_lost - lost
    checks = check(b"".join(parts), station.spec.record_size, sent=station.words()[_CHECKED] - 1, reported=reported)
    station.words()[_PROGRESS + index] = 2
    receiver.close()
    return {"received": received, "elapsed_ns": elapsed, "cpu_ns": cpu, "checks": checks}


def produce_for_the_slow(station: Station) -> dict[str, Any]:
    """Send different records at full speed, faster than the consumer reads."""
    spec, words = station.spec, station.words()
    sender = station.open_sender_and_wait()
    rows = make_rows(FIRST, station.options["messages"], spec.record_size)
    messages = [sender.message(rows[index : index + 1]) for index in range(len(rows))]
    station.meet()
    deadline = time.perf_counter() + station.options["budget_s"]
    sent = refused = 0
    for message in messages:
        while not (is_sent := sender.offer(message)) and time.perf_counter() < deadline:
            refused += 1
            time.sleep(FULL_S)
        if not is_sent or time.perf_counter() >= deadline:
            sent += is_sent
            break
        sent += 1
    words[_MEASURED] = sent + 1
    _await_consumers(station, 1)
    sender.close()
    return {"sent": sent, "refused": refused}


def consume_slowly(station: Station, index: int) -> Checks:
    """Sleep after every few records; at the end, take what is left."""
    receiver = station.open_receiver_in_turn(index)
    station.meet()
    parts = _keep_all(station, receiver, _MEASURED, sleep_s=_SLOW_SLEEP_S)
    sent = station.words()[_MEASURED] - 1
    received = sum(map(len, parts)) // station.spec.record_size
    checks = check(b"".join(parts), station.spec.record_size, sent=sent, reported=receiver.reported_lost(received))
    station.words()[_PROGRESS + index] = 1
    receiver.close()
    return checks


def _send_for(sender: Sender, message: Any, budget_s: float) -> int:
    """Send for `budget_s` and return the number of messages sent; a peer that never refuses needs no `offer`."""
    refuses = type(sender).offer is not Sender.offer
    send, offer = sender.send, sender.offer
    deadline = time.perf_counter() + budget_s
    sent = 0
    while time.perf_counter() < deadline:
        if not refuses:
            for _ in repeat(None, _SENDS):
                send(message)
            sent += _SENDS
            continue
        for _ in repeat(None, _SENDS):
            if offer(message):
                sent += 1
            else:
                time.sleep(FULL_S)
    return sent


def _await_consumers(station: Station, stage: int) -> None:
    words = station.words()
    while min(words[_PROGRESS : _PROGRESS + station.spec.readers]) < stage:
        time.sleep(0.001)


def _count_all(station: Station, receiver: Receiver) -> tuple[int, int]:
    """Return the number of records received, and the ns from the first to the last."""
    words, receive, count = station.words(), receiver.receive, receiver.count
    fixed = receiver.spec.batch if type(receiver).count is Receiver.count else 0
    received = 0
    first = last = time.perf_counter_ns()
    while True:
        message = receive()
        if message:
            first = first if received else time.perf_counter_ns()
            while message:
                received += fixed or count(message)
                message = receive()
            last = time.perf_counter_ns()
        elif words[_MEASURED] and _is_complete(words[_MEASURED] - 1, received, last):
            return received, last - first
        else:
            os.sched_yield()


def _is_complete(sent: int, received: int, last: int) -> bool:
    return received >= sent or time.perf_counter_ns() - last > _SILENCE_S * 1e9


def _keep_all(station: Station, receiver: Receiver, word: int, *, sleep_s: float = 0) -> list[bytes]:
    """Return all messages, until as many records arrived as were sent, or no more arrive."""
    words, size = station.words(), station.spec.record_size
    parts: list[bytes] = []
    received, last = 0, time.perf_counter_ns()
    while True:
        if message := receiver.receive():
            parts.append(bytes(receiver.data(message)))
            received += len(parts[-1]) // size
            last = time.perf_counter_ns()
            if sleep_s and not words[word]:
                time.sleep(sleep_s)
        elif words[word] and _is_complete(words[word] - 1, received, last):
            return parts
        else:
            os.sched_yield()


def _transport(bench: Bench, peer: Peer, spec: Spec) -> Sample:
    effort = bench.effort
    # Whole messages, and no more than all consumers together can compare within seconds.
    checked = max(effort.checked // spec.readers // (1 if spec.batch > 1 else 4), 1) // spec.batch * spec.batch
    produced, consumed = bench.apart(
        peer, spec, produce, consume, budget_s=effort.budget_s, checked=checked or spec.batch
    )
    received = sum(one["received"] for one in consumed)
    elapsed = max(1, *(one["elapsed_ns"] for one in consumed))
    sent = max(produced["sent"], 1)
    return Sample(
        {
            "received": received / elapsed * 1e9,
            "sent": sent / produced["elapsed_ns"] * 1e9,
            "missed": 1 - received / (sent * spec.readers),
            "send_cpu_ns": produced["cpu_ns"] / sent,
            "receive_cpu_ns": sum(one["cpu_ns"] for one in consumed) / max(received, 1),
        },
        checks=reduce(add, (one["checks"] for one in consumed)),
    )


def _overrun(bench: Bench, peer: Peer, _case: Case) -> Sample:
    spec = Spec(capacity=_SLOW_CAPACITY, take=_SLOW_TAKE)
    options = {"budget_s": _SLOW_BUDGET_S, "messages": min(_SLOW_MESSAGES, bench.effort.checked)}
    produced, consumed = bench.apart(peer, spec, produce_for_the_slow, consume_slowly, **options)
    checks: Checks = consumed[0]
    # The time is limited: a queue, which waits for the consumer, sends fewer records and loses none.
    return Sample(
        {
            "sent": produced["sent"],
            "missing": checks.missing,
            "told": checks.reported or 0,
            "refused": produced["refused"],
        },
        checks=checks,
    )


def _call_cases(effort: Effort) -> list[Case]:
    return [{"in a call": count} for count in ((BATCH,) if effort.name == "smoke" else (1, BATCH))]


_RECEIVED = Metric("received", "received", "per s", less_is_better=False)
_SENT = Metric("sent", "sent", "per s", less_is_better=None)
_MISSED = Metric("missed", "not received", "share", less_is_better=None)
_SEND_CPU = Metric("send_cpu_ns", "producer's CPU per record", "ns")
_RECEIVE_CPU = Metric("receive_cpu_ns", "consumers' CPU per received record", "ns")

ONE_TO_ONE = Scenario(
    name="one-to-one",
    title="Records of 64 bytes from one process to another, both at full speed, each on its own core.",
    contenders="peers",
    metrics=(_RECEIVED, _SENT, _MISSED, _SEND_CPU, _RECEIVE_CPU),
    measure=lambda bench, peer, case: _transport(bench, peer, Spec(batch=case["in a call"], take=BATCH)),
    cases=_call_cases,
)
ONE_TO_MANY = Scenario(
    name="one-to-many",
    title="Single records of 64 bytes to several consumers, which share the other core.",
    contenders="peers",
    metrics=(_SEND_CPU, _RECEIVED, _SENT, _MISSED, _RECEIVE_CPU),
    measure=lambda bench, peer, case: _transport(bench, peer, Spec(take=BATCH, readers=case["consumers"])),
    cases=lambda effort: [{"consumers": count} for count in effort.consumers],
    draw="lines",
)
OVERRUN = Scenario(
    name="overrun",
    title="A consumer that is far too slow, with a ring of 1,024 records: does it learn exactly what it lost?",
    contenders="peers",
    metrics=(
        Metric("sent", "sent", "count", less_is_better=None),
        Metric("missing", "lost", "count", less_is_better=None),
        Metric("told", "reported lost", "count", less_is_better=None),
        Metric("refused", "refused sends", "count", less_is_better=None),
    ),
    measure=_overrun,
    draw=None,
)

"""The rate at which a relay and then a mirror catch up through NATS."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

from chronostream import ring
from chronostream.backfill import replay
from chronostream.bridges.encoding import Encoding
from chronostream.bridges.mirror import Mirror
from chronostream.bridges.relay import Relay
from tests.bridges.harness import START_NS, Running, S, Server, deliver, head_of, options_of, segments

_TIMEOUT_S = 600.0


def measure(events: int, encoding: Encoding) -> str:
    """Relay and mirror `events` events; return the rates in one line."""
    with tempfile.TemporaryDirectory() as directory, Server(Path(directory)) as server, segments("measure") as name:
        capacity = 1 << (events - 1).bit_length()
        replay(name, START_NS, START_NS + events * S, capacity=capacity)
        began_s, used_s = time.perf_counter(), time.process_time()
        report = deliver(Relay(name, options_of(server.url), encoding=encoding), timeout_s=_TIMEOUT_S)
        relayed_s, relay_s = time.perf_counter() - began_s, time.process_time() - used_s
        assert report.delivered == events

        began_s, used_s = time.perf_counter(), time.process_time()
        with Running(Mirror(name, options_of(server.url), local_name=f"{name}-mirror", capacity=capacity)):
            while head_of(f"{name}-mirror") < events:
                time.sleep(0.01)
            mirrored_s, mirror_s = time.perf_counter() - began_s, time.process_time() - used_s
    return (
        f"{encoding}: relay {events / relayed_s:,.0f} events/s ({relay_s / events * 1e6:.1f} µs of processor each), "
        f"mirror {events / mirrored_s:,.0f} events/s ({mirror_s / events * 1e6:.1f} µs)"
    )


def main() -> int:
    """Measure both encodings, and print the rates with the facts of the machine."""
    parser = argparse.ArgumentParser(prog="scripts/measure-relay", description="Measure a relay that catches up.")
    parser.add_argument("--events", type=int, default=200_000, help="default: 200000")
    events = parser.parse_args().events
    lines = [f"{os.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}, {ring.CORE} core, {events} events"]
    lines += [measure(events, encoding) for encoding in Encoding]
    print("\n".join(lines))  # noqa: T201 - it prints its results
    return 0


if __name__ == "__main__":
    sys.exit(main())

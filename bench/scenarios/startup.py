"""The time to the first record: importing, creating, attaching."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import chronostream as cs
from bench.peer import Peer, Spec
from bench.processes import FailedError, Station
from bench.records import FIRST, make_rows
from bench.results import Case, Sample
from bench.scenario import Bench, Metric, Scenario
from bench.scenarios.own import ChronoStream

__all__ = ["IMPORTS", "STARTUP"]

_IMPORT = "import time; begin = time.perf_counter_ns(); import {}; print(time.perf_counter_ns() - begin)"
_IMPORT_LIMIT_S = 30.0
_clock = time.perf_counter_ns


def first_record(station: Station) -> Sample:
    """Open both sides in one process, and pass one record."""
    begin = _clock()
    sender = station.open_sender()
    made = _clock()
    receiver = station.open_receiver(0)
    attached = _clock()
    sender.wait_for_receivers()
    message = sender.message(make_rows(FIRST, 1, station.spec.record_size))
    sending = _clock()
    sender.send(message)
    while not receiver.receive():
        pass
    arrived = _clock()
    receiver.close()
    sender.close()
    return Sample({"make_ns": made - begin, "attach_ns": attached - made, "first_ns": arrived - sending})


def start_scheduler() -> int:
    """Start a scheduler process; return the ns until it is ready."""
    begin = _clock()
    with cs.start(cs.StreamConfig(name=f"bench-start-{os.getpid()}", capacity=1024, remove=True)):
        return _clock() - begin


def _startup(bench: Bench, peer: Peer, _case: Case) -> Sample:
    sample = bench.solo(peer, Spec(), first_record)
    sample.values["import_ns"] = _import_ns(peer.module)
    return sample


def _imports(bench: Bench, _contender: ChronoStream, _case: Case) -> Sample:
    return Sample(
        {
            "chronostream_ns": _import_ns("chronostream"),
            "ring_ns": _import_ns("chronostream.ring"),
            "numpy_ns": _import_ns("numpy"),
            "start_ns": float(bench.alone(start_scheduler)),
        }
    )


def _import_ns(module: str) -> float:
    """Return the ns of an import in a new interpreter; from the second round on, its files are cached."""
    command = [sys.executable, "-c", _IMPORT.format(module)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_IMPORT_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise FailedError(f"import {module} took more than {_IMPORT_LIMIT_S:g} s") from None
    if run.returncode:
        raise FailedError(f"import {module}: {run.stderr.strip().splitlines()[-1]}")
    return float(run.stdout)


STARTUP = Scenario(
    name="startup",
    title="The time to the first record: importing the package, creating the ring, attaching, passing one record.",
    contenders="peers",
    metrics=(
        Metric("import_ns", "import", "ns"),
        Metric("make_ns", "create", "ns"),
        Metric("attach_ns", "attach", "ns"),
        Metric("first_ns", "first record", "ns"),
    ),
    measure=_startup,
)
IMPORTS = Scenario(
    name="imports",
    title="The time that a program with ChronoStream takes to start.",
    contenders="own",
    metrics=(
        Metric("chronostream_ns", "import chronostream", "ns"),
        Metric("ring_ns", "import chronostream.ring", "ns"),
        Metric("numpy_ns", "import numpy", "ns"),
        Metric("start_ns", "`start` until ready", "ns"),
    ),
    measure=_imports,
    draw=None,
)

"""Scenarios without peers: events of the past, the calendar, and recorded files."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import Any

from bench.peer import Contender
from bench.results import Sample
from bench.scenario import Metric, Scenario
from chronostream._extras import require
from chronostream.backfill import expected, replay
from chronostream.boundaries import boundaries, next_boundary
from chronostream.calendar.sequencer import BoundarySequencer
from chronostream.event import EVENT_DTYPE, build_events
from chronostream.recorder.encodings import encoding_options
from chronostream.tables import to_arrow

__all__ = ["BACKFILL", "CALENDAR", "RECORDING", "ChronoStream"]

_ZONE = "America/New_York"
_CAPACITY = 65536
_TURNS = 7
_CALLS = 2_000
_DAY_S = 86_400


class ChronoStream(Contender):
    """The package as a whole."""

    name = "chronostream"
    distribution = "chronostream"
    how = "with its default core"


def backfill(count: int) -> Sample:
    """Build the events of `count` seconds, and replay them into a ring."""
    begin_ns = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000_000
    end_ns = begin_ns + count * 1_000_000_000
    stamps = boundaries("second", begin_ns, end_ns)
    sequences = BoundarySequencer().sequences("second", stamps)
    building_ns = _median_ns(lambda: build_events("second", stamps, sequences, "1.0.0", "bench"))
    name = f"bench-backfill-{os.getpid()}"
    replay_ns = _median_ns(lambda: replay(name, begin_ns, end_ns, capacity=_CAPACITY, remove=True))
    return Sample({"replayed": count / replay_ns * 1e9, "build_ns": building_ns / count})


def calendar() -> Sample:
    """Compute boundaries of a zone with daylight saving time."""
    new_year_2000, new_year_2100 = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 10**9 for year in (2000, 2100))
    begin_ns = time.perf_counter_ns()
    boundaries("day", new_year_2000, new_year_2100, _ZONE)
    first_ns = time.perf_counter_ns() - begin_ns
    now_ns = int(datetime(2026, 3, 8, 12, 34, 56, tzinfo=UTC).timestamp()) * 10**9

    def ask() -> None:
        for _ in repeat(None, _CALLS):
            next_boundary(now_ns, "day", _ZONE)

    return Sample(
        {
            "next_ns": _median_ns(ask) / _CALLS,
            "century_ns": _median_ns(lambda: boundaries("day", new_year_2000, new_year_2100, _ZONE)),
            "first_ns": float(first_ns),
        }
    )


def recording(count: int) -> Sample:
    """Write and read a Parquet file of `count` seconds, with the recorder's encodings and with pyarrow's defaults."""
    pa, parquet = require("pyarrow", "chronostream[arrow]"), require("pyarrow.parquet", "chronostream[arrow]")
    begin_ns = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000_000
    end_ns = begin_ns + count * 1_000_000_000
    events = expected(("second",), begin_ns, end_ns, producer_version="1.0.0", instance_id="bench")
    table = pa.Table.from_batches([to_arrow(events)])
    with tempfile.TemporaryDirectory() as directory:

        def measure(options: dict[str, Any]) -> tuple[int, float, float]:
            path = Path(directory, "file.parquet")
            writing_ns = _median_ns(lambda: parquet.write_table(table, path, compression="zstd", **options))
            return path.stat().st_size, writing_ns, _median_ns(lambda: parquet.read_table(path))

        default, ours = measure({}), measure(encoding_options(EVENT_DTYPE))
    size, writing, reading = (mine / theirs for mine, theirs in zip(ours, default, strict=True))
    return Sample({"bytes": float(ours[0]), "size": size, "writing": writing, "reading": reading})


def _median_ns(work: Callable[[], Any]) -> float:
    costs = []
    for _ in range(_TURNS):
        begin_ns = time.perf_counter_ns()
        work()
        costs.append(time.perf_counter_ns() - begin_ns)
    return statistics.median(costs)


BACKFILL = Scenario(
    name="backfill",
    title="Events of the past: boundaries, sequences and records, and publishing them.",
    contenders="own",
    metrics=(
        Metric("replayed", "events into a ring", "per s", less_is_better=False),
        Metric("build_ns", "`build_events`, per event", "ns"),
    ),
    measure=lambda bench, _contender, _case: bench.alone(backfill, bench.effort.events),
    draw=None,
)
CALENDAR = Scenario(
    name="calendar",
    title=f"Boundaries of days in {_ZONE}.",
    contenders="own",
    metrics=(
        Metric("next_ns", "`next_boundary`", "ns"),
        Metric("century_ns", "a century of days", "ns"),
        Metric("first_ns", "the same, the first time", "ns"),
    ),
    measure=lambda bench, _contender, _case: bench.alone(calendar),
    draw=None,
)
RECORDING = Scenario(
    name="recording",
    title="A recorded day of seconds: the recorder's encodings, and what they are of pyarrow's defaults (both zstd).",
    contenders="own",
    metrics=(
        Metric("bytes", "bytes", "count"),
        Metric("size", "size, of the default's", "share"),
        Metric("writing", "time to write, of the default's", "share"),
        Metric("reading", "time to read, of the default's", "share"),
    ),
    measure=lambda bench, _contender, _case: bench.alone(recording, min(_DAY_S, bench.effort.events)),
    draw=None,
)

"""The examples, run as they stand. All at once: each of them mostly waits for the next second."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.ring.harness import ROOT, TIMEOUT_S
from tests.streams import event_ring, seconds

DIRECTORY = ROOT / "docs" / "examples"
EXAMPLES = sorted(path.stem for path in DIRECTORY.glob("[!_]*.py"))


def start(example: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(DIRECTORY / f"{example}.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def outputs() -> Iterator[dict[str, str]]:
    """What each example printed; each of them ended by itself, and well."""
    with ExitStack() as running:
        started = {example: running.enter_context(start(example, "--count", "2")) for example in EXAMPLES}
        for process in started.values():
            running.callback(process.kill)
        printed = {example: process.communicate(timeout=2 * TIMEOUT_S) for example, process in started.items()}
        for example, (out, err) in printed.items():
            assert (started[example].returncode, err) == (0, ""), f"{example}: {out}{err}"
        yield {example: out for example, (out, _) in printed.items()}


def test_every_gets_one_event_after_the_other(outputs: dict[str, str]) -> None:
    assert re.findall(r"  1-\d+000000000-(\d+)  .* ms late", outputs["every"]) == ["1", "2"]


def test_look_back_finds_events_by_time_and_by_sequence_and_misses_none(outputs: dict[str, str]) -> None:
    by_time, by_sequence, missing, *_ = outputs["look_back"].splitlines()
    first, again, second = map(int, re.findall(r"1-\d+-(\d+)", by_time + by_sequence))
    assert by_time.startswith("by time, the end excluded: [")
    assert by_sequence.startswith("by sequence: [")
    assert (again, second) == (first, first + 1)
    # On a busy machine a second may pass without an event; but no event may be missing.
    assert missing.startswith("missing from it: [")
    assert all(start == stop for start, stop in re.findall(r"range\((\d+), (\d+)\)", missing))


def test_both_asyncio_consumers_get_both_events(outputs: dict[str, str]) -> None:
    for label in ("first", "second"):
        assert re.findall(rf"^{label}: 1-\d+-(\d+)$", outputs["follow_asyncio"], re.MULTILINE) == ["1", "2"]


def test_data_frames_show_the_events_in_each_library(outputs: dict[str, str]) -> None:
    arrow, pandas, polars = outputs["data_frames"].split("\n\n")
    assert "timestamp: timestamp[ns, tz=UTC]" in arrow
    assert len(re.findall(r"second +\d", pandas)) == len(re.findall(r"second +┆ \d", polars)) == 2


def test_the_recording_is_found_by_a_query(outputs: dict[str, str]) -> None:
    recorded = re.match(r"(\d+) records in \['example-.*\.parquet'\], 0 lost\n", outputs["record"])
    assert recorded
    assert re.search(rf"second +│ +{recorded[1]} │", outputs["record"])


def test_the_rollup_has_readings_in_each_period_and_hardly_any_late(outputs: dict[str, str]) -> None:
    rows = re.findall(r"(\d+) readings  min (\S+)  mean (\S+)  max (\S+)  late (\d+)", outputs["rollup"])
    assert len(rows) == 2
    for count, low, mean, high, late in rows:
        assert int(count) > 0
        assert float(low) <= float(mean) <= float(high)
        assert int(late) <= 3  # the one that the sensor had in hand, at each of three boundaries


def test_every_example_is_looked_at_here(outputs: dict[str, str]) -> None:
    looked_at = re.findall(r'outputs\["(\w+)"\]', Path(__file__).read_text())
    assert set(outputs) == set(looked_at)


def test_an_example_follows_the_stream_that_it_is_given(name: str) -> None:
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 3))
        with start("record", name, "--count", "1") as process:
            out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, err) == (0, "")
    assert out.startswith(f"3 records in ['{name}.0001.")

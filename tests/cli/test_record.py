from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from chronostream.cli import main
from chronostream.recorder import recorded_files
from chronostream.ring import Producer, inspect
from tests.ring.harness import path_of, wait_until
from tests.streams import event_ring, seconds


def closed_ring(name: str, capacity: int = 64, first: int = 1) -> None:
    """Make a closed stream of twenty events, from this sequence on."""
    producer = event_ring(name, capacity)
    producer.publish_many(seconds(first, 20))
    producer.close(remove=False)


@contextmanager
def once_everything_is_read(name: str, act: Callable[[], object]) -> Iterator[None]:
    """Act while the block runs, as soon as the stream's one consumer has read what there is."""

    def wait_and_act() -> None:
        wait_until(lambda: [consumer.lag for consumer in inspect(name).consumers] == [0])
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    yield
    thread.join()


def test_a_closed_stream_is_recorded_and_summed_up(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed_ring(name)
    assert main(["record", name, "--to", str(tmp_path / "new")]) == 0
    (file,) = recorded_files(tmp_path / "new", name)
    assert pq.read_table(file.path).num_rows == 20
    assert capsys.readouterr().out == (
        f"{name}: 20 records in 1 file in {tmp_path / 'new'}, positions 0 to 19\n0 records lost\n"
    )


def test_programs_get_the_summary_as_json(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    closed_ring(name, capacity=8)
    assert main(["record", name, "--to", str(tmp_path)]) == 0
    capsys.readouterr()
    closed_ring(name, capacity=8, first=21)
    assert main(["record", name, "--to", str(tmp_path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "stream": name,
        "directory": str(tmp_path),
        "records": 8,
        "files": [recorded_files(tmp_path, name)[-1].path.name],
        "first": 32,
        "last": 39,
        "lost_records": 12,
        "lost": [[20, 31]],
        "rejected_records": 0,
        "rejected": [],
        "resumed_behind": 19,
        "made_anew": False,
    }


def test_a_summary_tells_what_was_lost_and_where_it_went_on(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed_ring(name, capacity=8)
    main(["record", name, "--to", str(tmp_path)])
    (file,) = recorded_files(tmp_path, name)
    path_of(name).unlink()
    closed_ring(name, capacity=8)
    capsys.readouterr()
    assert main(["record", name, "--to", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"went on behind {file.path.name}",
        "the stream was made anew since: what the old one still had is gone, positions begin at 0 again",
        "lost 12 records, positions 0 to 11",
        "12 records lost",
    ]


def test_a_summary_names_what_was_set_aside(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = seconds(1, 5)
    events["frequency"][[1, 2, 4]] = 0
    for output in ("text", "json"):
        with event_ring(name) as producer:
            producer.publish_many(events)
            producer.close(remove=False)
        assert main(["record", name, "--to", str(tmp_path / output), "--format", output]) == 0
    text, _, summary = capsys.readouterr().out.partition("{")
    assert text.splitlines()[1:] == [
        "set aside 3 records that no table can hold, positions 1 to 2, 4",
        "0 records lost",
    ]
    found = json.loads("{" + summary)
    assert (found["records"], found["rejected_records"], found["rejected"]) == (4, 6, [[1, 2], [4, 4], [6, 7], [9, 9]])


def test_partitions_and_ids_are_flags(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    closed_ring(name)
    assert main(["record", name, "--to", str(tmp_path), "--hive", "--ids", "--format", "json"]) == 0
    (file,) = recorded_files(tmp_path, name)
    relative = f"stream={name}/date=2023-11-14/{file.path.name}"
    assert (json.loads(capsys.readouterr().out)["files"], file.path) == ([relative], tmp_path / relative)
    assert "id" in pq.read_schema(file.path).names


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_finishes_the_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    with event_ring(name) as producer, once_everything_is_read(name, lambda: os.kill(os.getpid(), number)):
        producer.publish_many(seconds(1, 5))
        assert main(["record", name, "--to", str(tmp_path)]) == 0
    assert "5 records in 1 file" in capsys.readouterr().out
    assert signal.getsignal(number) == before


def test_files_are_cut_by_size(name: str, tmp_path: Path) -> None:
    producer = Producer.create(name, "<i8", 1 << 17)
    producer.publish_many(np.random.default_rng(1).integers(0, 1 << 62, 1 << 17))
    producer.close(remove=False)
    assert main(["record", name, "--to", str(tmp_path), "--max-size", "100kB", "--no-daily"]) == 0
    assert len(recorded_files(tmp_path, name)) > 1


def test_recording_begins_with_the_next_record_and_ends_after_its_time(name: str, tmp_path: Path) -> None:
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 5))
        assert main(["record", name, "--to", str(tmp_path), "--from", "next", "--for", "50ms"]) == 0
    assert recorded_files(tmp_path, name) == []


def test_a_removed_stream_fails_after_its_summary(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with event_ring(name) as producer, once_everything_is_read(name, path_of(name).unlink):
        producer.publish_many(seconds(1, 5))
        assert main(["record", name, "--to", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "5 records in 1 file" in out
    assert "was removed" in err


def test_a_stream_that_is_not_there_fails(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", name, "--to", str(tmp_path), "--wait", "10ms"]) == 1
    assert "there is no stream" in capsys.readouterr().err


def test_without_pyarrow_it_says_what_to_install(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed_ring(name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["record", name, "--to", str(tmp_path)]) == 1
    assert "pip install 'chronostream[arrow]'" in capsys.readouterr().err

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from chronostream.cli import main
from chronostream.recorder import recorded_files
from chronostream.ring import Producer, inspect
from tests.ring.harness import path_of, wait_until
from tests.streams import event_ring, seconds


@pytest.fixture(autouse=True)
def _logging_as_it_was(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back what the command sets up for a process of its own."""
    caplog.set_level(logging.INFO, "chronostream")
    monkeypatch.setattr(logging.Formatter, "converter", logging.Formatter.converter)


def closed_ring(name: str, capacity: int = 64, events: int = 20) -> None:
    producer = event_ring(name, capacity)
    producer.publish_many(seconds(1, events))
    producer.close(unlink=False)


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
    producer = event_ring(name, 8)
    producer.publish_many(seconds(21, 20))
    producer.close(unlink=False)
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_finishes_the_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    before = signal.getsignal(number)

    def stop_once_everything_is_read() -> None:
        wait_until(lambda: [consumer.lag for consumer in inspect(name).consumers] == [0])
        os.kill(os.getpid(), number)

    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 5))
        stopping = threading.Thread(target=stop_once_everything_is_read)
        stopping.start()
        assert main(["record", name, "--to", str(tmp_path)]) == 0
        stopping.join()
    assert "5 records in 1 file" in capsys.readouterr().out
    assert signal.getsignal(number) == before


def test_files_are_cut_by_size(name: str, tmp_path: Path) -> None:
    producer = Producer.create(name, "<i8", 1 << 17)
    producer.publish_many(np.random.default_rng(1).integers(0, 1 << 62, 1 << 17))
    producer.close(unlink=False)
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
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 5))

        def remove_once_everything_is_read() -> None:
            wait_until(lambda: [consumer.lag for consumer in inspect(name).consumers] == [0])
            path_of(name).unlink()

        removal = threading.Thread(target=remove_once_everything_is_read)
        removal.start()
        assert main(["record", name, "--to", str(tmp_path)]) == 1
        removal.join()
    out, err = capsys.readouterr()
    assert "5 records in 1 file" in out
    assert "was removed" in err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--from", "newest"], "--from is 'newest', expected oldest or next"),
        (["--every", "often"], "--every is 'often', expected a duration"),
        (["--every", "0s"], "every_s is 0"),
        (["--max-size", "big"], "--max-size is 'big', expected a size such as 64MB"),
        (["--max-size", "0"], "max_bytes is 0"),
    ],
)
def test_wrong_usage_is_told(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    closed_ring(name)
    assert main(["record", name, "--to", str(tmp_path), *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_a_directory_must_be_named(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", name]) == 2
    assert "--to" in capsys.readouterr().err


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

"""A recorder is killed, really, wherever it hurts, and the next one goes on."""

from __future__ import annotations

import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from chronostream.recorder import recorded_files
from tests.process_harness import Programs
from tests.recorder.harness import record, wait_for_files
from tests.streams import event_ring, seconds

DIES = """
import os, signal, sys
from pathlib import Path
from chronostream.recorder import Recorder
from chronostream.recorder.files import UnfinishedFile

name, directory, point, *hive = sys.argv[1:]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def before(owner, method):
    setattr(owner, method, die)

def behind(owner, method):
    original = getattr(owner, method)
    def dies(*arguments):
        original(*arguments)
        die()
    setattr(owner, method, dies)

with Recorder(name, directory, hive=bool(hive)) as recorder:
    recorder.take()
    recorder.finish_file()
    print("ready", flush=True)
    sys.stdin.readline()
    when, method = point.split()
    owner = {"add": UnfinishedFile, "rename": Path}[method]
    (before if when == "before" else behind)(owner, method)
    recorder.take()
    recorder.finish_file()
"""


def sequences_in(directory: Path, name: str) -> list[int]:
    tables = [pq.read_table(file.path) for file in recorded_files(directory, name)]
    return [number for table in tables for number in table.column("sequence").to_pylist()]


@pytest.mark.parametrize("layout", [[], ["hive"]], ids=["flat", "hive"])
@pytest.mark.parametrize("point", ["behind add", "before rename", "behind rename"])
def test_wherever_it_is_killed_nothing_is_there_twice_and_nothing_is_absent(
    name: str, tmp_path: Path, programs: Programs, point: str, layout: list[str]
) -> None:
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 10))
        recorder = programs.python("-c", DIES, name, str(tmp_path), point, *layout)
        assert recorder.out.line() == "ready"
        producer.publish_many(seconds(11, 10))
        recorder.write("\n")
        assert recorder.wait() == -signal.SIGKILL
        assert all(pq.read_metadata(file.path).num_rows == 10 for file in recorded_files(tmp_path, name))
        producer.publish_many(seconds(21, 10))
        report = record(name, tmp_path)
    assert sequences_in(tmp_path, name) == list(range(1, 31))
    assert report.lost == []
    assert list(tmp_path.glob(".*.unfinished")) == []


@pytest.mark.parametrize("point", ["behind add", "before rename", "behind rename"])
def test_wherever_it_is_killed_what_no_table_can_hold_is_there_once(
    name: str, tmp_path: Path, programs: Programs, point: str
) -> None:
    events = seconds(1, 20)
    events["frequency"][[3, 13, 19]] = 0
    with event_ring(name) as producer:
        producer.publish_many(events[:10])
        recorder = programs.python("-c", DIES, name, str(tmp_path), point)
        assert recorder.out.line() == "ready"
        producer.publish_many(events[10:])
        recorder.write("\n")
        assert recorder.wait() == -signal.SIGKILL
        record(name, tmp_path)
    files = recorded_files(tmp_path, name)
    assert sequences_in(tmp_path, name) == [*range(1, 4), *range(5, 14), *range(15, 20)]
    assert [position for file in files for position in file.metadata().rejected] == [3, 13, 19]
    assert [(file.first, file.last) for file in files] == [(0, 9), (10, 19)]


def test_the_command_survives_being_killed_again_and_again(name: str, tmp_path: Path, programs: Programs) -> None:
    published = 0
    with event_ring(name, 1024) as producer:
        for _ in range(2):
            before = len(recorded_files(tmp_path, name))
            command = programs.chronostream("record", name, "--to", str(tmp_path), "--every", "10ms")
            for files in (1, 2, None):
                producer.publish_many(seconds(published + 1, 50))
                published += 50
                if files is not None:
                    wait_for_files(tmp_path, name, before + files)
            assert command.stop(signal.SIGKILL)[0] == -signal.SIGKILL
        report = record(name, tmp_path)
    assert report.lost == []
    assert sequences_in(tmp_path, name) == list(range(1, published + 1))

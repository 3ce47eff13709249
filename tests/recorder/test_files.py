from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronostream.errors import RecordingError
from chronostream.recorder.files import (
    Metadata,
    RecordedFile,
    UnfinishedFile,
    digest,
    locked,
    recorded_files,
)
from tests.ring.harness import in_fork

DTYPE = np.dtype("<i8")
DATE = "2026-11-25"


def metadata(first: int, last: int, *, stream: str = "clock", era: int = 1) -> Metadata:
    return Metadata(
        stream=stream,
        era=era,
        first=first,
        last=last,
        lost_before=0,
        generation=1,
        producer_started_ns=2,
        producer_version="v",
        instance_id="i",
        timezone="UTC",
        dtype='"<i8"',
        last_record=digest(np.array([last])),
    )


def begin(directory: Path, first: int, *, era: int = 1, max_bytes: int | None = None) -> UnfinishedFile:
    return UnfinishedFile(directory, "clock", era, first, DTYPE, max_bytes)


def write(directory: Path, first: int, last: int, *, era: int = 1) -> RecordedFile:
    file = begin(directory, first, era=era)
    file.add(np.arange(first, last + 1))
    return file.finish(metadata(first, last, era=era), DATE)


def values(file: RecordedFile) -> list[int]:
    found: list[int] = pq.read_table(file.path).column("value").to_pylist()
    return found


def test_a_finished_file_has_its_positions_in_its_name(tmp_path: Path) -> None:
    file = write(tmp_path, 7, 11)
    assert file.path.name == "clock.0001.0000000000000007-0000000000000011.2026-11-25.parquet"
    assert (len(file), values(file)) == (5, [7, 8, 9, 10, 11])
    assert [path.name for path in tmp_path.iterdir()] == [file.path.name]


def test_a_file_is_not_there_before_it_is_finished(tmp_path: Path) -> None:
    file = begin(tmp_path, 0)
    file.add(np.arange(3))
    assert list(tmp_path.glob("*.parquet")) == []
    assert recorded_files(tmp_path, "clock") == []
    file.discard()
    file.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def watched_fsync(descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append("fsync directory" if target.is_dir() else "fsync file")
        fsync(descriptor)

    def watched_rename(path: Path, target: Path) -> Path:
        steps.append("rename")
        assert pq.read_table(path).num_rows == 3
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "rename", watched_rename)
    write(tmp_path, 0, 2)
    assert steps == ["fsync file", "rename", "fsync directory"]


def test_new_folders_are_on_the_disk_when_a_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    fsync = os.fsync

    def watched_fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    file = UnfinishedFile(tmp_path, "clock", 1, 0, DTYPE, None, hive=True)
    file.add(np.arange(3))
    finished = file.finish(metadata(0, 2), DATE)
    folder = tmp_path / "stream=clock" / f"date={DATE}"
    assert (finished.path.parent, values(finished)) == (folder, [0, 1, 2])
    assert synced[1:] == [tmp_path, folder.parent, folder]


def test_the_metadata_comes_back_as_it_was_written(tmp_path: Path) -> None:
    assert write(tmp_path, 7, 11).metadata() == metadata(7, 11)


def test_any_parquet_reader_finds_the_metadata(tmp_path: Path) -> None:
    fields = json.loads(pq.read_metadata(write(tmp_path, 7, 11).path).metadata[b"chronostream"])
    assert (fields["format"], fields["stream"], fields["first"], fields["last"]) == (1, "clock", 7, 11)


def test_files_are_listed_in_the_order_of_the_stream(tmp_path: Path) -> None:
    later = write(tmp_path, 0, 3, era=10001)
    second = write(tmp_path, 10**17, 10**17 + 1, era=2)
    first = write(tmp_path, 5, 6, era=2)
    assert recorded_files(tmp_path, "clock") == [first, second, later]


@pytest.mark.parametrize(
    "name",
    [
        "other.0001.0000000000000007-0000000000000011.2026-11-25.parquet",
        "my-clock.0001.0000000000000007-0000000000000011.2026-11-25.parquet",
        "clock.x.0001.0000000000000007-0000000000000011.2026-11-25.parquet",
        "clock.parquet",
        "clock.0001.0000000000000007-0000000000000011.2026-11-25.parquet.old",
    ],
)
def test_other_files_are_none_of_the_recording(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert recorded_files(tmp_path, "clock") == []


@pytest.mark.parametrize("stream", ["cl*k", "a**b", "[c]lock", "../clock"])
def test_a_name_is_no_pattern(tmp_path: Path, stream: str) -> None:
    write(tmp_path, 0, 1)
    assert recorded_files(tmp_path, stream) == []


def test_a_directory_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    assert recorded_files(tmp_path / "nowhere", "clock") == []


@pytest.mark.parametrize("content", ["nothing", "half", "foreign", "later"])
def test_a_file_that_is_none_of_a_recording_is_refused(tmp_path: Path, content: str) -> None:
    file = write(tmp_path, 0, 1)
    if content == "nothing":
        file.path.write_bytes(b"")
    elif content == "half":
        file.path.write_bytes(file.path.read_bytes()[:-20])
    elif content == "foreign":
        pq.write_table(pa.table({"value": [1]}), file.path)
    else:
        table = pa.table({"value": [1]}).replace_schema_metadata({"chronostream": json.dumps({"format": 2})})
        pq.write_table(table, file.path)
    with pytest.raises(RecordingError, match="is not a readable file of a recording"):
        file.metadata()


def test_a_file_under_another_files_name_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, 0, 1)
    file.path.rename(tmp_path / file.path.name.replace("0000000000000001.", "0000000000000002."))
    (renamed,) = recorded_files(tmp_path, "clock")
    with pytest.raises(RecordingError, match="which does not match its name"):
        renamed.metadata()


def test_a_file_with_a_size_gets_full(tmp_path: Path) -> None:
    file = begin(tmp_path, 0, max_bytes=1000)
    assert not file.is_full
    first = 0
    while not file.is_full:
        file.add(np.random.default_rng(first).integers(0, 1 << 62, 10))
        first += 10
    assert 50 < first < 300
    size = file.finish(metadata(0, first - 1), DATE).path.stat().st_size
    assert 1000 <= size < 5000


def test_many_records_go_to_the_file_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chronostream.recorder.files._ROW_GROUP_BYTES", 80)
    file = begin(tmp_path, 0)
    for first in range(0, 40, 5):
        file.add(np.arange(first, first + 5))
    finished = file.finish(metadata(0, 39), DATE)
    assert pq.read_metadata(finished.path).num_row_groups == 4
    assert values(finished) == list(range(40))


def test_records_that_no_table_can_hold_are_in_the_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chronostream.recorder.files._ROW_GROUP_BYTES", 80)
    days = np.arange(40).view("M8[D]")
    days[[0, 11, 12, 39]] = np.datetime64(1 << 40, "D")
    file = UnfinishedFile(tmp_path, "clock", 1, 100, days.dtype, None)
    for part in np.split(days, 8):
        file.add(part)
    finished = file.finish(metadata(100, 139), DATE)
    assert pq.read_table(finished.path).column("value").to_pylist() == np.delete(days, [0, 11, 12, 39]).tolist()
    assert list(finished.metadata().rejected) == list(file.rejected) == [100, 111, 112, 139]
    assert set(finished.metadata().rejected.values()) == {np.array([1 << 40]).tobytes()}
    assert file.reason.startswith("field 'value' holds ")
    rejected = json.loads(pq.read_metadata(finished.path).metadata[b"chronostream"])["rejected"]
    assert {place: base64.b64decode(raw) for place, raw in rejected.items()} == {
        str(place): raw for place, raw in file.rejected.items()
    }


def test_rejected_records_count_for_the_size_and_their_number_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chronostream.recorder.files._ROW_GROUP_BYTES", 8)
    monkeypatch.setattr("chronostream.recorder.files._MAX_REJECTED_BYTES", 800)
    rejected = np.full(50, 1 << 40).view("M8[D]")
    limited = UnfinishedFile(tmp_path, "clock", 1, 0, rejected.dtype, None)
    sized = UnfinishedFile(tmp_path, "sized", 1, 0, rejected.dtype, 300)
    for file, full in ((limited, [False, True]), (sized, [True, True])):
        found = []
        for _ in range(2):
            file.add(rejected)
            found.append(file.is_full)
        assert found == full
        file.discard()


def test_gaps_between_the_fields_of_a_rejected_record_are_kept(tmp_path: Path) -> None:
    dtype = np.dtype({"names": ["day"], "formats": ["M8[D]"], "offsets": [8], "itemsize": 24})
    records = np.frombuffer(bytes(range(1, 25)) * 2, dtype)
    file = UnfinishedFile(tmp_path, "clock", 1, 0, dtype, None)
    for part in np.split(records, 2):
        file.add(part)
    assert list(file.finish(metadata(0, 1), DATE).metadata().rejected.values()) == [bytes(range(1, 25))] * 2


def test_only_one_recorder_has_a_directory(tmp_path: Path) -> None:
    def record_too() -> None:
        with pytest.raises(RecordingError, match=f"process {os.getppid()} already records stream 'clock'"):
            locked(tmp_path, "clock").__enter__()
        locked(tmp_path, "other").__enter__()

    with locked(tmp_path, "clock"):
        assert in_fork(record_too) == 0
    with locked(tmp_path, "clock"):
        pass


def test_what_a_recorder_that_died_left_unfinished_is_cleared_away(tmp_path: Path) -> None:
    def die() -> None:
        with locked(tmp_path, "clock"):
            begin(tmp_path, 5).add(np.arange(3))
            os._exit(3)

    assert in_fork(die) == 3
    others = tmp_path / ".clock.x.0001.0000000000000005.unfinished"
    others.touch()
    with locked(tmp_path, "clock"):
        assert [path for path in tmp_path.iterdir() if path.suffix == ".unfinished"] == [others]


def test_a_directory_is_made_with_those_above_it(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b", "clock"):
        assert (tmp_path / "a" / "b").is_dir()


def test_a_directory_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordingError, match="cannot record into"):
        locked(tmp_path / "file", "clock").__enter__()

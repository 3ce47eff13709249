from __future__ import annotations

import errno
import logging
import sys
import threading
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

import chronostream as cs
from chronostream.boundaries import boundaries
from chronostream.errors import (
    ClosedError,
    InvalidNameError,
    InvalidTypeError,
    InvalidValueError,
    MissingDependencyError,
    RecordingError,
    StreamNotFoundError,
    StreamRemovedError,
)
from chronostream.event import build_events
from chronostream.recorder import RecordedFile, Recorder, recorded_files
from chronostream.recorder.files import UnfinishedFile
from chronostream.ring import Producer, inspect
from chronostream.testing import Feed
from tests.mirror_harness import mirrored
from tests.recorder.harness import record, recorded, wait_for_files
from tests.ring.harness import path_of
from tests.streams import NOON_NS, NS, event_ring, seconds

RECORDER = "chronostream.recorder.recorder"
TICK = np.dtype([("time", "M8[ns]"), ("symbol", "S8"), ("price", "<f8"), ("sizes", "<u4", 2)])


def numbers(files: list[RecordedFile]) -> list[int]:
    """Return the sequences, or the values, that the files hold, in their order."""
    tables = [pq.read_table(file.path) for file in files]
    return [value for table in tables for value in table.column(1 if table.num_columns > 1 else 0).to_pylist()]


def test_a_stream_is_recorded_until_it_is_closed(name: str, tmp_path: Path) -> None:
    producer = event_ring(name)
    producer.publish_many(seconds(1, 20))

    def go_on_and_close() -> None:
        producer.publish_many(seconds(21, 5))
        producer.close()

    with Recorder(name, tmp_path) as recorder:
        threading.Timer(0.05, go_on_and_close).start()
        report = recorder.run()
    assert (report.records, report.lost, report.resumed, report.recreated) == (25, [], None, False)
    assert report.files == recorded_files(tmp_path, name)
    assert numbers(report.files) == list(range(1, 26))


def test_the_former_names_of_the_report_still_work() -> None:
    assert cs.recorder.Report is cs.recorder.RecordingReport
    assert [cs.recorder.RecordingReport(recreated=recreated).made_anew for recreated in (False, True)] == [False, True]


def test_pandas_polars_and_duckdb_read_the_same(name: str, tmp_path: Path) -> None:
    with event_ring(name) as producer, recorded(name, tmp_path) as recorder:
        producer.publish_many(np.concatenate([seconds(1, 20), seconds(1, 1, frequency=cs.Frequency.MINUTE)]))
        recorder.take()
        recorder.finish_file()
        producer.publish_many(seconds(21, 5))
    pattern = str(tmp_path / "*.parquet")
    frame = pd.read_parquet(tmp_path)
    assert frame["timestamp"].dtype == pd.DatetimeTZDtype("ns", "UTC")
    assert frame.loc[frame["frequency"] == "second", "sequence"].tolist() == list(range(1, 26))
    lazy = pl.scan_parquet(pattern).filter(pl.col("frequency") == "second")
    assert lazy.select(pl.col("sequence").sum()).collect().item() == 325
    with duckdb.connect() as database:
        query = f"select count(*), sum(sequence), epoch_ns(min(timestamp)) from '{pattern}' where frequency = 'second'"
        assert database.sql(query).fetchall() == [(25, 325, NOON_NS)]


def test_partitions_are_folders_that_every_reader_knows(name: str, tmp_path: Path) -> None:
    midnight_ns = NOON_NS - NOON_NS % (86_400 * NS) + 86_400 * NS
    with event_ring(name) as producer, recorded(name, tmp_path, hive=True) as recorder:
        producer.publish_many(seconds(1, 10, start_ns=midnight_ns - 4 * NS))
    dates = ["2023-11-14", "2023-11-15"]
    files = recorder.report.files
    assert [file.path.parent for file in files] == [tmp_path / f"stream={name}" / f"date={date}" for date in dates]
    assert recorded_files(tmp_path, name) == files
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == [f"stream={name}"]
    expected = {(name, dates[number > 4], number) for number in range(1, 11)}
    columns, pattern = ["stream", "date", "sequence"], str(tmp_path / "**" / "*.parquet")
    assert {tuple(map(str, row)) for row in pd.read_parquet(tmp_path)[columns].itertuples(index=False)} == {
        (stream, date, str(number)) for stream, date, number in expected
    }
    lazy = pl.scan_parquet(pattern, hive_partitioning=True, try_parse_hive_dates=False)
    assert set(lazy.select(columns).collect().rows()) == expected
    with duckdb.connect() as database:
        query = f"select stream, date::text, sequence from read_parquet('{pattern}', hive_partitioning = true)"
        assert set(database.sql(query).fetchall()) == expected


def test_an_event_of_another_day_is_in_its_own_folder_whatever_came_before(name: str, tmp_path: Path) -> None:
    day_ns, first = 86_400 * NS, seconds(1, 6)
    first["timestamp"][[1, 4]] += [day_ns, -day_ns]
    with event_ring(name) as producer, recorded(name, tmp_path, hive=True) as recorder:
        producer.publish_many(first)
    found = [(file.date, file.first, file.last) for file in recorder.report.files]
    assert found == [
        ("2023-11-14", 0, 0),
        ("2023-11-15", 1, 1),
        ("2023-11-14", 2, 3),
        ("2023-11-13", 4, 4),
        ("2023-11-14", 5, 5),
    ]
    assert all(file.path.parent.name == f"date={file.date}" for file in recorder.report.files)


def test_a_recording_may_change_its_layout(name: str, tmp_path: Path) -> None:
    with event_ring(name) as producer:
        for first, hive in ((1, False), (11, True), (21, True), (31, False)):
            producer.publish_many(seconds(first, 10))
            with recorded(name, tmp_path, hive=hive) as recorder:
                pass
            assert (recorder.report.lost, recorder.report.recreated) == ([], False)
    files = recorded_files(tmp_path, name)
    assert [file.first for file in files] == [0, 10, 20, 30]
    assert [file.path.parent == tmp_path for file in files] == [True, False, False, True]
    assert [file.metadata().last for file in files] == [9, 19, 29, 39]
    assert numbers(files) == list(range(1, 41))


def test_events_get_their_ids(name: str, tmp_path: Path) -> None:
    events = seconds(1, 10)
    events["frequency"][3] = 0
    with event_ring(name) as producer, recorded(name, tmp_path, ids=True) as recorder:
        producer.publish_many(events)
        recorder.take()
        recorder.finish_file()
        producer.publish_many(seconds(11, 1, instance="other"))
    expected = cs.event_ids(np.concatenate([np.delete(events, 3), seconds(11, 1)])).tolist()
    paths = [file.path for file in recorder.report.files]
    assert pq.read_table(paths).column("id").to_pylist() == expected
    assert pl.read_parquet(paths)["id"].to_list() == expected
    assert pd.concat([pd.read_parquet(path) for path in paths])["id"].tolist() == expected
    with duckdb.connect() as database:
        assert database.sql(f"select id from '{tmp_path}/*.parquet' order by sequence").fetchall() == [
            (each,) for each in expected
        ]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [({"ids": True}, "carries no events"), ({"hive": True}, "field 'date' has the name of a partition's column")],
    ids=str,
)
def test_columns_that_cannot_be_there_are_refused_at_the_start(
    name: str, tmp_path: Path, options: dict[str, Any], complaint: str
) -> None:
    with Producer.create(name, [("date", "<i8")], 8), pytest.raises(InvalidValueError, match=complaint):
        Recorder(name, tmp_path, **options)


def test_a_ring_of_any_dtype_is_recorded(name: str, tmp_path: Path) -> None:
    with Producer.create(name, TICK, 16) as producer, recorded(name, tmp_path) as recorder:
        producer.publish((NOON_NS, b"ACME", 1.5, (10, 20)))
    (row,) = pq.read_table(recorder.report.files[0].path).to_pylist()
    assert (row["time"], row["symbol"], row["price"], row["sizes"]) == (
        pd.Timestamp(NOON_NS, tz="UTC"),
        b"ACME",
        1.5,
        [10, 20],
    )
    assert recorder.report.files[0].metadata().timezone == "UTC"


def test_the_first_recording_can_begin_with_the_next_record(name: str, tmp_path: Path) -> None:
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 5))
        with recorded(name, tmp_path, start="next") as recorder:
            producer.publish_many(seconds(6, 2))
    (file,) = recorder.report.files
    assert (file.first, file.last, recorder.position, recorder.report.lost) == (5, 6, 7, [])


def test_an_empty_stream_leaves_no_file(name: str, tmp_path: Path) -> None:
    with event_ring(name):
        assert record(name, tmp_path).files == []
    assert recorded_files(tmp_path, name) == []


def test_the_recorder_is_among_the_consumers_while_it_runs(name: str, tmp_path: Path) -> None:
    with event_ring(name):
        with Recorder(name, tmp_path):
            assert len(inspect(name).consumers) == 1
        assert inspect(name).consumers == ()


def test_the_metadata_says_where_the_records_come_from(name: str, tmp_path: Path) -> None:
    options = {"timezone": "Asia/Tokyo", "instance_id": "me", "producer_version": "2.0"}
    with Feed(name, **options) as feed, recorded(name, tmp_path) as recorder:
        feed.advance(1)
    metadata = recorder.report.files[0].metadata()
    assert (metadata.stream, metadata.first, metadata.last, metadata.generation) == (name, 0, 0, 1)
    assert (metadata.timezone, metadata.instance_id, metadata.producer_version) == ("Asia/Tokyo", "me", "2.0")


@pytest.mark.parametrize(("timezone", "cuts"), [("UTC", [0, 12]), ("America/New_York", [0, 17])])
def test_a_day_of_the_streams_zone_begins_a_file(name: str, tmp_path: Path, timezone: str, cuts: list[int]) -> None:
    with (
        Feed(name, frequencies=("hour",), start=NOON_NS - 1, timezone=timezone) as feed,
        recorded(name, tmp_path) as recorder,
    ):
        feed.advance(20 * 3600)
    assert [file.first for file in recorder.report.files] == cuts
    assert [file.date for file in recorder.report.files] == ["2023-11-14", "2023-11-15"]


def test_a_day_of_the_zone_that_a_mirror_tells_begins_a_file(name: str, tmp_path: Path) -> None:
    midnight_ns = NOON_NS + 11 * 3600 * NS  # in Berlin
    with mirrored(name) as ring:
        ring.publish_many(seconds(1, 8, frequency=cs.Frequency.HOUR, start_ns=midnight_ns - 4 * 3600 * NS))
        before, behind = record(name, tmp_path).files
    assert (before.date, behind.date, behind.first) == ("2023-11-14", "2023-11-15", 4)
    assert behind.metadata().timezone == "Europe/Berlin"


def test_an_event_at_midnight_belongs_to_the_new_day(name: str, tmp_path: Path) -> None:
    midnight_ns = NOON_NS + 43_200 * NS
    with event_ring(name) as producer, recorded(name, tmp_path) as recorder:
        producer.publish_many(seconds(1, 4, start_ns=midnight_ns - 2 * NS))
        recorder.take()
        producer.publish_many(seconds(5, 1, start_ns=midnight_ns - 2 * NS))
    assert [(file.first, file.last) for file in recorder.report.files] == [(0, 1), (2, 4)]


@pytest.mark.parametrize(("daily", "lengths"), [(True, [1] * 10), (False, [10])])
def test_many_days_at_once_make_a_file_each_or_stay_together(
    name: str, tmp_path: Path, daily: bool, lengths: list[int]
) -> None:
    days = boundaries("day", NOON_NS, NOON_NS + 10 * 86_400 * NS)
    with event_ring(name) as producer, recorded(name, tmp_path, daily=daily) as recorder:
        producer.publish_many(build_events("day", days, np.arange(1, 11), "1", "i"))
    assert [len(file) for file in recorder.report.files] == lengths


def test_records_without_a_time_belong_to_the_day_they_are_read_on(name: str, tmp_path: Path) -> None:
    now_ns = NOON_NS
    with Producer.create(name, "<i8", 16) as producer, recorded(name, tmp_path, now_ns=lambda: now_ns) as recorder:
        for value in range(4):
            producer.publish(value)
            recorder.take()
            now_ns += 8 * 3600 * NS
    assert [(file.first, file.last, file.date) for file in recorder.report.files] == [
        (0, 1, "2023-11-14"),
        (2, 3, "2023-11-15"),
    ]


def test_a_file_is_finished_when_it_is_large_enough(name: str, tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 1 << 62, 4096)
    with Producer.create(name, "<i8", 4096) as producer, recorded(name, tmp_path, max_bytes=4000) as recorder:
        for chunk in np.split(values, 64):
            producer.publish_many(chunk)
            recorder.take()
    sizes = [file.path.stat().st_size for file in recorder.report.files]
    assert len(sizes) > 3
    assert all(4000 <= size < 10_000 for size in sizes[:-1])
    assert numbers(recorder.report.files) == values.tolist()


def test_a_file_is_finished_when_it_is_old_enough_though_nothing_comes(name: str, tmp_path: Path) -> None:
    stop = threading.Event()
    with event_ring(name) as producer, Recorder(name, tmp_path, every_s=0.05) as recorder:
        running = threading.Thread(target=recorder.run, args=(stop,))
        running.start()
        for sequence in (1, 2):
            producer.publish_many(seconds(sequence, 1))
            wait_for_files(tmp_path, name, sequence)
        stop.set()
        running.join()


def test_half_a_ring_does_not_wait_for_its_hour(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{RECORDER}._RESTART_S", 0)
    with event_ring(name, 16) as producer, recorded(name, tmp_path, every_s=None) as recorder:
        for sequence in range(1, 21):
            producer.publish_many(seconds(sequence, 1))
            recorder.take()
    assert [len(file) for file in recorder.report.files] == [8, 8, 4]


def test_a_ring_that_turns_over_quickly_is_not_cut_to_pieces(name: str, tmp_path: Path) -> None:
    with event_ring(name, 16) as producer, recorded(name, tmp_path, every_s=None) as recorder:
        for sequence in range(1, 101):
            producer.publish_many(seconds(sequence, 1))
            recorder.take()
    assert [len(file) for file in recorder.report.files] == [100]


def test_a_loss_is_told_everywhere(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with event_ring(name, 8) as producer, recorded(name, tmp_path) as recorder:
        producer.publish_many(seconds(1, 4))
        recorder.take()
        producer.publish_many(seconds(5, 20))
    before, behind = recorder.report.files
    assert (before.first, before.last, behind.first, behind.last) == (0, 3, 16, 23)
    assert (recorder.report.lost, recorder.report.lost_records) == ([range(4, 16)], 12)
    assert (before.metadata().lost_before, behind.metadata().lost_before) == (0, 12)
    assert "12 records lost, positions 4 to 15" in caplog.text


def test_a_loss_before_the_first_file_is_reported_like_any_other(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with event_ring(name, 8) as producer:
        producer.publish_many(seconds(1, 20))
        with Recorder(name, tmp_path):
            producer.publish_many(seconds(21, 20))
        assert recorded_files(tmp_path, name) == []
        with recorded(name, tmp_path) as recorder:
            pass
    (file,) = recorder.report.files
    assert (file.first, file.last, file.metadata().lost_before) == (32, 39, 32)
    assert (recorder.report.lost, recorder.report.lost_records) == ([range(32)], 32)
    assert "32 records lost, positions 0 to 31" in caplog.text


def test_what_was_before_the_next_record_is_no_loss(name: str, tmp_path: Path) -> None:
    with event_ring(name, 8) as producer:
        producer.publish_many(seconds(1, 20))
        with recorded(name, tmp_path, start="next") as recorder:
            producer.publish_many(seconds(21, 12))
    (file,) = recorder.report.files
    assert (file.first, file.metadata().lost_before, recorder.report.lost) == (24, 4, [range(20, 24)])


def test_recording_stops_when_it_is_told_to(name: str, tmp_path: Path) -> None:
    with event_ring(name) as producer, cs.Stop() as stop, Recorder(name, tmp_path) as recorder:
        producer.publish_many(seconds(1, 3))
        threading.Timer(0.05, stop.set).start()
        assert recorder.run(stop).records == 3


def test_recording_stops_after_its_time(name: str, tmp_path: Path) -> None:
    with event_ring(name) as producer, Recorder(name, tmp_path) as recorder:
        producer.publish_many(seconds(1, 3))
        assert recorder.run(for_s=0.05).records == 3


def test_a_stream_that_is_removed_leaves_what_was_read(name: str, tmp_path: Path) -> None:
    with event_ring(name) as producer, Recorder(name, tmp_path) as recorder:
        producer.publish_many(seconds(1, 3))
        path_of(name).unlink()
        with pytest.raises(StreamRemovedError):
            recorder.run()
    assert numbers(recorded_files(tmp_path, name)) == [1, 2, 3]


def test_ctrl_c_leaves_what_was_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with event_ring(name) as producer, Recorder(name, tmp_path) as recorder:
        producer.publish_many(seconds(1, 3))
        recorder.take()

        def interrupted(_timeout_s: float) -> bool:
            raise KeyboardInterrupt

        monkeypatch.setattr(recorder._consumer, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            recorder.run()
    assert numbers(recorded_files(tmp_path, name)) == [1, 2, 3]


@pytest.mark.parametrize("method", ["add", "finish", "__init__"])
def test_a_full_disk_leaves_no_half_file_and_loses_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def full(*_: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with event_ring(name) as producer:
        with Recorder(name, tmp_path) as recorder, monkeypatch.context() as patch:
            producer.publish_many(seconds(1, 3))
            patch.setattr(UnfinishedFile, method, full)
            with pytest.raises(RecordingError, match="No space left on device; the ring still holds"):
                recorder.run(for_s=0.05)
            with pytest.raises(ClosedError):
                recorder.take()
        assert [path.name for path in tmp_path.iterdir()] == [f".{name}.lock"]
        assert numbers(record(name, tmp_path).files) == [1, 2, 3]


def test_events_that_are_none_are_set_aside_and_the_others_recorded(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events = seconds(1, 8)
    events["frequency"][[1, 2]] = 0
    events["instance_id"][5] = b"\xff"
    with event_ring(name) as producer, recorded(name, tmp_path) as recorder:
        producer.publish_many(events)
    report = recorder.report
    (file,) = report.files
    assert numbers(report.files) == [1, 4, 5, 7, 8]
    assert (report.records, report.rejected_records, report.rejected) == (5, 3, [range(1, 3), range(5, 6)])
    assert (file.first, file.last, report.lost) == (0, 7, [])
    assert file.metadata().rejected == {place: events[place].tobytes() for place in (1, 2, 5)}
    assert (
        f"{name}: 3 records that no table can hold are in the metadata of {file.path.name}, positions 1 to 2, 5: "
        "frequency 0 of a record is unknown" in caplog.text
    )


def test_a_day_of_what_no_table_can_hold_is_a_file_of_no_rows(name: str, tmp_path: Path) -> None:
    texts = np.full(3, 0x110000, "<u4").view("<U1")
    with Producer.create(name, "<U1", 8) as producer, recorded(name, tmp_path) as recorder:
        producer.publish_many(texts)
        recorder.take()
    (file,) = recorder.report.files
    assert (recorder.report.records, recorder.report.rejected) == (0, [range(3)])
    assert (len(file), pq.read_table(file.path).num_rows) == (3, 0)
    assert list(file.metadata().rejected.values()) == [text.tobytes() for text in np.split(texts, 3)]


def test_an_event_on_the_last_day_of_all_is_recorded(name: str, tmp_path: Path) -> None:
    last_ns = (1 << 63) - 1
    with event_ring(name) as producer:
        producer.publish_many(
            build_events("second", np.array([last_ns, NOON_NS]), np.array([1, 2], np.uint64), "1", "i")
        )
        files = record(name, tmp_path).files
    assert [(file.date, numbers([file])) for file in files] == [("2262-04-11", [1]), ("2023-11-14", [2])]


def test_closing_leaves_what_is_unfinished_to_the_next_recorder(name: str, tmp_path: Path) -> None:
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 3))
        with Recorder(name, tmp_path) as recorder:
            recorder.take()
            recorder.close()
        assert recorded_files(tmp_path, name) == []
        assert numbers(record(name, tmp_path).files) == [1, 2, 3]


def test_a_second_recorder_is_refused(name: str, tmp_path: Path) -> None:
    with event_ring(name), Recorder(name, tmp_path):
        with pytest.raises(RecordingError, match="already"):
            Recorder(name, tmp_path)
        with Recorder(name, tmp_path / "elsewhere"):
            pass


def test_a_stream_that_is_not_there_is_an_error(name: str, tmp_path: Path) -> None:
    for wait_s in (0, 0.05):
        with pytest.raises(StreamNotFoundError):
            Recorder(name, tmp_path, wait_s=wait_s)


def test_a_stream_that_comes_later_is_waited_for(name: str, tmp_path: Path) -> None:
    made: list[Producer] = []
    timer = threading.Timer(0.05, lambda: made.append(event_ring(name)))
    timer.start()
    with Recorder(name, tmp_path, wait_s=20):
        timer.join()
    made[0].close()


def test_a_dtype_that_arrow_does_not_have_is_refused_at_the_start(name: str, tmp_path: Path) -> None:
    with Producer.create(name, [("z", "<c16")], 8), pytest.raises(InvalidTypeError, match="'z' is complex128"):
        Recorder(name, tmp_path)


@pytest.mark.parametrize("empty", ["S0", "U0", "V0", []], ids=str)
def test_a_field_of_no_bytes_is_refused_at_the_start(name: str, tmp_path: Path, empty: Any) -> None:
    dtype = [("number", "<i4"), ("inner", [("x", "<i4"), ("nothing", empty)])]
    complaint = r"'inner\.nothing' is .*, which takes no bytes: leave it out"
    with Producer.create(name, dtype, 8), pytest.raises(InvalidTypeError, match=complaint):
        Recorder(name, tmp_path)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"every_s": 0}, InvalidValueError),
        ({"every_s": "1h"}, InvalidTypeError),
        ({"max_bytes": -1}, InvalidValueError),
        ({"max_bytes": True}, InvalidTypeError),
        ({"start": "newest"}, InvalidValueError),
        ({"hive": True, "daily": False}, InvalidValueError),
        ({"name": "../x"}, InvalidNameError),
        ({"directory": 5}, InvalidTypeError),
    ],
)
def test_bad_arguments_are_refused(name: str, tmp_path: Path, options: dict[str, Any], error: type[Exception]) -> None:
    arguments: dict[str, Any] = {"name": name, "directory": tmp_path} | options
    with event_ring(name), pytest.raises(error):
        Recorder(**arguments)


def test_a_recorder_does_not_run_for_less_than_no_time_nor_when_it_is_closed(name: str, tmp_path: Path) -> None:
    with event_ring(name), Recorder(name, tmp_path) as recorder:
        with pytest.raises(InvalidValueError, match="for_s is -1"):
            recorder.run(for_s=-1)
        recorder.close()
        with pytest.raises(ClosedError):
            recorder.run()


def test_what_is_not_installed_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with event_ring(name), pytest.raises(MissingDependencyError, match=r"pip install 'chronostream\[arrow\]'"):
        Recorder(name, tmp_path)


def test_finished_files_are_logged(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with event_ring(name) as producer, recorded(name, tmp_path) as recorder:
        producer.publish_many(seconds(1, 3))
    assert f"3 records in {recorder.report.files[0].path.name}" in caplog.text

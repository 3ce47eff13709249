from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chronostream.errors import RecordingError
from chronostream.event import EVENT_DTYPE
from chronostream.recorder import RecordedFile, Recorder, recorded_files
from chronostream.ring import Producer, segment_name
from tests.recorder.harness import record
from tests.streams import event_ring, seconds


def positions(files: list[RecordedFile]) -> list[tuple[int, int, int]]:
    return [(file.era, file.first, file.last) for file in files]


def test_a_recording_goes_on_behind_its_last_file(name: str, tmp_path: Path) -> None:
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 10))
        record(name, tmp_path)
        producer.publish_many(seconds(11, 10))
        report = record(name, tmp_path)
    assert positions(report.files) == [(1, 10, 19)]
    assert report.resumed is not None
    assert (report.resumed.last, report.lost, report.recreated) == (9, [], False)


def test_a_recording_goes_on_behind_a_record_that_no_table_can_hold(name: str, tmp_path: Path) -> None:
    events = seconds(1, 10)
    events["frequency"][-1] = 0
    with event_ring(name) as producer:
        producer.publish_many(events)
        assert record(name, tmp_path).rejected == [range(9, 10)]
        producer.publish_many(seconds(11, 10))
        report = record(name, tmp_path)
    assert (positions(report.files), report.rejected, report.lost) == ([(1, 10, 19)], [], [])
    assert report.recreated is False


def test_a_ring_is_told_from_a_new_one_by_a_record_that_no_table_can_hold(name: str, tmp_path: Path) -> None:
    for last in (b"\xfe", b"\xff"):
        for _ in range(2):
            events = seconds(1, 10)
            events["instance_id"][-1] = last
            with event_ring(name) as producer:
                producer.publish_many(events)
                report = record(name, tmp_path)
                producer.close(remove=False)
        Path("/dev/shm", segment_name(name)).unlink()
    assert report.rejected == [range(19, 20)]
    assert positions(recorded_files(tmp_path, name)) == [(1, 0, 9), (1, 10, 19), (2, 0, 9), (2, 10, 19)]


def test_nothing_new_leaves_everything_as_it_is(name: str, tmp_path: Path) -> None:
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 10))
        record(name, tmp_path)
        assert record(name, tmp_path).files == []
    assert len(recorded_files(tmp_path, name)) == 1


def test_what_the_ring_no_longer_holds_is_told_to_the_record(name: str, tmp_path: Path) -> None:
    with event_ring(name, 8) as producer:
        producer.publish_many(seconds(1, 5))
        record(name, tmp_path)
        producer.publish_many(seconds(6, 20))
        report = record(name, tmp_path)
    assert report.lost == [range(5, 17)]
    assert positions(report.files) == [(1, 17, 24)]
    assert report.files[0].metadata().lost_before == 12


def test_the_next_generation_of_a_stream_is_the_same_recording(name: str, tmp_path: Path) -> None:
    event = seconds(1, 10)
    for generation in (1, 2):
        with event_ring(name) as producer:
            producer.publish_many(event)
            report = record(name, tmp_path)
            producer.close(remove=False)
        assert report.files[0].metadata().generation == generation
    assert positions(recorded_files(tmp_path, name)) == [(1, 0, 9), (1, 10, 19)]


def test_a_generation_whose_predecessor_is_overwritten_is_the_same_recording(name: str, tmp_path: Path) -> None:
    for first, count in ((1, 4), (5, 20)):
        with event_ring(name, 8) as producer:
            producer.publish_many(seconds(first, count))
            report = record(name, tmp_path)
            producer.close(remove=False)
    assert (report.lost, report.recreated) == ([range(4, 16)], False)
    assert positions(recorded_files(tmp_path, name)) == [(1, 0, 3), (1, 16, 23)]


@pytest.mark.parametrize("count", [3, 10, 15])
def test_a_stream_recreated_is_another_era(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 10))
        record(name, tmp_path)
    with event_ring(name) as producer:
        producer.publish_many(seconds(101, count))
        report = record(name, tmp_path)
    assert report.recreated
    assert "the stream was recreated; records of the old one after position 9 are lost" in caplog.text
    assert positions(recorded_files(tmp_path, name)) == [(1, 0, 9), (2, 0, count - 1)]


def test_a_stream_recreated_in_a_later_generation_is_known_by_its_records(name: str, tmp_path: Path) -> None:
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 10))
        record(name, tmp_path)
    for _ in range(2):
        with event_ring(name) as producer:
            producer.publish_many(seconds(101, 10))
            if producer.taken_over:
                report = record(name, tmp_path)
            producer.close(remove=False)
    assert report.recreated
    assert positions(report.files) == [(2, 0, 19)]


def test_a_stream_with_fewer_records_was_recreated_whatever_its_generation(name: str, tmp_path: Path) -> None:
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 10))
        record(name, tmp_path)
    event_ring(name).close(remove=False)
    with event_ring(name) as producer:
        producer.publish_many(seconds(101, 5))
        report = record(name, tmp_path)
    assert report.recreated
    assert positions(report.files) == [(2, 0, 4)]


def test_a_stream_of_fewer_generations_was_recreated(name: str, tmp_path: Path) -> None:
    for _ in range(2):
        with event_ring(name) as producer:
            producer.publish_many(seconds(1, 10))
            record(name, tmp_path)
            producer.close(remove=False)
    with event_ring(name) as producer:
        producer.close()
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 30))
        assert record(name, tmp_path).recreated


def test_what_a_stream_recreated_has_overwritten_is_lost(name: str, tmp_path: Path) -> None:
    with event_ring(name, 8) as producer:
        producer.publish_many(seconds(1, 4))
        record(name, tmp_path)
    with event_ring(name, 8) as producer:
        producer.publish_many(seconds(1, 20))
        report = record(name, tmp_path)
    assert report.lost == [range(12)]
    assert positions(report.files) == [(2, 12, 19)]


def test_records_of_another_dtype_are_not_mixed_in(name: str, tmp_path: Path) -> None:
    with Producer.create(name, "<i8", 8) as producer:
        producer.publish_many(np.arange(3))
        record(name, tmp_path)
    with Producer.create(name, EVENT_DTYPE, 8), pytest.raises(RecordingError, match="another directory"):
        Recorder(name, tmp_path)


def test_a_last_file_that_cannot_be_read_stops_the_recording(name: str, tmp_path: Path) -> None:
    with event_ring(name) as producer:
        producer.publish_many(seconds(1, 3))
        record(name, tmp_path)
        (file,) = recorded_files(tmp_path, name)
        file.path.write_bytes(b"PAR1")
        with pytest.raises(RecordingError, match="move it out of the directory"):
            Recorder(name, tmp_path)

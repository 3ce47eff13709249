from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import zoneinfo
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from chronostream.backfill import FaultKind, expected, fill, verify_stream
from chronostream.bridges.backlog import Backlog
from chronostream.calendar.calendar import Calendar
from chronostream.calendar.gaps import find_gaps
from chronostream.calendar.order import order_key
from chronostream.calendar.zones import ZoneData
from chronostream.cli import main
from chronostream.clock import FakeClock
from chronostream.errors import CorruptSegmentError, InvalidValueError
from chronostream.event import Frequency
from chronostream.observe.doctor import examine
from chronostream.ring import Consumer
from chronostream.stream.events import subscribe
from chronostream.stream.state import Published, StateReader, StreamZoneData
from chronostream.stream.status import stream_status
from tests.engine_harness import DAY, DAY_S, HOUR, HOUR_S, MINUTE, NS, SECOND, Run
from tests.ring.harness import path_of
from tests.zone_harness import BEIRUT, EARLY, LATE, start_anew, zones_as_before

DAY_27 = 738606
EARLY_TEXT, LATE_TEXT = "Asia/Beirut a9695fdb4cb90ad2 2023c", "Asia/Beirut c597ef83db7284c1 2023b"


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * NS


@pytest.fixture(autouse=True)
def _zones() -> Iterator[None]:
    with zones_as_before():
        yield


def beirut(release: Path, *frequencies: Frequency, start: str = "2023-03-25T12:00Z", **options: object) -> Run:
    """Return a run whose zone data are those of a release."""
    start_anew(release)
    run = Run(*frequencies, timezone=BEIRUT, capacity=4096, **{"sequencer": "boundary"} | options)
    run.clock = FakeClock(at(start), boottime_ns=1000 * NS)
    return run


def hour_by_hour(run: Run, until: str) -> None:
    while run.clock.realtime_ns() + HOUR_S * NS <= at(until):
        run.after(HOUR_S)
    run.clock.advance(at(until) - run.clock.realtime_ns())
    run.look()


def facts(run: Run) -> StreamZoneData:
    with Consumer.attach(run.name, register=False) as consumer:
        found = StateReader(consumer.application).zone_data()
    assert found is not None
    return found


def check_order(run: Run) -> None:
    """No event comes twice or behind a later one, and the sequences of each frequency increase."""
    keys = [order_key(event) for event in run.events()]
    assert keys == sorted(set(keys))
    for frequency in Frequency.parse_all(run.config().frequencies):
        sequences = [event.sequence for event in run.events() if event.frequency is frequency]
        assert sequences == sorted(set(sequences))


def test_with_other_zone_data_no_sequence_comes_twice() -> None:
    with beirut(EARLY, DAY) as run:
        run.start()
        hour_by_hour(run, "2023-03-26T21:30Z")
        run.stop()
        start_anew(LATE)
        run.start()
        text = (
            f"{run.name}: zone data differ: the events of {run.name} were made with {EARLY_TEXT}, this host has "
            f"{LATE_TEXT}; the stream goes on behind its last event, and misses the day 2023-03-26T22:00:00Z, so as to "
            "repeat nothing"
        )
        assert run.lines == [(logging.WARNING, text)]
        run.look()
        assert run.missed(DAY) == 0
        hour_by_hour(run, "2023-03-28T00:00Z")
        assert [event.sequence for event in run.events()] == [DAY_27 - 1, DAY_27, DAY_27 + 1]
        assert run.missed(DAY) == 1
        assert run.facts()["barred"] == 1
        check_order(run)


@pytest.mark.parametrize("coalesce", ["earliest", "latest", "all"])
@pytest.mark.parametrize(("first", "then"), [(EARLY, LATE), (LATE, EARLY)])
@pytest.mark.parametrize("sequencer", ["boundary", "counting"])
@pytest.mark.parametrize("changed", ["20:30", "21:00", "21:30", "22:00", "22:30"])
def test_whenever_the_zone_data_change_nothing_comes_twice_or_backwards(
    coalesce: str, first: Path, then: Path, sequencer: str, changed: str
) -> None:
    options = {"sequencer": sequencer, "coalesce": coalesce, "catch_up_window_s": DAY_S}
    with beirut(first, MINUTE, HOUR, DAY, start="2023-03-26T20:00Z", **options) as run:
        run.start()
        hour_by_hour(run, f"2023-03-26T{changed}Z")
        for release in (then, first):
            run.stop()
            start_anew(release)
            run.start()
            run.after(HOUR_S)
        hour_by_hour(run, "2023-03-28T00:00Z")
        check_order(run)
        days = [event.sequence for event in run.events() if event.frequency is DAY]
        if sequencer == "boundary":
            assert days in ([DAY_27, DAY_27 + 1], [DAY_27 + 1])
        assert len(days) + run.missed(DAY) >= 2


def test_a_boundary_that_other_data_put_before_what_was_published_is_missed() -> None:
    with beirut(LATE, MINUTE, DAY, start="2023-03-26T20:55Z") as run:
        run.start()
        for _ in range(10):
            run.after(60)
        run.stop()
        start_anew(EARLY)
        run.start()
        assert run.lines[0][1].endswith("and misses 1 day boundaries, so as to repeat nothing")
        run.after(60)
        assert run.missed(DAY) == 1
        check_order(run)


def test_a_boundary_that_nothing_was_published_behind_is_emitted_late() -> None:
    with beirut(LATE, DAY, start="2023-03-26T20:30Z") as run:
        run.start()
        run.after(HOUR_S)
        assert run.events() == []
        run.stop()
        start_anew(EARLY)
        run.start()
        run.look()
        assert [(event.timestamp, event.sequence) for event in run.events()] == [(at("2023-03-26T21:00Z"), DAY_27)]


def test_what_was_published_and_not_saved_counts_with_other_data_too() -> None:
    with beirut(EARLY, DAY, start="2023-03-26T20:30Z") as run:
        run.start()
        run.engine.step()
        run.engine._save = lambda *_: None  # type: ignore[method-assign]
        run.after(HOUR_S)
        run.die()
        start_anew(LATE)
        run.start()
        hour_by_hour(run, "2023-03-28T00:00Z")
        assert [event.sequence for event in run.events()] == [DAY_27, DAY_27 + 1]
        assert run.missed(DAY) == 1


def test_a_barred_boundary_keeps_no_other_frequency_from_being_punctual() -> None:
    with beirut(EARLY, MINUTE, DAY, start="2023-03-26T20:59Z") as run:
        run.start()
        hour_by_hour(run, "2023-03-26T21:58:30Z")
        run.stop()
        start_anew(LATE)
        run.start()
        run.look()
        run.after(60)
        run.clock.advance(30 * NS)
        run.engine._publish_when_due()
        run.engine.step()
        last = run.events()[-1]
        assert (last.frequency, last.timestamp) == (MINUTE, at("2023-03-26T22:00Z"))
        assert run.missed(DAY) == 1
        assert run.checkpoint().scheduler.frequencies[1].floor_ns == at("2023-03-26T22:00Z")


def test_a_barred_boundary_stays_barred_over_another_restart() -> None:
    with beirut(EARLY, DAY, start="2023-03-26T20:30Z") as run:
        run.start()
        run.look()
        run.after(HOUR_S)
        start_anew(LATE)
        run.restart()
        run.restart()
        assert run.lines[0][1].startswith(f"{run.name}: some events were made with other zone data than {LATE_TEXT}; ")
        hour_by_hour(run, "2023-03-28T00:00Z")
        run.restart()
        assert run.lines == []
        assert [event.sequence for event in run.events()] == [DAY_27, DAY_27 + 1]
        assert run.missed(DAY) == 1


def changed_stream(run: Run) -> str:
    """Run a stream across a change of data in which each release has an event of its own; return its name."""
    run.start()
    hour_by_hour(run, "2023-03-26T21:30Z")
    start_anew(LATE)
    run.restart()
    hour_by_hour(run, "2023-03-28T00:00Z")
    return run.name


def test_verify_says_that_the_zone_data_are_not_the_same(caplog: pytest.LogCaptureFixture) -> None:
    with beirut(EARLY, DAY) as run:
        name = changed_stream(run)
        report = verify_stream(name)
        assert [(fault.kind, fault.first_ns) for fault in report.faults] == [
            (FaultKind.FOREIGN, at("2023-03-26T21:00Z")),
            (FaultKind.ABSENT, at("2023-03-26T22:00Z")),
        ]
        assert f"is on no boundary in Asia/Beirut by this host's zone data, {LATE_TEXT}" in str(report.faults[0])
        assert not verify_stream(name, allow_missed=True).counts[FaultKind.ABSENT]
        messages = [record.getMessage() for record in caplog.records if "verify" not in record.name]
        text = (
            f"the events of {name} before 2023-03-26T21:30:00Z were made with zone data {EARLY_TEXT}; what they must be"
        )
        assert sum(text in message for message in messages) == 2
        start_anew(EARLY)
        verify_stream(name)
        assert f"the events of {name} were made with {LATE_TEXT}, this host has {EARLY_TEXT}; what" in caplog.text


def test_verify_says_nothing_of_zone_data_that_are_the_same(caplog: pytest.LogCaptureFixture) -> None:
    with beirut(EARLY, DAY) as run:
        run.start()
        hour_by_hour(run, "2023-03-28T00:00Z")
        caplog.clear()
        assert verify_stream(run.name).ok
        assert caplog.text == ""


def test_find_gaps_names_the_zone_data_by_which_an_event_is_on_no_boundary() -> None:
    with beirut(EARLY, DAY) as run:
        with subscribe(changed_stream(run), start="oldest") as stream:
            records = stream.read()
        with pytest.raises(InvalidValueError, match=f"the stream has other zone data than this host, {LATE_TEXT}"):
            find_gaps(records, BEIRUT)


def test_a_stream_that_is_filled_has_the_zone_data_of_its_events() -> None:
    with beirut(LATE) as run:
        events = expected(["day"], at("2023-03-25T00:00Z"), at("2023-03-28T00:00Z"), BEIRUT)
        fill(run.config(frequencies=["day"]), [events], clock=run.clock)
        assert facts(run) == StreamZoneData(Calendar.for_zone(BEIRUT).zone_data)
        path_of(run.name).unlink()
        other = ZoneData(BEIRUT, "0" * 16, "2099z")
        fill(run.config(frequencies=["day"]), [events], clock=run.clock, zone_data=other)
        assert facts(run) == StreamZoneData(other)


def test_a_relay_sends_the_zone_data_of_the_stream_and_not_its_own() -> None:
    with beirut(EARLY, DAY) as run:
        run.start()
        run.look()
        start_anew(LATE)
        backlog = Backlog(run.name)
        assert str(backlog.origin("clock").zone) == EARLY_TEXT
        backlog.close()


def test_the_status_and_doctor_tell_of_other_zone_data(capfd: pytest.CaptureFixture[str]) -> None:
    with beirut(EARLY, DAY) as run:
        name = changed_stream(run)
        assert main(["status", name]) == 0
        assert zone_lines(capfd) == [LATE_TEXT, f"{EARLY_TEXT} until 2023-03-26T21:30:00Z"]
        assert not [line for line in streams_finding().split("; ") if name in line]
        start_anew(EARLY)
        difference = f"zone data differ: the events of {name} were made with {LATE_TEXT}, this host has {EARLY_TEXT}"
        assert difference in streams_finding()
        assert main(["status", name]) == 0
        assert zone_lines(capfd)[2:] == [difference]
        run.after(HOUR_S)
        assert f"{name} runs with other zone data than are on disk, {EARLY_TEXT}" in streams_finding()
        assert main(["status", name]) == 0
        assert zone_lines(capfd)[2:] == [f"{EARLY_TEXT} on the producer's disk: restart it to use them", difference]


def zone_lines(capfd: pytest.CaptureFixture[str]) -> list[str]:
    start = "  zone data  "
    return [line.removeprefix(start) for line in capfd.readouterr().out.splitlines() if line.startswith(start)]


def streams_finding() -> str:
    return next(finding.found for finding in examine() if finding.name == "streams")


def test_a_bar_outlasts_that_the_zone_data_were_lost() -> None:
    with beirut(EARLY, DAY, start="2023-03-26T20:30Z") as run:
        run.start()
        run.look()
        run.after(HOUR_S)
        start_anew(LATE)
        with Consumer.attach(run.name, register=False) as consumer:
            offset = 3072 + path_of(run.name).read_bytes().index(consumer.application[:16].tobytes())
        for torn in (True, False):
            run.stop()
            if torn:
                with path_of(run.name).open("r+b") as segment:
                    segment.seek(offset)
                    segment.write(b"torn")
            run.start()
            assert "some events were made with other zone data" in run.lines[0][1]
        hour_by_hour(run, "2023-03-28T00:00Z")
        assert [event.sequence for event in run.events()] == [DAY_27, DAY_27 + 1]


def test_the_stream_keeps_which_data_it_has_and_had() -> None:
    with beirut(EARLY, DAY) as run:
        run.start()
        early = Calendar.for_zone(BEIRUT).zone_data
        assert facts(run) == StreamZoneData(early)
        run.restart()
        assert facts(run) == StreamZoneData(early)
        start_anew(LATE)
        run.restart()
        late = Calendar.for_zone(BEIRUT).zone_data
        assert facts(run) == StreamZoneData(late, early, run.clock.realtime_ns())
        run.clock.advance(NS)
        run.restart()
        assert facts(run) == StreamZoneData(late, early, run.clock.realtime_ns() - NS)
        assert run.lines == []


def test_an_update_that_leaves_the_zone_alone_changes_nothing(tmp_path: Path) -> None:
    with beirut(EARLY, DAY) as run:
        run.start()
        shutil.copytree(EARLY, tmp_path, dirs_exist_ok=True)
        (tmp_path / "+VERSION").write_text("2099z")
        start_anew(tmp_path)
        run.restart()
        assert run.lines == []
        found = facts(run)
        assert (found.current.version, found.replaced) == ("2099z", None)


def test_a_stream_of_an_older_version_is_taken_over_and_keeps_its_data_from_then_on() -> None:
    with beirut(LATE, DAY) as run:
        run.start()
        run.stop()
        with Consumer.attach(run.name, register=False) as consumer:
            assert b"2023b" in consumer.application[3072:3584].tobytes()
        segment = path_of(run.name)
        raw = bytearray(segment.read_bytes())
        offset = raw.index(b"CHRONOSTREAM\0\0\0\0")
        raw[offset + 3072 : offset + 3584] = bytes(512)
        raw[offset + 16 + 5 * 16 : offset + 16 + 6 * 16] = bytes(16)
        segment.write_bytes(raw)
        assert stream_status(run.name).zone_data is None
        start_anew(EARLY)
        run.start()
        run.look()
        assert run.lines == []
        early = Calendar.for_zone(BEIRUT).zone_data
        assert facts(run) == StreamZoneData(early, replaced_at_ns=run.clock.realtime_ns())


def test_sequences_that_no_zone_data_explain_are_refused() -> None:
    with beirut(EARLY, DAY) as run:
        run.start()
        hour_by_hour(run, "2023-03-26T21:30Z")
        run.engine._published[DAY] = Published(DAY_27 + 100, at("2023-03-26T21:00Z"))
        run.engine._save(run.engine._scheduler.state, run.engine._boot_id)
        run.stop()
        start_anew(LATE)
        before = run.segment()
        with pytest.raises(
            CorruptSegmentError, match=f"last day event has sequence {DAY_27 + 100}, and 2023-03-26T22:00"
        ):
            run.start()
        assert run.segment() == before


@pytest.fixture
def upgraded(tmp_path: Path) -> Iterator[tuple[Run, Path]]:
    """A run that uses the data of a directory in which those of another release are now."""
    shutil.copytree(EARLY, tmp_path, dirs_exist_ok=True)
    with beirut(tmp_path, SECOND) as run:
        run.start()
        run.look()
        upgrade(tmp_path, LATE)
        yield run, tmp_path


def upgrade(directory: Path, release: Path) -> None:
    """Replace each file, as a package manager does."""
    for file in ("Asia/Beirut", "+VERSION"):
        shutil.copy(release / file, directory / "new")
        (directory / "new").replace(directory / file)


def test_a_running_producer_notices_once_that_the_zone_data_on_disk_changed(upgraded: tuple[Run, Path]) -> None:
    run, directory = upgraded
    run.after(HOUR_S - 10)
    run.lines.clear()
    run.second_by_second(60)
    text = (
        f"the zone data on disk changed to {LATE_TEXT}: this producer goes on with {EARLY_TEXT} until it is restarted"
    )
    assert run.lines == [(logging.WARNING, f"{run.name}: {text}")]
    assert str(facts(run).current) == EARLY_TEXT
    assert str(facts(run).on_disk) == LATE_TEXT
    run.after(2 * HOUR_S)
    upgrade(directory, EARLY)
    run.lines.clear()
    run.after(2 * HOUR_S)
    assert [line for line in run.lines if "zone" in line[1]] == [
        (logging.INFO, f"{run.name}: the zone data on disk are again those in use, {EARLY_TEXT}")
    ]
    assert facts(run).on_disk is None


def test_a_restart_takes_the_data_on_disk(upgraded: tuple[Run, Path]) -> None:
    run, directory = upgraded
    run.after(2 * HOUR_S)
    start_anew(directory)
    run.restart()
    assert (str(facts(run).current), str(facts(run).replaced), facts(run).on_disk) == (LATE_TEXT, EARLY_TEXT, None)


def test_it_does_not_look_close_to_a_boundary(upgraded: tuple[Run, Path]) -> None:
    run, _ = upgraded
    run.after(HOUR_S + 0.7 - (run.clock.realtime_ns() % NS) / NS)
    assert facts(run).on_disk is None
    run.after(0.4)
    assert facts(run).on_disk is not None


@pytest.mark.parametrize("file", [None, b"TZif", b"", b"\0" * 100])
def test_data_that_are_just_being_replaced_are_no_change(upgraded: tuple[Run, Path], file: bytes | None) -> None:
    run, directory = upgraded
    (directory / BEIRUT).unlink()
    start_anew(EARLY)  # so that it is the zone's file that counts, not another one's
    zoneinfo.reset_tzpath([str(directory)])
    if file is None:
        (directory / BEIRUT).mkdir()
    else:
        (directory / BEIRUT).write_bytes(file)
    run.after(2 * HOUR_S)
    assert facts(run).on_disk is None


PRODUCER = """
import json, sys
from chronostream import FakeClock, StreamConfig
from chronostream.producer.engine import Engine

name, start_ns, end_ns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
clock = FakeClock(start_ns, boottime_ns=start_ns, boot_id=b"0123456789abcdef")
config = StreamConfig(name=name, frequencies=["day"], timezone="Asia/Beirut", sequencer="boundary", capacity=64)
with Engine(config, clock=clock) as engine:
    while clock.realtime_ns() < end_ns:
        clock.advance(min(max(engine.step() - clock.realtime_ns(), 1), end_ns - clock.realtime_ns()))
    engine.step()
"""


def test_processes_with_other_releases_repeat_nothing_and_say_so() -> None:
    with Run(DAY) as run:
        changed = at("2023-03-26T21:30Z")
        spans = [(EARLY, at("2023-03-25T12:00Z"), changed), (LATE, changed, at("2023-03-28T00:00Z"))]
        for release, start_ns, end_ns in spans:
            ended = subprocess.run(
                [sys.executable, "-c", PRODUCER, run.name, str(start_ns), str(end_ns)],
                env=os.environ | {"PYTHONTZPATH": str(release)},
                capture_output=True,
                text=True,
                check=True,
            )
        assert [event.sequence for event in run.events()] == [DAY_27 - 1, DAY_27, DAY_27 + 1]
        (warning,) = ended.stderr.splitlines()
        assert warning.startswith(f"{run.name}: zone data differ: the events of {run.name} were made with {EARLY_TEXT}")
        shown = json.loads(
            subprocess.run(
                [sys.executable, "-m", "chronostream", "status", run.name, "--format", "json"],
                env=os.environ | {"PYTHONTZPATH": str(EARLY)},
                capture_output=True,
                check=True,
            ).stdout
        )
        assert (shown["zone_data"]["current"], shown["zone_data"]["replaced"]) == (LATE_TEXT, EARLY_TEXT)
        assert shown["zone_data"]["difference"].endswith(f"were made with {LATE_TEXT}, this host has {EARLY_TEXT}")

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from chronostream import ring
from chronostream.clock import FakeClock
from chronostream.errors import StreamNotFoundError
from chronostream.event import EVENT_DTYPE, Frequency
from chronostream.ring import Consumer, Producer
from chronostream.ring.layout import HEADER_DTYPE
from chronostream.scheduler import NoticeKind
from chronostream.stream.description import Description
from chronostream.stream.state import STATE_SIZE, Checkpoint, StateReader, StateWriter, description_of
from chronostream.stream.status import Lateness, stream_status
from tests.engine_harness import DAY, DAY_S, HOUR, NOON_S, NS, SECOND, START_NS, Run
from tests.mirror_harness import DESCRIPTION, FRESH, mirrored
from tests.ring.harness import overwrite

ANY_COUNTS = np.zeros(0, np.uint64)  # They are not compared.


@pytest.fixture
def run() -> Iterator[Run]:
    """A stream of seconds and days, half a second after noon."""
    with Run(SECOND, DAY, timezone="Europe/Berlin") as run:
        run.start()
        yield run


def test_before_the_first_event_there_is_none_and_nothing_was_missed(run: Run) -> None:
    status = run.status()
    assert status.condition == "running"
    assert run.description() == Description((SECOND, DAY), "Europe/Berlin", "counting")
    assert status.counts == {kind.label: 0 for kind in NoticeKind}
    assert [known.frequency for known in status.frequencies] == [SECOND, DAY]
    for known in status.frequencies:
        assert (known.last_timestamp, known.last_sequence, known.missed, known.lateness) == (None, None, 0, None)


def test_each_frequency_has_its_last_event_and_its_missed_count(run: Run) -> None:
    midnight_s = NOON_S + DAY_S // 2 - 3600  # Berlin's
    run.after(midnight_s - NOON_S)
    run.after(1)
    second, day = run.status().frequencies
    assert (second.last_timestamp, second.last_sequence) == ((midnight_s + 1) * NS, 2)
    assert second.missed == midnight_s - NOON_S - 1
    assert (day.last_timestamp, day.last_sequence, day.missed) == (midnight_s * NS, 1, 0)


def test_the_lateness_is_of_all_events_of_the_stream(run: Run) -> None:
    run.after(0.5)
    for _ in range(98):
        run.after(1)
    run.restart()
    run.after(1.2)
    second, day = run.status().frequencies
    assert second.lateness == Lateness(0, 0, NS // 5, NS // 5, ANY_COUNTS)
    assert day.lateness is None


def test_a_percentile_never_exceeds_the_largest(run: Run) -> None:
    run.after(0.5)
    run.after(1.3)
    [lateness] = [known.lateness for known in run.status().frequencies if known.lateness]
    assert lateness.p99_9_ns == lateness.max_ns == 3 * NS // 10


def test_beyond_73_minutes_the_largest_alone_is_exact() -> None:
    with Run(HOUR) as run:
        run.start()
        run.clock.suspend(10 * 3600 * NS)
        run.look()
        [hour] = run.status().frequencies
        assert hour.lateness == Lateness(1 << 42, 1 << 42, 1 << 42, (9 * 3600) * NS + NS // 2, ANY_COUNTS)


def test_the_ring_says_who_emits_and_who_reads(run: Run) -> None:
    run.after(1)
    with Consumer.attach(run.name, label="reader"):
        status = stream_status(run.name).ring
    assert (status.name, status.state, status.pid, status.generation) == (run.name, "live", os.getpid(), 1)
    assert (status.head, status.capacity, status.instance, status.version) == (1, 64, "host", "1")
    assert [(consumer.label, consumer.lag) for consumer in status.consumers] == [("reader", 1)]


@pytest.mark.parametrize(("end", "state"), [(Run.stop, "closed"), (Run.die, "dead")], ids=["ended", "died"])
def test_a_stream_keeps_its_status_when_its_engine_is_gone(run: Run, end: Callable[[Run], None], state: str) -> None:
    run.after(10)
    before = run.status()
    end(run)
    assert run.status() == before
    assert stream_status(run.name).ring.state == state


def test_looking_changes_nothing(run: Run) -> None:
    run.after(1)
    before = run.segment()
    run.status()
    assert run.segment() == before


def test_as_plain_values_it_goes_through_json(run: Run) -> None:
    run.after(10)
    plain = json.loads(json.dumps(stream_status(run.name).as_dict()))
    assert (plain["name"], plain["state"], plain["head"], plain["core"]) == (run.name, "live", 1, ring.CORE)
    assert (plain["timezone"], plain["condition"], plain["counts"]["gap"]) == ("Europe/Berlin", "running", 1)
    assert plain["dtype"] == str(EVENT_DTYPE)
    assert list(plain["frequencies"]) == ["second", "day"]
    second = plain["frequencies"]["second"]
    assert (second["last_timestamp"], second["last_sequence"], second["missed"]) == ((NOON_S + 1) * NS, 1, 9)
    assert second["lateness"]["max_ns"] == 9 * NS + NS // 2
    assert plain["frequencies"]["day"]["lateness"] is None


def test_a_ring_of_something_else_has_a_status_without_an_engine(name: str) -> None:
    with Producer.create(name, "<i8", 8, application_size=STATE_SIZE):
        status = stream_status(name)
        assert status.engine is None
        plain = json.loads(json.dumps(status.as_dict()))
    assert (plain["name"], plain["capacity"], plain["dtype"]) == (name, 8, "int64")
    assert "frequencies" not in plain


@pytest.mark.parametrize("size", [0, STATE_SIZE])
def test_events_that_no_engine_writes_have_a_status_without_one(name: str, size: int) -> None:
    with Producer.create(name, EVENT_DTYPE, 8, application_size=size):
        assert stream_status(name).engine is None


def test_a_stream_whose_maker_died_before_it_was_ready_has_a_status_without_an_engine(name: str) -> None:
    with Producer.create(name, EVENT_DTYPE, 8, application_size=STATE_SIZE) as producer:
        StateWriter(producer.application).describe(Description((SECOND,), "UTC", "counting"))
        assert stream_status(name).engine is None


def test_a_mirror_says_what_it_mirrors_and_how_fresh_that_is(name: str) -> None:
    with mirrored(name):
        status = stream_status(name)
    assert (status.engine, status.description, status.freshness) == (None, DESCRIPTION, FRESH)
    plain = json.loads(json.dumps(status.as_dict()))["mirror"]
    assert (plain["source"], plain["frequencies"], plain["skipped"]) == ("hub-clock", ["second", "hour"], 3)


def test_what_a_stream_is_says_its_engine_or_its_mirror(run: Run, name: str) -> None:
    with mirrored(name):
        for each, expected in (
            (run.name, Description((SECOND, DAY), "Europe/Berlin", "counting")),
            (name, DESCRIPTION),
        ):
            with Consumer.attach(each, register=False) as consumer:
                assert description_of(consumer) == stream_status(each).description == expected
        with Producer.create(f"{name}-plain", EVENT_DTYPE, 8), Consumer.attach(f"{name}-plain") as consumer:
            assert description_of(consumer) is None


def test_a_stream_that_is_not_there_is_said_so() -> None:
    with pytest.raises(StreamNotFoundError):
        stream_status("no-such-stream")


def overdue(run: Run) -> float | None:
    """Return since when an event is overdue, in seconds since noon."""
    since_ns = stream_status(run.name).overdue_since_ns
    return None if since_ns is None else since_ns / NS - NOON_S


def watched(monkeypatch: pytest.MonkeyPatch, *frequencies: Frequency) -> Run:
    """Return a stream whose engine and status read the same clock."""
    run = Run(*frequencies)
    run.hang(0, monkeypatch)
    return run


def test_an_event_that_does_not_come_for_five_seconds_is_overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(monkeypatch, SECOND, DAY) as run:
        run.start()
        run.look()
        run.after(1)
        run.clock.advance(5 * NS + NS // 2)  # The next one was due half a second later.
        assert overdue(run) is None
        run.clock.advance(1)
        assert overdue(run) == 2
        assert json.loads(json.dumps(stream_status(run.name).as_dict()))["overdue_since_ns"] == (NOON_S + 2) * NS
        run.look()
        assert overdue(run) is None


def test_the_first_event_of_a_rare_frequency_is_overdue_when_its_boundary_has_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with watched(monkeypatch, HOUR) as run:
        run.start()
        run.look()
        run.clock.advance(3599 * NS)
        assert overdue(run) is None
        run.clock.advance(6 * NS)
        assert overdue(run) == 3600


def _hold(run: Run) -> None:
    run.set_clock(-600)
    run.clock.advance(500 * NS)


def _set_forward(run: Run) -> None:
    run.clock.step(1800 * NS)


def _set_back_unseen(run: Run) -> None:
    run.clock.step(-600 * NS)
    run.clock.advance(500 * NS)


def _quarantine(run: Run) -> None:
    run.set_clock(7200)
    run.clock.advance(60 * NS)


def _set_forward_and_back(run: Run) -> None:
    run.clock.step(7200 * NS)
    run.look()
    run.set_clock(-7200)


def _end(run: Run) -> None:
    run.stop()
    run.clock.advance(60 * NS)


def _die(run: Run) -> None:
    run.die()
    run.clock.advance(60 * NS)


def _lose_the_zone(run: Run) -> None:
    StateWriter(run.engine.ring.application).describe(Description((SECOND,), "Mars/Base", "counting"))
    run.clock.advance(60 * NS)


@pytest.mark.parametrize(
    "happens",
    [_hold, _set_forward, _set_back_unseen, _quarantine, _set_forward_and_back, _end, _die, _lose_the_zone],
)
def test_nothing_is_overdue_because_of_the_clock_or_without_a_producer(
    monkeypatch: pytest.MonkeyPatch, happens: Callable[[Run], None]
) -> None:
    with watched(monkeypatch) as run:
        run.start()
        run.look()
        run.after(1)
        happens(run)
        assert overdue(run) is None


def test_a_reader_that_stalls_finds_nothing_overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    read = StateReader.checkpoint
    with watched(monkeypatch) as stalled:

        def stall(state: StateReader) -> Checkpoint | None:
            checkpoint = read(state)
            stalled.after(60)
            return checkpoint

        stalled.start()
        stalled.look()
        monkeypatch.setattr(StateReader, "checkpoint", stall)
        assert overdue(stalled) is None


def test_a_held_stream_is_overdue_once_the_clock_has_passed_its_next_boundary(monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(monkeypatch) as run:
        run.start()
        run.look()
        run.set_clock(-600)
        run.clock.advance(607 * NS)
        assert overdue(run) == 1


def test_a_producer_that_takes_over_has_five_seconds_for_what_was_due_before(monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(monkeypatch) as run:
        run.start()
        run.look()
        run.stop()
        run.clock.advance(DAY_S * NS)
        run.start()
        fields = HEADER_DTYPE.fields
        assert fields is not None
        overwrite(run.name, fields["started_ns"][1], run.clock.realtime_ns().to_bytes(8, "little"))
        assert overdue(run) is None
        run.clock.advance(5 * NS + 1)
        assert overdue(run) == 1


def test_after_a_reboot_an_event_is_overdue_once_its_producer_has_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(monkeypatch, HOUR) as run:
        run.start()
        run.look()
        run.stop()
        run.clock = FakeClock(START_NS + 60 * NS, boottime_ns=0, boot_id=b"another boot....")
        monkeypatch.setattr("chronostream.stream.status._CLOCK", run.clock)
        run.start()
        run.look()
        run.clock.advance(3600 * NS)
        assert overdue(run) == 3600


def test_readings_of_another_boot_make_nothing_overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(monkeypatch) as run:
        run.start()
        run.look()
        monkeypatch.setattr("chronostream.stream.status._CLOCK", FakeClock(START_NS + DAY_S * NS, boottime_ns=1 << 60))
        assert overdue(run) == 1
        other = FakeClock(START_NS + DAY_S * NS, boottime_ns=1 << 60, boot_id=b"another boot....")
        monkeypatch.setattr("chronostream.stream.status._CLOCK", other)
        assert overdue(run) is None


@pytest.mark.parametrize(
    ("stale_since_ns", "checked_ns", "expected"),
    [(None, NS, None), (3, NS, 3), (None, NS - 1, NS - 1), (3, NS - 1, 3)],
    ids=["current", "stale", "hangs", "both"],
)
def test_an_event_of_a_mirror_is_overdue_while_it_is_stale_or_hangs(
    name: str, monkeypatch: pytest.MonkeyPatch, stale_since_ns: int | None, checked_ns: int, expected: int | None
) -> None:
    monkeypatch.setattr("chronostream.stream.status._CLOCK", FakeClock(6 * NS))
    with mirrored(name) as producer:
        freshness = replace(FRESH, stale_since_ns=stale_since_ns, checked_ns=checked_ns)
        StateWriter(producer.application).save_freshness(freshness)
        assert stream_status(name).overdue_since_ns == expected


def test_what_a_mirror_wrote_holds_only_while_it_goes_on_looking(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with mirrored(name) as producer:
        for now_ns, checked_ns, expected in [(6 * NS, NS, (None, True)), (6 * NS, NS - 1, (NS - 1, False))]:
            monkeypatch.setattr("chronostream.stream.status._CLOCK", FakeClock(now_ns))
            StateWriter(producer.application).save_freshness(replace(FRESH, checked_ns=checked_ns))
            found = stream_status(name).freshness
            assert found is not None
            assert (found.stale_since_ns, found.connected, found.checked_ns) == (*expected, checked_ns)
        producer.close(remove=False)
        found = stream_status(name).freshness
        assert found is not None
        assert (found.stale, found.connected) == (False, False)

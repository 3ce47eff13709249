"""The table of docs/time.md, row by row, from a clock to the events, the status and the log of a real stream."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from chronostream.boundaries import count_boundaries
from chronostream.clock import FakeClock, credibility
from chronostream.clock.credibility import ClockTrust
from chronostream.scheduler import NoticeKind
from tests.engine_harness import DAY, DAY_S, HOUR, HOUR_S, MINUTE, NOON_S, NS, SECOND, START_NS, YEAR_S, Emitted, Run

_MAX_STEP_S = 60


@pytest.fixture
def run() -> Iterator[Run]:
    """A stream of seconds, half a second after noon."""
    with Run() as run:
        run.start()
        run.look()
        yield run


def _seconds(*boundaries: int) -> Emitted:
    return [(SECOND, boundary) for boundary in boundaries]


def _texts(run: Run) -> list[str]:
    return [text for _, text in run.lines]


def test_row_late_wake_within_the_period_emits_the_intended_time(run: Run) -> None:
    assert run.after(1.4) == _seconds(1)
    assert (run.facts(), run.missed()) == ({"late": 1}, 0)
    assert _texts(run) == [f"{run.name}: 2023-11-14T12:00:01Z emitted 0.900 s late"]


def test_row_punctual_wake_is_neither_counted_nor_logged(run: Run) -> None:
    assert run.after(0.5) == _seconds(1)
    assert run.second_by_second(3) == _seconds(2, 3, 4)
    assert (run.facts(), run.missed(), run.lines) == ({}, 0, [])


def test_row_several_passed_earliest_emits_the_first_and_counts_the_rest_as_missed(run: Run) -> None:
    assert run.after(10) == _seconds(1)
    assert (run.facts(), run.missed()) == ({"gap": 1}, 9)
    assert run.after(1) == _seconds(11)


def test_row_several_passed_latest_emits_the_most_recent_only() -> None:
    with Run(coalesce="latest") as run:
        run.start()
        assert run.after(10) == _seconds(10)
        assert (run.facts(), run.missed()) == ({"gap": 1}, 9)
        assert run.after(1) == _seconds(11)


def test_row_several_passed_all_emits_each_in_order_as_far_back_as_the_window() -> None:
    with Run(coalesce="all", catch_up_window_s=3.5) as run:
        run.start()
        assert run.after(10) == _seconds(7, 8, 9, 10)
        assert (run.facts(), run.missed()) == ({"gap": 1}, 6)
        assert run.after(1) == _seconds(11)


def test_row_several_passed_counts_decades_in_closed_form() -> None:
    with Run(SECOND, MINUTE, HOUR, DAY, timezone="Europe/Berlin") as run:
        run.start()
        emitted = run.after(40 * YEAR_S)
        assert [frequency for frequency, _ in emitted] == [SECOND, MINUTE, HOUR, DAY]
        now_ns = run.clock.realtime_ns()
        for frequency, _ in emitted:
            passed = count_boundaries(frequency, START_NS + 1, now_ns + 1, "Europe/Berlin")
            assert run.missed(frequency) == passed - 1


def test_row_several_passed_is_logged_once_per_gap_however_many_frequencies_it_hit() -> None:
    with Run(SECOND, MINUTE) as run:
        run.start()
        run.after(150)
        run.after(0.5)
        [text] = _texts(run)
        assert text == (
            f"{run.name}: several boundaries passed at once, 2023-11-14T12:00:01Z to 2023-11-14T12:02:30Z: "
            "missed 149 of 150 second boundaries, 1 of 2 minute boundaries"
        )


def test_row_step_back_emits_nothing_until_the_clock_has_passed_the_floor_again(run: Run) -> None:
    run.second_by_second(10)
    assert run.set_clock(-5) == []
    assert run.status().condition == "holding"
    assert run.second_by_second(8) == _seconds(11, 12, 13)
    assert run.status().condition == "running"
    assert (run.facts()["hold"], run.facts()["released"], run.missed()) == (1, 1, 0)
    run.check_events()


def test_row_step_back_beyond_max_hold_is_held_and_logged_as_an_error(run: Run) -> None:
    run.after(1)
    assert run.set_clock(-301) == []
    assert run.status().condition == "held"
    [text] = [text for level, text in run.lines if level == logging.ERROR]
    assert text == (
        f"{run.name}: the clock is 300.500 s before 2023-11-14T12:00:01Z, until when nothing is due: "
        "set the clock right, or wait; if it is right, `chronostream remove` the stream and start it again"
    )
    assert run.after(301) == []
    assert run.after(1) == _seconds(2)
    assert run.status().condition == "running"


def test_row_resume_confirmed_by_the_boot_clock_is_as_several_passed(run: Run) -> None:
    run.clock.suspend(YEAR_S * NS)
    assert run.look() == _seconds(1)
    assert (run.facts(), run.missed()) == ({"gap": 1}, YEAR_S - 1)


def test_row_step_forward_up_to_max_step_is_as_several_passed(run: Run) -> None:
    assert run.set_clock(_MAX_STEP_S) == _seconds(1)
    assert (run.facts(), run.missed()) == ({"step_forward": 1, "gap": 1}, _MAX_STEP_S - 1)


def test_row_quarantine_emits_nothing_until_the_clock_has_settled(run: Run) -> None:
    assert run.set_clock(_MAX_STEP_S + 1) == []
    assert (run.status().condition, run.missed()) == ("quarantined", 0)
    assert run.second_by_second(9) == []
    assert run.after(1) == _seconds(1)
    assert run.status().condition == "running"
    assert run.facts() == {"step_forward": 1, "quarantine": 1, "settled": 1, "gap": 1}
    assert run.missed() == _MAX_STEP_S + 1 + 10 - 1


def test_row_quarantine_that_ends_by_the_clock_coming_back_costs_nothing(run: Run) -> None:
    assert run.set_clock(100 * YEAR_S) == []
    assert run.after(0.6) == []
    assert run.set_clock(-100 * YEAR_S) == _seconds(1)
    assert run.second_by_second(2) == _seconds(2, 3)
    assert run.facts() == {"step_forward": 1, "quarantine": 1, "step_back": 1, "returned": 1}
    assert (run.status().condition, run.missed()) == ("running", 0)


def test_row_quarantine_across_a_restart_emits_nothing_until_the_clock_has_settled(run: Run) -> None:
    run.after(1)
    run.clock.step((_MAX_STEP_S + 1) * NS)
    assert run.restart() == []
    assert run.status().condition == "quarantined"
    assert run.after(10) == _seconds(2)
    run.check_accounts()


def test_row_quarantine_across_a_restart_that_ends_by_the_clock_coming_back_costs_nothing(run: Run) -> None:
    run.after(1)
    run.clock.step(100 * YEAR_S * NS)
    assert run.restart() == []
    run.clock.step(-100 * YEAR_S * NS)
    assert run.restart() == []
    assert run.after(1) == _seconds(2)
    assert run.missed() == 0


def test_row_restart_after_the_floor_is_as_several_passed(run: Run) -> None:
    run.after(1)
    run.clock.advance(10 * NS)
    assert run.restart() == _seconds(2)
    assert (run.facts(), run.missed()) == ({"gap": 1}, 9)
    assert run.after(1) == _seconds(12)
    run.check_events()


def test_row_restart_within_the_period_misses_nothing(run: Run) -> None:
    run.after(1)
    assert run.restart() == []
    assert run.after(1) == _seconds(2)
    assert run.missed() == 0


def test_row_restart_before_the_floor_waits_until_past_it(run: Run) -> None:
    run.second_by_second(10)
    run.clock.step(-5 * NS)
    assert run.restart() == []
    assert run.status().condition == "holding"
    assert run.second_by_second(7) == _seconds(11, 12)
    run.check_events()


def test_row_restart_after_a_reboot_believes_a_short_absence_and_quarantines_a_long_one(run: Run) -> None:
    run.after(1)
    for absent_s, emitted in ((_MAX_STEP_S - 1, _seconds(2)), (2 * _MAX_STEP_S, [])):
        # Within one boot, clocks that went on alike would confirm any absence.
        realtime_ns, boottime_ns = (now_ns + absent_s * NS for now_ns in run.clock.both_ns())
        run.clock = FakeClock(realtime_ns, boottime_ns=boottime_ns, boot_id=absent_s.to_bytes(16))
        assert run.restart() == emitted
    assert run.status().condition == "quarantined"


@pytest.mark.parametrize("shift_s", [-900, 1_000_000])
def test_row_restart_in_another_time_namespace_is_no_step_of_the_clock(run: Run, shift_s: int) -> None:
    run.after(1)
    realtime_ns, boottime_ns = run.clock.both_ns()
    run.clock = FakeClock(realtime_ns, boottime_ns=boottime_ns + shift_s * NS, boot_id=b"a time namespace")
    run.clock.advance(NS)
    assert run.restart() == _seconds(2)
    assert run.second_by_second(2) == _seconds(3, 4)
    assert (set(run.facts()) <= {"late"}, run.missed()) == (True, 0)


def _slew(run: Run, ppm: int) -> Emitted:
    """Let a second pass on a slewed wall clock, look, and return what is emitted."""
    boot_ns = NS * 1_000_000 // (1_000_000 + ppm)
    run.clock.advance(boot_ns)
    run.clock.step(NS - boot_ns)
    return run.look()


_SLEWED = pytest.mark.parametrize("ppm", [-500, 500, -83_333, 83_333, -100_000, 100_000])


@_SLEWED
def test_row_slewing_is_nothing_special(run: Run, ppm: int) -> None:
    run.after(0.5)
    for second in range(2, 100):
        assert _slew(run, ppm) == _seconds(second)
    assert (run.facts(), run.missed(), run.lines) == ({}, 0, [])


@_SLEWED
def test_row_slewing_back_from_hours_ahead_costs_no_more_than_settling(run: Run, ppm: int) -> None:
    run.after(0.5)
    assert run.set_clock(2 * HOUR_S) == []
    emitted = [emitted for _ in range(13) for emitted in _slew(run, ppm)]
    assert emitted[0] == (SECOND, 2)
    assert emitted[-1] == (SECOND, 2 * HOUR_S + 14)
    assert run.facts() == {"step_forward": 1, "quarantine": 1, "settled": 1, "gap": 1}
    assert run.status().condition == "running"


def test_row_leap_smear_is_nothing_special() -> None:
    with Run(MINUTE) as run:
        run.start()
        run.after(59.5)
        for minute in range(2, 24 * 60):
            # A second in a day: 694 microseconds in each minute.
            run.clock.step(-694_444)
            run.clock.advance(60 * NS + 694_444)
            assert run.look() == [(MINUTE, 60 * minute)]
            assert run.lines == []


class DoubtedClock(FakeClock):
    """A clock that is not believed before it is set to a time after noon."""

    def doubt(self, trust: ClockTrust, realtime_ns: int) -> str:
        del trust
        return "" if START_NS <= realtime_ns < START_NS + YEAR_S * NS else "not set yet"


@pytest.mark.parametrize("first_s", [0, 4_000_000_000], ids=["1970", "2096"])
@pytest.mark.parametrize("end", [Run.die, Run.stop], ids=["killed", "stopped"])
def test_row_first_reading_in_doubt_emits_nothing_and_misses_nothing(first_s: int, end: Callable[[Run], None]) -> None:
    with Run(SECOND, HOUR) as run:
        run.clock = DoubtedClock(first_s * NS)
        for _ in range(2):  # The second engine knows no more than the first.
            run.start()
            assert run.second_by_second(5) == []
            assert (run.status().condition, run.facts()) == ("quarantined", {"quarantine": 1})
            assert [(level, "not set yet" in text) for level, text in run.lines] == [(logging.WARNING, True)]
            assert [(each.last_sequence, each.missed) for each in run.status().frequencies] == [(None, 0), (None, 0)]
            end(run)
        run.start()
        assert run.set_clock(START_NS / NS - run.clock.realtime_ns() / NS) == []
        assert run.second_by_second(3) == _seconds(1, 2, 3)
        assert run.status().condition == "running"
        assert (run.facts()["quarantine"], run.facts()["returned"], run.missed(), run.missed(HOUR)) == (1, 1, 0, 0)
        lateness = run.status().frequencies[0].lateness
        assert lateness is not None
        assert lateness.max_ns == NS // 2
        run.check_accounts()
        assert run.restart() == []
        assert run.after(1) == _seconds(4)


def test_row_quarantine_in_doubt_does_not_settle() -> None:
    with Run() as run:
        run.clock = DoubtedClock(START_NS)
        run.start()
        run.after(1)
        assert run.set_clock(70 * YEAR_S) == []
        assert run.second_by_second(60) == []
        assert run.set_clock(-70 * YEAR_S) == _seconds(2)
        assert run.facts() == {"step_forward": 1, "step_back": 1, "quarantine": 1, "returned": 1, "late": 1, "gap": 1}


@pytest.mark.parametrize(
    ("trust", "first_s", "condition"),
    [
        ("plausible", 0, "quarantined"),
        ("plausible", 4_000_000_000, "quarantined"),
        ("plausible", 1_800_000_000, "running"),
        ("synced", 1_800_000_000, "quarantined"),
        ("any", 0, "running"),
        ("any", 4_000_000_000, "running"),
    ],
)
def test_row_first_reading_is_believed_as_configured(
    monkeypatch: pytest.MonkeyPatch, trust: ClockTrust, first_s: int, condition: str
) -> None:
    class UnsynchronizedClock(FakeClock):
        def doubt(self, trust: ClockTrust, realtime_ns: int) -> str:
            return credibility.doubt(trust, realtime_ns)

    monkeypatch.setattr(credibility, "clock_sync", lambda: None)
    with Run(trust=trust) as run:
        run.clock = UnsynchronizedClock(first_s * NS)
        run.start()
        run.look()
        assert run.status().condition == condition


def test_row_first_start_has_its_floor_at_now_even_on_a_boundary() -> None:
    with Run(SECOND, DAY) as run:
        run.clock = FakeClock((NOON_S + DAY_S // 2) * NS)
        run.start()
        assert run.look() == []
        assert run.after(1) == _seconds(DAY_S // 2 + 1)
        assert (run.facts(), run.missed(), run.missed(DAY)) == ({}, 0, 0)


def test_boundaries_that_fall_together_go_out_shortest_first() -> None:
    with Run(DAY, HOUR, MINUTE, SECOND, coalesce="latest") as run:
        run.start()
        run.after(DAY_S / 2 - 1)
        assert run.after(1) == [(frequency, DAY_S // 2) for frequency in (SECOND, MINUTE, HOUR, DAY)]


Move = tuple[Callable[[Run, float], Emitted], float]
AFTER, SET_CLOCK = Run.after, Run.set_clock


@pytest.mark.parametrize(
    ("kind", "moves"),
    [
        (NoticeKind.LATE, [(AFTER, 1.4)]),
        (NoticeKind.GAP, [(AFTER, 10)]),
        (NoticeKind.STEP_FORWARD, [(SET_CLOCK, 0.3)]),
        (NoticeKind.STEP_BACK, [(AFTER, 1.3), (SET_CLOCK, -0.3)]),
        (NoticeKind.HOLD, [(AFTER, 0.5), (SET_CLOCK, -5), (AFTER, 1), (AFTER, 1)]),
        (NoticeKind.HELD, [(AFTER, 0.5), (SET_CLOCK, -290), (AFTER, 5), (SET_CLOCK, -20), (AFTER, 1), (AFTER, 1)]),
        (NoticeKind.RELEASED, [(AFTER, 0.5), (SET_CLOCK, -1), (AFTER, 1), (AFTER, 1)]),
        (NoticeKind.QUARANTINE, [(SET_CLOCK, YEAR_S), (AFTER, 1), (AFTER, 1)]),
        (NoticeKind.RETURNED, [(SET_CLOCK, YEAR_S), (SET_CLOCK, -YEAR_S), (AFTER, 0.5)]),
        (NoticeKind.SETTLED, [(SET_CLOCK, YEAR_S), (AFTER, 10), (AFTER, 1)]),
    ],
    ids=lambda value: value.label if isinstance(value, NoticeKind) else "",
)
def test_each_case_ends_in_a_counter_of_the_status_and_in_one_log_line(
    run: Run, kind: NoticeKind, moves: list[Move]
) -> None:
    for move, seconds in moves:
        move(run, seconds)
    assert run.facts()[kind.label] == 1
    counted = [kind.level for kind in NoticeKind for _ in range(run.facts().get(kind.label, 0))]
    assert sorted(level for level, _ in run.lines) == sorted(counted)


def test_the_counters_are_those_of_this_run_and_the_missed_count_is_the_streams(run: Run) -> None:
    run.after(10)
    run.restart()
    assert (run.facts(), run.missed()) == ({}, 9)
    run.stop()
    run.start()
    assert (run.facts(), run.status().condition) == ({}, "running")

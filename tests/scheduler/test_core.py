from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chronostream.clock import FakeClock
from chronostream.errors import ChronoStreamError, InvalidTypeError, InvalidValueError
from chronostream.event import Frequency
from chronostream.scheduler import Condition, FrequencyState, NoticeKind, Scheduler, SchedulerState, Step, Tick

if TYPE_CHECKING:
    from collections.abc import Iterable

_NS = 1_000_000_000
_HOUR_S, _DAY_S, _YEAR_S = 3600, 86_400, 31_536_000
_NOON_S = 1_700_000_000 // _DAY_S * _DAY_S + _DAY_S // 2
"""A noon in UTC: every test starts half a second after it."""
_MAX_STEP_S = 60
"""As far as the clock may jump and be believed at once, unless told otherwise."""

SECOND, MINUTE, HOUR, DAY = Frequency.SECOND, Frequency.MINUTE, Frequency.HOUR, Frequency.DAY


_SLEWED = pytest.mark.parametrize("ppm", [-500, 500, -83_333, 83_333, -100_000, 100_000])
"""Slewed as by ntpd, as by chrony, and as fast as Linux allows."""


class Run:
    """A scheduler under a fake clock, without any thread. Times are seconds since noon."""

    def __init__(self, *frequencies: Frequency, **options: Any) -> None:
        self.clock = FakeClock(_NOON_S * _NS + _NS // 2, boottime_ns=_DAY_S * _NS)
        self.scheduler = Scheduler(frequencies or [SECOND], **options)
        self.options = options
        self.last = self.look()

    def look(self) -> Step:
        self.last = self.scheduler.step(*self.clock.both_ns())
        return self.last

    def after(self, seconds: float) -> list[tuple[Frequency, int]]:
        """Let so much time pass unseen, look, and return what is emitted."""
        self.clock.advance(round(seconds * _NS))
        return self.emitted()

    def set_clock(self, seconds: float) -> list[tuple[Frequency, int]]:
        """Set the wall clock by so much, look, and return what is emitted."""
        self.clock.step(round(seconds * _NS))
        return self.emitted()

    def emitted(self) -> list[tuple[Frequency, int]]:
        return [(tick.frequency, tick.boundary_ns // _NS - _NOON_S) for tick in self.look().ticks]

    def second_by_second(self, seconds: int) -> list[int]:
        """Look each second and return the seconds emitted."""
        return [boundary for _ in range(seconds) for _, boundary in self.after(1)]

    def slew(self, seconds: float, ppm: int) -> list[tuple[Frequency, int]]:
        """Let the slewed wall clock go on by so much, look, and return what is emitted."""
        wall_ns = round(seconds * _NS)
        boot_ns = wall_ns * 1_000_000 // (1_000_000 + ppm)
        self.clock.advance(boot_ns)
        self.clock.step(wall_ns - boot_ns)
        return self.emitted()

    def restart(self, **boot: Any) -> list[tuple[Frequency, int]]:
        state = self.scheduler.state
        self.scheduler = Scheduler(self.scheduler.frequencies, state=state, **boot, **self.options)
        return self.emitted()

    def count(self, kind: NoticeKind) -> int:
        return self.scheduler.status().counts[kind]

    def missed(self, frequency: Frequency = SECOND) -> int:
        return self.scheduler.status().missed[frequency]

    def condition(self) -> Condition:
        return self.scheduler.status().condition

    @property
    def deadline_s(self) -> float:
        return self.last.deadline_ns / _NS - _NOON_S

    @property
    def notices(self) -> list[NoticeKind]:
        return [notice.kind for notice in self.last.notices]


def _seconds(boundaries: Iterable[int]) -> list[tuple[Frequency, int]]:
    return [(SECOND, boundary) for boundary in boundaries]


# The rows of the table in docs/time.md, in its order.


def test_a_late_wake_within_the_period_emits_the_boundary_with_its_intended_time() -> None:
    run = Run()
    assert run.after(1.4) == _seconds([1])
    assert run.notices == [NoticeKind.LATE]
    assert "12:00:01Z emitted 0.900 s late" in run.last.notices[0].message
    assert run.missed() == 0


def test_a_punctual_wake_is_no_fact() -> None:
    run = Run()
    assert run.after(0.6) == _seconds([1])
    assert run.notices == []


def test_several_boundaries_passed_emits_the_earliest_by_default_and_counts_the_rest_as_missed() -> None:
    run = Run()
    assert run.after(10) == _seconds([1])
    assert run.missed() == 9
    assert run.after(1) == _seconds([11])


def test_a_boundary_that_comes_this_instant_has_passed_too() -> None:
    run = Run()
    assert run.after(1.5) == _seconds([1])
    assert run.missed() == 1


def test_several_boundaries_passed_emits_only_the_most_recent_when_so_told() -> None:
    run = Run(coalesce="latest")
    assert run.after(10) == _seconds([10])
    assert run.missed() == 9
    assert run.after(1) == _seconds([11])


def test_several_boundaries_passed_emits_each_in_order_when_so_told() -> None:
    run = Run(coalesce="all")
    assert run.after(10) == _seconds(range(1, 11))
    assert run.missed() == 0


def test_emitting_all_goes_back_no_further_than_the_catch_up_window() -> None:
    run = Run(coalesce="all", catch_up_window_s=3.5)
    assert run.after(10) == _seconds([7, 8, 9, 10])
    assert run.missed() == 6


def test_the_catch_up_window_is_an_hour_unless_told_otherwise() -> None:
    assert len(Run(coalesce="all").after(2 * _HOUR_S)) == _HOUR_S


def test_emitting_all_keeps_the_most_recent_boundary_however_old_it_is() -> None:
    run = Run(DAY, coalesce="all")
    assert run.after(3 * _DAY_S) == [(DAY, 5 * _DAY_S // 2)]
    assert run.missed(DAY) == 2


def test_decades_of_missed_boundaries_are_counted_at_once_per_frequency() -> None:
    run = Run(SECOND, MINUTE, HOUR, DAY)
    run.after(30 * _YEAR_S)
    passed = {SECOND: 30 * _YEAR_S, MINUTE: 30 * _YEAR_S // 60, HOUR: 30 * _YEAR_S // _HOUR_S, DAY: 30 * 365}
    assert run.scheduler.status().missed == {frequency: count - 1 for frequency, count in passed.items()}


def test_a_gap_is_one_fact_however_many_frequencies_it_hit() -> None:
    run = Run(SECOND, MINUTE)
    run.after(150)
    assert run.notices == [NoticeKind.GAP]
    assert "missed 149 of 150 second boundaries, 1 of 2 minute boundaries" in run.last.notices[0].message
    assert run.count(NoticeKind.GAP) == 1


def test_a_step_back_emits_nothing_until_the_clock_has_passed_the_floor_again() -> None:
    run = Run(SECOND, HOUR)
    assert run.second_by_second(10) == list(range(1, 11))
    assert run.set_clock(-5) == []
    assert run.notices == [NoticeKind.STEP_BACK, NoticeKind.HOLD]
    assert run.condition() is Condition.HOLDING
    assert run.second_by_second(8) == [11, 12, 13]
    assert run.condition() is Condition.RUNNING
    assert run.missed() == 0


def test_a_step_back_that_stays_above_the_floor_changes_nothing() -> None:
    run = Run(HOUR)
    run.after(_HOUR_S)
    run.after(1800)
    assert run.set_clock(-1200) == []
    assert run.notices == [NoticeKind.STEP_BACK]
    assert run.condition() is Condition.RUNNING
    assert run.after(3000) == [(HOUR, 7200)]


def test_a_hold_looks_again_when_the_clock_reaches_the_floor() -> None:
    run = Run(HOUR)
    run.after(_HOUR_S)
    run.set_clock(-60)
    assert run.deadline_s == _HOUR_S
    assert run.after(60) == []
    assert run.notices == [NoticeKind.RELEASED]
    assert "after 60.000 s" in run.last.notices[0].message
    assert run.deadline_s == 2 * _HOUR_S


def test_a_step_back_beyond_max_hold_is_an_error_at_once() -> None:
    run = Run()
    run.after(1)
    run.set_clock(-300.5)
    assert run.condition() is Condition.HOLDING
    run.set_clock(-1)
    assert run.condition() is Condition.HELD
    assert run.notices[-1] is NoticeKind.HELD
    assert NoticeKind.HELD.level > NoticeKind.HOLD.level


def test_a_hold_stays_an_error_until_it_is_over_and_is_one_fact() -> None:
    run = Run()
    run.after(1)
    run.set_clock(-400)
    run.after(390)
    assert run.condition() is Condition.HELD
    assert run.after(11) == _seconds([2])
    assert run.condition() is Condition.RUNNING
    assert [run.count(kind) for kind in (NoticeKind.HOLD, NoticeKind.HELD, NoticeKind.RELEASED)] == [1, 1, 1]


def test_a_hold_that_was_an_error_does_not_make_the_next_one_an_error() -> None:
    run = Run()
    run.after(1)
    run.set_clock(-400)
    run.after(401)
    run.set_clock(-10)
    assert run.condition() is Condition.HOLDING


def test_a_clock_set_back_again_and_again_is_an_error_once_the_hold_lasts_beyond_max_hold() -> None:
    run = Run()
    run.after(1)
    run.set_clock(-200)
    run.after(199)
    run.set_clock(-150)
    assert run.condition() is Condition.HOLDING
    run.after(102)
    assert run.condition() is Condition.HELD


def test_a_clock_that_comes_back_from_far_behind_is_believed_at_once() -> None:
    run = Run()
    run.after(1)
    run.set_clock(-_YEAR_S)
    run.after(5)
    assert run.set_clock(_YEAR_S) == _seconds([2])
    assert run.condition() is Condition.RUNNING


def test_a_resume_is_confirmed_by_the_boot_clock_however_long_it_slept() -> None:
    run = Run()
    run.clock.suspend(_YEAR_S * _NS)
    assert run.emitted() == _seconds([1])
    assert run.missed() == _YEAR_S - 1
    assert run.notices == [NoticeKind.GAP]


def test_a_step_forward_up_to_max_step_is_believed_at_once() -> None:
    run = Run()
    assert run.set_clock(_MAX_STEP_S) == _seconds([1])
    assert run.notices == [NoticeKind.STEP_FORWARD, NoticeKind.GAP]
    assert run.missed() == _MAX_STEP_S - 1


def test_each_step_forward_is_measured_from_the_clock_that_was_believed_before_it() -> None:
    run = Run()
    for _ in range(3):
        run.set_clock(_MAX_STEP_S)
    assert run.condition() is Condition.RUNNING
    assert run.count(NoticeKind.QUARANTINE) == 0


def test_a_step_forward_beyond_max_step_emits_nothing_until_the_clock_has_settled() -> None:
    run = Run()
    assert run.set_clock(_MAX_STEP_S + 1) == []
    assert run.notices == [NoticeKind.STEP_FORWARD, NoticeKind.QUARANTINE]
    assert "the clock reads 2023-11-14T12:01:01Z, 61.000 s more than is confirmed" in run.last.notices[1].message
    assert run.condition() is Condition.QUARANTINED
    assert run.second_by_second(9) == []
    assert run.after(1) == _seconds([1])
    assert run.notices == [NoticeKind.SETTLED, NoticeKind.GAP]
    assert run.condition() is Condition.RUNNING
    assert run.missed() == _MAX_STEP_S + 1 + 10 - 1
    assert run.after(1) == _seconds([_MAX_STEP_S + 12])


def test_a_quarantine_looks_again_when_the_clock_will_have_settled() -> None:
    run = Run()
    run.set_clock(_YEAR_S)
    run.after(4)
    assert run.deadline_s == _YEAR_S + 10.5


def test_a_clock_that_comes_back_from_quarantine_costs_nothing() -> None:
    run = Run()
    assert run.set_clock(_YEAR_S) == []
    before = run.scheduler.state.frequencies
    assert run.after(0.6) == []
    assert run.scheduler.state.frequencies == before
    assert run.set_clock(-_YEAR_S) == _seconds([1])
    assert run.notices == [NoticeKind.STEP_BACK, NoticeKind.RETURNED]
    assert run.condition() is Condition.RUNNING
    assert run.missed() == 0


def test_an_excursion_of_59_minutes_costs_nothing() -> None:
    run = Run()
    run.after(0.5)
    assert run.set_clock(59 * 60) == []
    assert run.after(0.6) == []
    assert run.set_clock(-59 * 60) == []
    assert run.second_by_second(3) == [2, 3, 4]
    assert (run.missed(), run.condition(), run.count(NoticeKind.HOLD)) == (0, Condition.RUNNING, 0)


def test_a_quarantined_clock_that_is_set_again_must_settle_anew() -> None:
    run = Run()
    run.set_clock(_YEAR_S)
    run.after(9)
    assert run.set_clock(_YEAR_S) == []
    assert run.after(9) == []
    assert run.after(1) == _seconds([1])
    assert run.count(NoticeKind.QUARANTINE) == 1


@_SLEWED
def test_a_quarantined_clock_may_be_slewed_while_it_settles(ppm: int) -> None:
    run = Run()
    run.set_clock(2 * _HOUR_S)
    begin_ns = run.clock.boottime_ns()
    while not (emitted := run.slew(1, ppm)):
        assert run.clock.boottime_ns() - begin_ns < 10 * _NS
    assert emitted == _seconds([1])
    assert run.clock.boottime_ns() - begin_ns < 12 * _NS
    facts = {kind for kind in NoticeKind if run.count(kind)}
    assert facts == {NoticeKind.STEP_FORWARD, NoticeKind.QUARANTINE, NoticeKind.SETTLED, NoticeKind.GAP}
    assert run.condition() is Condition.RUNNING


def test_each_step_beyond_max_step_is_a_quarantine_of_its_own() -> None:
    run = Run()
    for _ in range(2):
        run.set_clock(_YEAR_S)
        run.after(10)
    assert run.count(NoticeKind.QUARANTINE) == run.count(NoticeKind.SETTLED) == 2


def test_a_restart_goes_on_from_the_floor() -> None:
    run = Run()
    run.after(3)
    missed = run.missed()
    run.clock.advance(5 * _NS)
    assert run.restart() == _seconds([4])
    assert run.missed() == missed + 4


def test_a_restart_tells_that_the_clock_was_set_meanwhile() -> None:
    run = Run()
    run.clock.step(_NS // 10)
    run.restart()
    assert run.notices == [NoticeKind.STEP_FORWARD]


def test_a_restart_after_a_long_time_is_confirmed_by_the_boot_clock() -> None:
    run = Run()
    run.clock.advance(_YEAR_S * _NS)
    assert run.restart() == _seconds([1])


def test_a_step_forward_beyond_max_step_across_a_restart_is_quarantined() -> None:
    run = Run()
    run.clock.step((_MAX_STEP_S + 1) * _NS)
    assert run.restart() == []
    assert run.condition() is Condition.QUARANTINED
    assert run.after(10) == _seconds([1])


def test_a_quarantine_goes_on_after_a_restart_and_settles_anew() -> None:
    run = Run()
    run.set_clock(_YEAR_S)
    run.after(9)
    assert run.restart() == []
    assert run.after(9) == []
    assert run.after(1) == _seconds([1])


def test_under_another_boot_nothing_confirms_how_much_time_passed() -> None:
    run = Run()
    run.clock.advance((_MAX_STEP_S + 1) * _NS)
    assert run.restart(same_boot=False) == []
    assert run.condition() is Condition.QUARANTINED
    assert run.notices == [NoticeKind.QUARANTINE]
    assert run.after(10) == _seconds([1])


def test_under_another_boot_a_short_absence_is_as_several_boundaries_passed() -> None:
    run = Run()
    run.clock.advance(_MAX_STEP_S * _NS)
    assert run.restart(same_boot=False) == _seconds([1])
    assert run.notices == [NoticeKind.GAP]


def test_a_boot_clock_that_went_back_is_another_boots() -> None:
    run = Run()
    # Taken for the same boot, a minute on the wall and a boot clock back by a day would be too far a step.
    rebooted = FakeClock(run.clock.realtime_ns() + _MAX_STEP_S * _NS, boottime_ns=0)
    scheduler = Scheduler([SECOND], state=run.scheduler.state)
    assert scheduler.step(*rebooted.both_ns()).ticks == (Tick(SECOND, (_NOON_S + 1) * _NS),)


@pytest.mark.parametrize("same_boot", [True, False])
def test_a_restart_with_the_clock_before_the_floor_waits_until_past_it(same_boot: bool) -> None:
    run = Run()
    run.second_by_second(10)
    run.clock.step(-5 * _NS)
    assert run.restart(same_boot=same_boot) == []
    assert run.condition() is Condition.HOLDING
    assert run.second_by_second(7) == [11, 12]


@_SLEWED
def test_slewing_is_nothing_special(ppm: int) -> None:
    run = Run()
    run.slew(0.5, ppm)
    emitted = [run.slew(1, ppm) for _ in range(2, 20_000)]
    assert emitted == [_seconds([second]) for second in range(2, 20_000)]
    assert not any(run.scheduler.status().counts.values())


@_SLEWED
@pytest.mark.parametrize("restarted", [False, True])
def test_a_day_of_slewing_between_two_looks_is_no_step(restarted: bool, ppm: int) -> None:
    run = Run(DAY, max_step_s=_DAY_S)
    run.clock.step(_DAY_S * ppm * 1000)
    run.clock.advance(_DAY_S * _NS)
    assert (run.restart() if restarted else run.emitted()) == [(DAY, _DAY_S // 2)]
    assert [run.count(kind) for kind in (NoticeKind.STEP_FORWARD, NoticeKind.STEP_BACK)] == [0, 0]


def test_more_than_slewing_between_two_looks_is_a_step() -> None:
    run = Run(DAY)
    run.clock.step(-(_DAY_S // 8 + 1) * _NS)
    run.after(_DAY_S)
    assert run.count(NoticeKind.STEP_BACK) == 1


@pytest.mark.parametrize("step_s", [0.05, 0.17])
def test_a_step_too_small_to_be_told_from_slewing_costs_nothing(step_s: float) -> None:
    run = Run()
    run.second_by_second(10)
    run.clock.advance(_NS)
    assert run.set_clock(step_s) == _seconds([11])
    run.clock.advance(_NS)
    assert run.set_clock(-step_s) == _seconds([12])
    assert run.second_by_second(2) == [13, 14]
    assert (run.count(NoticeKind.STEP_FORWARD), run.count(NoticeKind.STEP_BACK), run.missed()) == (0, 0, 0)


def test_a_small_step_back_before_the_floor_is_a_hold_although_it_could_be_slewing() -> None:
    run = Run()
    run.after(0.51)
    run.clock.advance(_NS // 50)
    assert run.set_clock(-0.04) == []
    assert (run.notices, run.condition()) == ([NoticeKind.HOLD], Condition.HOLDING)
    assert run.second_by_second(2) == [2]


def test_a_new_stream_begins_once_its_clock_is_not_in_doubt_and_has_missed_nothing() -> None:
    scheduler = Scheduler([SECOND, DAY])
    waiting = [scheduler.step(second * _NS, second * _NS, "not set yet") for second in range(20)]
    assert [step.ticks for step in waiting] == [()] * 20
    assert [step.deadline_ns for step in waiting] == [second * _NS for second in range(1, 21)]
    [notice] = [notice for step in waiting for notice in step.notices]
    assert notice.kind is NoticeKind.QUARANTINE
    assert notice.message.startswith("the clock reads 1970-01-01T00:00:00Z, not set yet: nothing is emitted; set the ")
    assert (scheduler.status().condition, scheduler.has_begun) == (Condition.QUARANTINED, False)
    begun = scheduler.step(_NOON_S * _NS + 1, 20 * _NS)
    assert (begun.ticks, begun.deadline_ns) == ((), (_NOON_S + 1) * _NS)
    assert [notice.kind for notice in begun.notices] == [NoticeKind.RETURNED]
    assert (scheduler.status().condition, scheduler.status().missed) == (Condition.RUNNING, {SECOND: 0, DAY: 0})
    assert scheduler.step((_NOON_S + 1) * _NS, 21 * _NS).ticks == (Tick(SECOND, (_NOON_S + 1) * _NS),)


def test_a_quarantine_does_not_settle_as_long_as_the_clock_is_in_doubt() -> None:
    run = Run()
    run.set_clock(70 * _YEAR_S)
    for _ in range(30):
        run.clock.advance(_NS)
        step = run.scheduler.step(*run.clock.both_ns(), "not set")
        assert step.ticks == ()
        assert step.deadline_ns > run.clock.realtime_ns()
    assert run.condition() is Condition.QUARANTINED
    assert run.after(1) == _seconds([1])


def test_a_quarantine_that_begins_in_doubt_says_why() -> None:
    run = Run()
    run.clock.step(70 * _YEAR_S * _NS)
    step = run.scheduler.step(*run.clock.both_ns(), "after 2036")
    assert [notice.kind for notice in step.notices] == [NoticeKind.STEP_FORWARD, NoticeKind.QUARANTINE]
    assert "Z, after 2036: nothing is emitted; set the clock right" in step.notices[1].message


def test_a_doubt_does_not_stop_a_stream_whose_clock_goes_on() -> None:
    run = Run()
    restored = Scheduler([SECOND], state=run.scheduler.state)
    run.clock.advance(_NS)
    for scheduler in (run.scheduler, restored):
        assert scheduler.step(*run.clock.both_ns(), "not set").ticks == (Tick(SECOND, (_NOON_S + 1) * _NS),)


def test_a_hold_of_years_says_how_to_begin_anew() -> None:
    run = Run()
    run.set_clock(-70 * _YEAR_S)
    assert run.notices[-1] is NoticeKind.HELD
    assert "if it is right, `chronostream remove` the stream and start it again" in run.last.notices[-1].message


# What the table rests on.


def test_at_the_very_first_start_the_floor_is_now_even_on_a_boundary() -> None:
    scheduler = Scheduler([SECOND])
    assert scheduler.step(_NOON_S * _NS, 0) == Step((), (_NOON_S + 1) * _NS, ())


def test_boundaries_that_fall_together_go_out_shortest_first() -> None:
    run = Run(DAY, HOUR, MINUTE, SECOND)
    run.after(_DAY_S // 2 - 1)
    assert run.after(1) == [(frequency, _DAY_S // 2) for frequency in (SECOND, MINUTE, HOUR, DAY)]


def test_boundaries_of_several_frequencies_come_in_one_order() -> None:
    run = Run(MINUTE, SECOND, coalesce="all", catch_up_window_s=61.6)
    assert run.after(120) == [
        *_seconds(range(59, 61)),
        (MINUTE, 60),
        *_seconds(range(61, 121)),
        (MINUTE, 120),
    ]


def test_the_deadline_is_the_earliest_next_boundary() -> None:
    run = Run(HOUR, MINUTE)
    assert run.deadline_s == 60
    run.after(59 * 60 + 30)
    assert run.deadline_s == 3600


def test_upcoming_is_what_will_be_due_at_the_deadline() -> None:
    run = Run(HOUR, MINUTE, SECOND)
    run.after(3599)
    upcoming = run.scheduler.upcoming()
    assert upcoming == tuple(Tick(frequency, (_NOON_S + 3600) * _NS) for frequency in (SECOND, MINUTE, HOUR))
    run.clock.advance(run.last.deadline_ns - run.clock.realtime_ns())
    assert run.look().ticks == upcoming


def test_nothing_is_upcoming_in_quarantine() -> None:
    run = Run()
    run.set_clock(_YEAR_S)
    assert run.scheduler.upcoming() == ()


def test_nothing_is_upcoming_when_the_deadline_is_the_end_of_a_hold() -> None:
    run = Run()
    run.after(10)
    run.set_clock(-5)
    assert run.scheduler.upcoming() == ()


def test_nothing_is_upcoming_before_the_first_step() -> None:
    assert Scheduler([SECOND]).upcoming() == ()


def test_a_step_is_ordinary_from_its_deadline_until_another_boundary_may_be_due() -> None:
    run = Run()
    boottime_ns = run.clock.boottime_ns()
    deadline_ns = run.last.deadline_ns
    assert [run.scheduler.is_ordinary(deadline_ns + late_ns, boottime_ns) for late_ns in (-1, 0, _NS - 1, _NS)] == [
        False,
        True,
        True,
        False,
    ]


def test_no_step_is_ordinary_in_quarantine_or_where_it_would_begin_one() -> None:
    run = Run(DAY)
    deadline_ns = run.last.deadline_ns
    assert not run.scheduler.is_ordinary(deadline_ns, run.clock.boottime_ns())
    run.set_clock(_MAX_STEP_S + 1)
    assert not run.scheduler.is_ordinary(run.last.deadline_ns, run.clock.boottime_ns())
    # Nor when the boot clock has caught up: the quarantine ends with the next step, not before.
    assert not run.scheduler.is_ordinary(run.last.deadline_ns, run.clock.boottime_ns() + _YEAR_S * _NS)


_RANGES = json.loads((Path(__file__).parents[1] / "vectors" / "boundaries.json").read_text())["ranges"]


@pytest.mark.parametrize("case", _RANGES, ids=lambda case: f"{case['zone']}-{case['frequency']}-{case['start']}")
def test_the_boundaries_of_hard_zones_are_emitted_one_by_one(case: dict[str, Any]) -> None:
    expected_ns = case["boundaries_ns"]
    scheduler = Scheduler([case["frequency"]], case["zone"])
    step = scheduler.step(expected_ns[0] - 1, 0)
    emitted_ns = []
    for _ in expected_ns:
        step = scheduler.step(step.deadline_ns, step.deadline_ns - expected_ns[0] + 1)
        emitted_ns += [tick.boundary_ns for tick in step.ticks]
    assert emitted_ns == expected_ns


def test_a_new_scheduler_has_met_with_nothing() -> None:
    status = Scheduler([SECOND]).status()
    assert (status.condition, status.missed) == (Condition.RUNNING, {SECOND: 0})
    assert status.counts == dict.fromkeys(NoticeKind, 0)


def test_a_restored_scheduler_has_its_state_before_its_first_step() -> None:
    run = Run()
    run.after(10)
    restored = Scheduler([SECOND], state=run.scheduler.state)
    assert restored.state == run.scheduler.state
    assert restored.status().missed == {SECOND: 9}


def test_a_new_scheduler_has_no_state_before_its_first_step() -> None:
    with pytest.raises(ChronoStreamError, match=r"no state before its first step: call step\(\) first"):
        _ = Scheduler([SECOND]).state


def test_the_state_is_what_was_reached() -> None:
    run = Run(SECOND, MINUTE)
    run.after(2)
    assert run.scheduler.state == SchedulerState(
        run.clock.realtime_ns(),
        run.clock.boottime_ns(),
        (FrequencyState(SECOND, (_NOON_S + 2) * _NS, 1), FrequencyState(MINUTE, _NOON_S * _NS + _NS // 2, 0)),
    )


def test_the_state_never_holds_a_clock_that_is_not_believed() -> None:
    run = Run()
    run.set_clock(_YEAR_S)
    run.after(1)
    assert run.scheduler.state.realtime_ns == run.clock.realtime_ns() - _YEAR_S * _NS


def test_frequencies_are_taken_by_name_or_number_and_once() -> None:
    assert Scheduler(["minute", 1, SECOND]).frequencies == (SECOND, MINUTE)


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"frequencies": []}, InvalidValueError, "no frequency: give at least one"),
        ({"timezone": "Mars/Olympus"}, InvalidValueError, "Mars/Olympus"),
        ({"state": "new"}, InvalidTypeError, "state is str, expected a SchedulerState"),
        ({"coalesce": "some"}, InvalidValueError, "coalesce is 'some', expected one of earliest, latest, all"),
    ],
    ids=repr,
)
def test_what_cannot_be_scheduled_is_refused_at_once(
    options: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        Scheduler(**{"frequencies": [SECOND]} | options)


@pytest.mark.parametrize("option", ["catch_up_window_s", "max_step_s", "max_hold_s", "settle_s"])
def test_a_time_that_is_no_duration_is_refused(option: str) -> None:
    for value in (-1, float("nan"), float("inf")):
        with pytest.raises(InvalidValueError, match=f"{option} is {value}, expected a finite number"):
            Scheduler([SECOND], **{option: value})  # type: ignore[arg-type]  # one name at a time
    for kind in (str, bool):
        with pytest.raises(InvalidTypeError, match=f"{option} is {kind.__name__}, expected a number of seconds"):
            Scheduler([SECOND], **{option: kind(1)})  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("readings", [(0.5, 0), (0, "0")])
def test_readings_that_are_no_integers_are_refused(readings: tuple[int, int]) -> None:
    with pytest.raises(InvalidTypeError, match=r"time_ns is .*, expected an integer"):
        Scheduler([SECOND]).step(*readings)


def test_a_state_of_other_frequencies_is_refused() -> None:
    state = Run(SECOND, MINUTE).scheduler.state
    with pytest.raises(InvalidValueError, match="the state is of second, minute, the scheduler of second"):
        Scheduler([SECOND], state=state)


def test_without_settling_a_far_clock_is_believed_at_once() -> None:
    run = Run(settle_s=0)
    assert run.set_clock(_YEAR_S) == _seconds([1])
    assert run.notices == [NoticeKind.STEP_FORWARD, NoticeKind.QUARANTINE, NoticeKind.SETTLED, NoticeKind.GAP]


def _barred(until_s: int, **options: Any) -> Run:
    """Return a run whose scheduler may emit no second up to one."""
    run = Run(**options)
    run.options["barred_ns"] = {SECOND: (_NOON_S + until_s) * _NS}
    run.restart()
    return run


def test_a_barred_boundary_is_missed_when_it_passes() -> None:
    run = _barred(2)
    assert run.second_by_second(1) == []
    assert (run.notices, run.missed(), run.count(NoticeKind.BARRED)) == ([NoticeKind.BARRED], 1, 1)
    assert run.scheduler.state.frequencies[0].floor_ns == (_NOON_S + 1) * _NS
    assert run.second_by_second(3) == [3, 4]
    assert (run.missed(), run.count(NoticeKind.BARRED)) == (2, 2)


def test_a_barred_boundary_is_not_upcoming() -> None:
    run = _barred(1)
    assert run.deadline_s == 1
    assert run.scheduler.upcoming() == ()
    run.after(1)
    assert run.scheduler.upcoming() == (Tick(SECOND, (_NOON_S + 2) * _NS),)


def test_a_barred_boundary_that_was_late_is_not_told_as_emitted_late() -> None:
    run = _barred(1)
    assert run.after(1.4) == []
    assert run.notices == [NoticeKind.BARRED]


@pytest.mark.parametrize(
    ("coalesce", "emitted"),
    [("earliest", [(SECOND, 3)]), ("latest", [(SECOND, 5)]), ("all", [(SECOND, 3), (SECOND, 4), (SECOND, 5)])],
)
def test_of_several_boundaries_passed_the_barred_ones_are_never_emitted(
    coalesce: str, emitted: list[tuple[Frequency, int]]
) -> None:
    run = _barred(2, coalesce=coalesce)
    assert run.after(5) == emitted
    assert run.missed() == 5 - len(emitted)


def test_several_barred_boundaries_that_passed_are_all_missed() -> None:
    run = _barred(9)
    assert run.after(5) == []
    assert (run.missed(), run.notices) == (5, [NoticeKind.BARRED])


def test_a_bar_that_lies_below_the_floor_means_nothing() -> None:
    run = _barred(-5)
    assert run.second_by_second(2) == [1, 2]

"""What holds whatever the clocks do, and a naive model that goes boundary by boundary."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from chronostream.boundaries import boundaries, count_boundaries
from chronostream.calendar.calendar import Calendar
from chronostream.clock import FakeClock
from chronostream.event import FREQUENCIES, Frequency
from chronostream.scheduler import Coalesce, Condition, NoticeKind, Scheduler, Step, Tick

if TYPE_CHECKING:
    from chronostream.scheduler import SchedulerState

_NS = 1_000_000_000
_MINUTE_NS, _HOUR_NS, _DAY_NS = 60 * _NS, 3600 * _NS, 86_400 * _NS
_YEAR_NS = 365 * _DAY_NS
_SETTLE_NS = 10 * _NS
_WINDOW_S = 3600

_ZONES = ("UTC", "America/New_York", "America/Havana", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu")
# Just before the clocks of New York and Havana change, and just before Apia skips a day.
_STARTS_NS = st.sampled_from((1_710_000_000, 1_730_500_000, 1_325_100_000)).flatmap(
    lambda start_s: st.integers(start_s * _NS, start_s * _NS + 2 * _DAY_NS)
)
_COALESCE: st.SearchStrategy[Coalesce] = st.sampled_from(get_args(Coalesce))

Move = tuple[str, int]


def _moves(largest_ns: int, *, restarts: bool = True) -> st.SearchStrategy[list[Move]]:
    forward = st.tuples(st.sampled_from(("advance", "suspend")), st.integers(0, largest_ns))
    either_way = st.tuples(st.just("step"), st.integers(-largest_ns, largest_ns))
    onto_deadline = st.just(("deadline", 0))
    kinds = [forward, either_way, onto_deadline, onto_deadline]
    if restarts:
        kinds.append(st.just(("restart", 0)))
    return st.lists(st.one_of(kinds), min_size=1, max_size=25)


class Run:
    """A scheduler under a fake clock that moves as told and looks after each move."""

    def __init__(self, start_ns: int, frequencies: tuple[Frequency, ...], tz: str = "UTC", **options: object) -> None:
        self.clock = FakeClock(start_ns)
        self.frequencies = frequencies
        self.tz = tz
        self.options = options
        self.scheduler = self.restarted(None)
        self.last = self.look()

    def restarted(self, state: SchedulerState | None) -> Scheduler:
        return Scheduler(self.frequencies, self.tz, state=state, **self.options)  # type: ignore[arg-type]  # as given

    def look(self) -> Step:
        self.last = self.scheduler.step(*self.clock.both_ns())
        return self.last

    def move(self, move: Move) -> Step:
        self.move_unseen(move)
        return self.look()

    def move_unseen(self, move: Move) -> None:
        kind, ns = move
        if kind == "advance":
            self.clock.advance(ns)
        elif kind == "suspend":
            self.clock.suspend(ns)
        elif kind == "step":
            self.clock.step(ns)
        elif kind == "deadline":
            self.clock.advance(self.last.deadline_ns - self.clock.realtime_ns())
        else:
            self.scheduler = self.restarted(self.scheduler.state)

    def floors_ns(self) -> dict[Frequency, int]:
        return {kept.frequency: kept.floor_ns for kept in self.scheduler.state.frequencies}

    def missed(self) -> dict[Frequency, int]:
        return self.scheduler.status().missed


class Naive:
    """The floor rule without a thought for cost: every boundary by itself."""

    def __init__(self, start_ns: int, frequencies: tuple[Frequency, ...], tz: str, coalesce: Coalesce) -> None:
        self._tz = tz
        self._coalesce = coalesce
        self._floors_ns = dict.fromkeys(frequencies, start_ns)
        self.missed = dict.fromkeys(frequencies, 0)

    def step(self, now_ns: int) -> list[Tick]:
        ticks: list[Tick] = []
        for frequency, floor_ns in self._floors_ns.items():
            passed = boundaries(frequency, floor_ns + 1, max(now_ns, floor_ns) + 1, self._tz).tolist()
            if not passed:
                continue
            emitted = {
                "earliest": passed[:1],
                "latest": passed[-1:],
                "all": [b for b in passed if b >= now_ns - _WINDOW_S * _NS] or passed[-1:],
            }[self._coalesce]
            ticks += [Tick(frequency, boundary_ns) for boundary_ns in emitted]
            self.missed[frequency] += len(passed) - len(emitted)
            self._floors_ns[frequency] = passed[-1]
        return sorted(ticks, key=lambda tick: (tick.boundary_ns, tick.frequency))


def _agrees_with_the_naive_model(
    start_ns: int, frequencies: tuple[Frequency, ...], tz: str, coalesce: Coalesce, moves: list[Move]
) -> None:
    run = Run(start_ns, frequencies, tz, coalesce=coalesce, catch_up_window_s=_WINDOW_S, max_step_s=10**9)
    naive = Naive(start_ns, frequencies, tz, coalesce)
    for move in moves:
        step = run.move(move)
        assert list(step.ticks) == naive.step(run.clock.realtime_ns())
    assert run.missed() == naive.missed


@settings(max_examples=150)
@given(_STARTS_NS, _COALESCE, _moves(150 * _NS))
def test_seconds_and_minutes_agree_with_the_naive_model(start_ns: int, coalesce: Coalesce, moves: list[Move]) -> None:
    _agrees_with_the_naive_model(start_ns, (Frequency.SECOND, Frequency.MINUTE), "UTC", coalesce, moves)


@settings(max_examples=150)
@given(_STARTS_NS, st.sampled_from(_ZONES), _COALESCE, _moves(2 * _DAY_NS))
def test_hours_and_days_of_hard_zones_agree_with_the_naive_model(
    start_ns: int, tz: str, coalesce: Coalesce, moves: list[Move]
) -> None:
    frequencies = (Frequency.MINUTE, Frequency.HOUR, Frequency.DAY)
    _agrees_with_the_naive_model(start_ns, frequencies, tz, coalesce, moves)


_WILD_MOVES = st.one_of(_moves(20 * _NS), _moves(3 * _HOUR_NS), _moves(5 * _YEAR_NS)) | st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.integers(0, 6 * _NS)),
        st.tuples(st.just("step"), st.sampled_from((-_YEAR_NS, -_DAY_NS, -_NS, _NS, _HOUR_NS, _DAY_NS, _YEAR_NS))),
        st.just(("restart", 0)),
        st.just(("deadline", 0)),
    ),
    max_size=40,
)
_SOME_FREQUENCIES = st.sets(st.sampled_from(FREQUENCIES), min_size=1).map(lambda chosen: tuple(sorted(chosen)))


@settings(max_examples=200)
@given(_STARTS_NS, _SOME_FREQUENCIES, st.sampled_from(_ZONES), _COALESCE, _WILD_MOVES)
def test_whatever_the_clock_does_each_boundary_is_emitted_or_missed_exactly_once_and_never_early(
    start_ns: int, frequencies: tuple[Frequency, ...], tz: str, coalesce: Coalesce, moves: list[Move]
) -> None:
    run = Run(start_ns, frequencies, tz, coalesce=coalesce, catch_up_window_s=60)
    emitted_ns: dict[Frequency, list[int]] = defaultdict(list)
    for move in moves:
        step = run.move(move)
        assert step.deadline_ns > run.clock.realtime_ns()
        keys = [(tick.boundary_ns, tick.frequency) for tick in step.ticks]
        assert keys == sorted(keys)
        for tick in step.ticks:
            assert tick.boundary_ns <= run.clock.realtime_ns()
            emitted_ns[tick.frequency].append(tick.boundary_ns)
    for frequency, floor_ns in run.floors_ns().items():
        sent_ns = emitted_ns[frequency]
        assert all(earlier < later for earlier, later in zip([start_ns, *sent_ns], sent_ns, strict=False))
        assert all(count_boundaries(frequency, sent, sent + 1, tz) == 1 for sent in sent_ns)
        passed = count_boundaries(frequency, start_ns + 1, floor_ns + 1, tz)
        assert len(sent_ns) + run.missed()[frequency] == passed


@settings(max_examples=150)
@given(_STARTS_NS, _SOME_FREQUENCIES, _COALESCE, _WILD_MOVES)
def test_an_ordinary_step_gives_exactly_what_was_upcoming(
    start_ns: int, frequencies: tuple[Frequency, ...], coalesce: Coalesce, moves: list[Move]
) -> None:
    run = Run(start_ns, frequencies, coalesce=coalesce)
    for move in moves:
        run.move_unseen(move)
        ordinary = run.scheduler.is_ordinary(*run.clock.both_ns())
        upcoming = run.scheduler.upcoming()
        ticks = run.look().ticks
        assert not ordinary or ticks == upcoming


@settings(max_examples=200)
@given(_STARTS_NS, _WILD_MOVES)
def test_no_clock_is_believed_far_ahead_unless_it_was_seen_to_stay(start_ns: int, moves: list[Move]) -> None:
    run = Run(start_ns, (Frequency.SECOND,))
    offset_ns = run.clock.realtime_ns() - run.clock.boottime_ns()
    looked_ns = stays_since_ns = run.clock.boottime_ns()
    for move in moves:
        before = run.scheduler.state
        step = run.move(move)
        realtime_ns, boottime_ns = run.clock.both_ns()
        # A slew is no move: up to 0.1 s, and 15 % of the time in between.
        if abs(realtime_ns - boottime_ns - offset_ns) > _NS // 10 + (boottime_ns - looked_ns) * 15 // 100:
            stays_since_ns = boottime_ns
        offset_ns, looked_ns = realtime_ns - boottime_ns, boottime_ns
        confirmed_ns = before.realtime_ns + boottime_ns - before.boottime_ns
        if realtime_ns > confirmed_ns + _MINUTE_NS and boottime_ns - stays_since_ns < _SETTLE_NS:
            assert step.ticks == ()
            assert run.scheduler.state.frequencies == before.frequencies


@settings(max_examples=100)
@given(_STARTS_NS, _SOME_FREQUENCIES, _WILD_MOVES, st.integers(-50 * _YEAR_NS, 80 * _YEAR_NS), _WILD_MOVES)
def test_whatever_a_clock_in_doubt_did_a_stream_begins_as_though_it_had_been_right(
    start_ns: int, frequencies: tuple[Frequency, ...], doubted: list[Move], off_ns: int, moves: list[Move]
) -> None:
    run, witness = Run(start_ns, frequencies), Run(start_ns, frequencies)
    run.scheduler = Scheduler(frequencies)
    run.clock.step(off_ns)
    for move in [("step", 0), *doubted]:
        run.move_unseen(("step", 0) if move[0] == "restart" else move)
        run.last = run.scheduler.step(*run.clock.both_ns(), "not set")
        assert run.last.ticks == ()
    run.clock.step(start_ns - run.clock.realtime_ns())
    run.look()
    for move in moves:
        assert run.move(move).ticks == witness.move(move).ticks
    assert run.scheduler.state.frequencies == witness.scheduler.state.frequencies


_SLEWS = st.lists(
    st.tuples(
        st.sampled_from((500, 83_333, 100_000)) | st.integers(0, 100_000), st.booleans(), st.integers(1, 6 * _NS)
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=150)
@given(_STARTS_NS, _SOME_FREQUENCIES, _SLEWS)
def test_a_clock_that_is_only_slewed_is_never_set_and_misses_only_what_nobody_looked_at(
    start_ns: int, frequencies: tuple[Frequency, ...], slews: list[tuple[int, bool, int]]
) -> None:
    run = Run(start_ns, frequencies, coalesce="all")
    emitted_ns: dict[Frequency, list[int]] = defaultdict(list)
    for ppm, forward, ns in slews:
        run.clock.step(ns * (ppm if forward else -ppm) // 1_000_000)
        for tick in run.move(("advance", ns)).ticks:
            emitted_ns[tick.frequency].append(tick.boundary_ns)
    end_ns = run.clock.realtime_ns() + 1
    assert {f: boundaries(f, start_ns + 1, end_ns, "UTC").tolist() for f in frequencies} == {
        f: emitted_ns[f] for f in frequencies
    }
    assert {kind for kind, count in run.scheduler.status().counts.items() if count} <= {NoticeKind.GAP, NoticeKind.LATE}


@settings(max_examples=150)
@given(_STARTS_NS, st.integers(_MINUTE_NS + 10 * _NS, 5 * _YEAR_NS), _SLEWS)
def test_a_quarantine_ends_in_time_however_the_clock_is_slewed(
    start_ns: int, far_ns: int, slews: list[tuple[int, bool, int]]
) -> None:
    run = Run(start_ns, (Frequency.SECOND,))
    run.move(("step", far_ns))
    since_ns = run.clock.boottime_ns()
    for ppm, forward, ns in slews:
        run.clock.step(ns * (ppm if forward else -ppm) // 1_000_000)
        run.move(("advance", ns))
        settled = run.clock.boottime_ns() - since_ns >= _SETTLE_NS
        assert run.scheduler.status().condition is (Condition.RUNNING if settled else Condition.QUARANTINED)


@settings(max_examples=100)
@given(
    _STARTS_NS,
    _moves(20 * _NS),
    st.integers(2 * _MINUTE_NS, 30 * _YEAR_NS),
    st.lists(st.integers(0, _SETTLE_NS // 4), max_size=3),
)
def test_an_excursion_of_the_clock_that_does_not_settle_is_as_though_nobody_had_looked(
    start_ns: int, moves: list[Move], far_ns: int, looks_ns: list[int]
) -> None:
    run, witness = (Run(start_ns, (Frequency.SECOND, Frequency.MINUTE)) for _ in range(2))
    for move in moves:
        run.move(move)
        witness.move(move)
    # From wherever those moves left the clock, it goes beyond what is believed.
    state = run.scheduler.state
    ahead_ns = far_ns + max(0, state.realtime_ns - run.clock.realtime_ns())
    run.move(("step", ahead_ns))
    for look_ns in looks_ns:
        assert run.move(("advance", look_ns)).ticks == ()
    run.clock.step(-ahead_ns)
    witness.clock.advance(sum(looks_ns))
    assert run.look().ticks == witness.look().ticks
    assert run.scheduler.state == witness.scheduler.state


@settings(max_examples=150)
@given(_STARTS_NS, _COALESCE, _moves(20 * _NS, restarts=False), st.data())
def test_a_crash_after_publishing_and_before_saving_neither_repeats_a_boundary_nor_loses_count(
    start_ns: int, coalesce: Coalesce, moves: list[Move], data: st.DataObject
) -> None:
    run = Run(start_ns, (Frequency.SECOND, Frequency.MINUTE), coalesce=coalesce)
    published: list[Tick] = []
    for move in moves:
        saved = run.scheduler.state
        ticks = run.move(move).ticks
        survivors = data.draw(st.none() | st.integers(0, len(ticks)))
        if survivors is None:
            published += ticks
            continue
        published += ticks[:survivors]
        for tick in ticks[:survivors]:
            saved = saved.with_published(tick.frequency, tick.boundary_ns, Calendar.for_zone(run.tz))
        run.scheduler = run.restarted(saved)
    published += run.look().ticks
    for frequency, floor_ns in run.floors_ns().items():
        sent_ns = [tick.boundary_ns for tick in published if tick.frequency == frequency]
        assert all(earlier < later for earlier, later in zip([start_ns, *sent_ns], sent_ns, strict=False))
        passed = count_boundaries(frequency, start_ns + 1, floor_ns + 1, run.tz)
        assert len(sent_ns) + run.missed()[frequency] == passed

"""Which boundary is due now, and when to look again (the rules: docs/time.md, "The scheduler's core").

A pure step from two clock readings to ticks and a deadline: it neither sleeps nor reads a clock, logs nothing and
publishes nothing. What is worth a log line is returned as a `Notice`, and the status counts the notices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Literal, get_args

from chronostream._values import SECOND_NS, checked_duration_ns, checked_ns, seconds_text, utc_text
from chronostream.calendar.calendar import Calendar
from chronostream.errors import ChronoStreamError, InvalidTypeError, InvalidValueError
from chronostream.event import Frequency
from chronostream.scheduler.state import FrequencyState, SchedulerState
from chronostream.scheduler.step import Condition, Notice, NoticeKind, SchedulerStatus, Step, Tick
from chronostream.scheduler.trust import Trust

__all__ = ["Coalesce", "Scheduler"]

Coalesce = Literal["earliest", "latest", "all"]
"""Which of several boundaries that passed at once is emitted: the first, the most recent, or each in order."""

# Later than this is worth a notice; each event's lateness is measured elsewhere.
_LATE_NS = 100_000_000
_BY_BOUNDARY = attrgetter("boundary_ns")
_RUNNING = Condition.RUNNING


class Scheduler:
    """The boundaries of some frequencies in one order: never early, never twice, never backwards.

    Its whole state besides the options is a `SchedulerState`. Not thread-safe.

    Args:
        frequencies: one or more of `Frequency`, as such, by name or by number; repetitions do not matter.
        timezone: the IANA time zone of hours and days.
        coalesce: which of several boundaries that passed at once is emitted; the others are missed.
        catch_up_window_s: how far back ``"all"`` emits them. The most recent one is always emitted, however old it is.
        max_step_s: how far the clock may go forward, beyond what the boot clock confirms, and be believed at once.
        max_hold_s: how long a hold may last before the condition says ``HELD``.
        settle_s: how long a clock that went further must stay there until it is believed.
        state: where an earlier run ended; None starts a new stream, whose floor is the time of the first step without
            a doubt.
        same_boot: whether `state` is of this boot. If not, nothing confirms how much time passed since.
        barred_ns: per frequency, up to which boundary above its floor none may be emitted: it is missed when it passes,
            because the zone data changed and the stream has used its sequence already.
    """

    def __init__(
        self,
        frequencies: Iterable[Frequency | str | int],
        timezone: str = "UTC",
        *,
        coalesce: Coalesce = "earliest",
        catch_up_window_s: float = 3600,
        max_step_s: float = 60,
        max_hold_s: float = 300,
        settle_s: float = 10,
        state: SchedulerState | None = None,
        same_boot: bool = True,
        barred_ns: Mapping[Frequency, int] | None = None,
    ) -> None:
        self.frequencies = Frequency.parse_all(frequencies)
        if coalesce not in get_args(Coalesce):
            raise InvalidValueError(f"coalesce is {coalesce!r}, expected one of {', '.join(get_args(Coalesce))}")
        if state is not None and not isinstance(state, SchedulerState):
            raise InvalidTypeError(f"state is {type(state).__name__}, expected a SchedulerState")
        if state is not None and tuple(known.frequency for known in state.frequencies) != self.frequencies:
            found = ", ".join(known.frequency.label for known in state.frequencies)
            expected = ", ".join(frequency.label for frequency in self.frequencies)
            raise InvalidValueError(f"the state is of {found}, the scheduler of {expected}: they must be the same")
        self._calendar = Calendar.for_zone(timezone)
        self._coalesce = coalesce
        self._window_ns = checked_duration_ns("catch_up_window_s", catch_up_window_s)
        self._max_hold_ns = checked_duration_ns("max_hold_s", max_hold_s)
        self._trust = Trust(checked_duration_ns("max_step_s", max_step_s), checked_duration_ns("settle_s", settle_s))
        self._restored = state
        self._same_boot = same_boot
        self._barred_ns = {} if barred_ns is None else barred_ns
        self._timers: list[_Timer] = []
        self._floor_ns = self._next_ns = self._deadline_ns = 0
        self._hold = _RUNNING  # or HOLDING or HELD: whether the clock is before the floor
        self._held_since_ns = 0
        self._counts: Counter[NoticeKind] = Counter()

    def step(self, realtime_ns: int, boottime_ns: int, doubt: str = "") -> Step:
        """Return what is due at these readings of both clocks, and when to look again.

        Args:
            realtime_ns: the wall clock, Unix nanoseconds. It may go anywhere within int64.
            boottime_ns: the clock that nobody can set, read at the same instant. It never goes back.
            doubt: why the wall clock may be wrong, for the log. With a doubt, a new stream does not begin, and a
                quarantine does not settle.
        """
        realtime_ns = checked_ns("realtime_ns", realtime_ns)
        boottime_ns = checked_ns("boottime_ns", boottime_ns)
        if not self.has_begun and doubt:
            notices = self._trust.doubt_first(realtime_ns, boottime_ns, doubt)
        else:
            if not self._timers:
                self._begin(realtime_ns, boottime_ns)
            notices = self._trust.judge(realtime_ns, boottime_ns, self._floor_ns, doubt)
        ticks: tuple[Tick, ...] = ()
        settling_ns = self._trust.settling_ns
        if settling_ns is not None:
            self._deadline_ns = realtime_ns + settling_ns
        else:
            ticks = self._take_due(realtime_ns, notices)
            self._watch_hold(realtime_ns, boottime_ns, notices)
            self._deadline_ns = self._next_ns if self._hold is _RUNNING else min(self._next_ns, self._floor_ns)
        for notice in notices:
            self._counts[notice.kind] += 1
        return Step(ticks, self._deadline_ns, tuple(notices))

    def upcoming(self) -> tuple[Tick, ...]:
        """Return what will be due at the deadline of the last step, if nothing comes in between."""
        return tuple(
            Tick(timer.frequency, timer.next_ns)
            for timer in self._timers
            if timer.next_ns == self._deadline_ns and not timer.barred
        )

    def is_ordinary(self, realtime_ns: int, boottime_ns: int) -> bool:
        """Return whether a step at these readings will give exactly what `upcoming` says."""
        # Evaluated even when it is too early: that keeps caches and branch predictors warm.
        believed = self._trust.believes(realtime_ns, boottime_ns) and not self._trust.quarantined
        return believed and self._deadline_ns <= realtime_ns < self._deadline_ns + SECOND_NS

    @property
    def has_begun(self) -> bool:
        """Whether the stream has a floor: of its state, or since the first step without a doubt."""
        return bool(self._timers) or self._restored is not None

    @property
    def state(self) -> SchedulerState:
        """The state to continue from after a restart; an error if a new stream has not begun yet."""
        if not self._timers:
            if self._restored is None:
                raise ChronoStreamError("a new stream has no state before its first step: call step() first")
            return self._restored
        realtime_ns, boottime_ns = self._trust.reference()
        kept = tuple(FrequencyState(timer.frequency, timer.floor_ns, timer.missed) for timer in self._timers)
        return SchedulerState(realtime_ns, boottime_ns, kept)

    def status(self) -> SchedulerStatus:
        """Return the condition of the scheduler, and what it noticed."""
        condition = Condition.QUARANTINED if self._trust.quarantined else self._hold
        missed = dict.fromkeys(self.frequencies, 0)
        if self.has_begun:
            missed = {kept.frequency: kept.missed for kept in self.state.frequencies}
        return SchedulerStatus(condition, missed, {kind: self._counts[kind] for kind in NoticeKind})

    def _begin(self, realtime_ns: int, boottime_ns: int) -> None:
        state = self._restored
        if state is None:
            started = [FrequencyState(frequency, realtime_ns, 0) for frequency in self.frequencies]
            state = SchedulerState(realtime_ns, boottime_ns, tuple(started))
        # A boot clock that went back is another boot's, whatever the ids say.
        same_boot = self._same_boot and state.boottime_ns <= boottime_ns
        self._trust.begin(state, realtime_ns, boottime_ns, same_boot=same_boot)
        self._timers = [
            _Timer(known, self._calendar, self._barred_ns.get(known.frequency)) for known in state.frequencies
        ]
        self._update_bounds()

    def _update_bounds(self) -> None:
        self._floor_ns = max(timer.floor_ns for timer in self._timers)
        self._next_ns = min(timer.next_ns for timer in self._timers)

    def _take_due(self, now_ns: int, notices: list[Notice]) -> tuple[Tick, ...]:
        ticks: list[Tick] = []
        gaps: list[str] = []
        first_ns = self._next_ns
        for timer in self._timers:
            if timer.next_ns <= now_ns:
                emitted, missed = timer.take(now_ns, self._coalesce, self._window_ns)
                ticks += [Tick(timer.frequency, boundary_ns) for boundary_ns in emitted]
                if not emitted:
                    text = f"{timer.frequency.label} {utc_text(timer.floor_ns)} has a number that the stream has used"
                    notices.append(Notice(NoticeKind.BARRED, f"{text}: missed"))
                elif len(emitted) + missed > 1:
                    gaps.append(f"{missed} of {len(emitted) + missed} {timer.frequency.label} boundaries")
        # Stable: the timers come shortest first, and so do boundaries that fall together.
        ticks.sort(key=_BY_BOUNDARY)
        self._update_bounds()
        if gaps:
            span = f"{utc_text(first_ns)} to {utc_text(now_ns)}"
            text = f"several boundaries passed at once, {span}: missed {', '.join(gaps)}"
            notices.append(Notice(NoticeKind.GAP, text))
        elif ticks and now_ns - first_ns > _LATE_NS:
            text = f"{utc_text(first_ns)} emitted {seconds_text(now_ns - first_ns)} late"
            notices.append(Notice(NoticeKind.LATE, text))
        return tuple(ticks)

    def _watch_hold(self, realtime_ns: int, boottime_ns: int, notices: list[Notice]) -> None:
        """Note whether the clock is before the floor, so that nothing is due, and for how long."""
        behind_ns = self._floor_ns - realtime_ns
        if behind_ns <= 0:
            if self._hold is not _RUNNING:
                self._hold = _RUNNING
                lasted = seconds_text(boottime_ns - self._held_since_ns)
                text = f"the clock is back at {utc_text(self._floor_ns)} after {lasted}"
                notices.append(Notice(NoticeKind.RELEASED, text))
            return
        message = f"the clock is {seconds_text(behind_ns)} before {utc_text(self._floor_ns)}, until when nothing is due"
        if self._hold is _RUNNING:
            self._hold = Condition.HOLDING
            self._held_since_ns = boottime_ns
            notices.append(Notice(NoticeKind.HOLD, message))
        if self._hold is Condition.HOLDING and max(behind_ns, boottime_ns - self._held_since_ns) > self._max_hold_ns:
            self._hold = Condition.HELD
            notices.append(Notice(NoticeKind.HELD, f"{message}: {Condition.HELD.advice}"))


class _Timer:
    """One frequency: its floor, the first boundary above it, and how many were missed."""

    __slots__ = ("_barred_ns", "_calendar", "barred", "floor_ns", "frequency", "missed", "next_ns")

    def __init__(self, state: FrequencyState, calendar: Calendar, barred_ns: int | None) -> None:
        self._calendar = calendar
        self._barred_ns = state.floor_ns if barred_ns is None else barred_ns
        self.frequency = state.frequency
        self.missed = state.missed
        self._move_to(state.floor_ns)

    def take(self, now_ns: int, coalesce: Coalesce, window_ns: int) -> tuple[list[int], int]:
        """Return which of the boundaries up to `now_ns` to emit, and how many others are missed."""
        first_ns, barred = self.next_ns, self.barred
        self._move_to(first_ns)
        if self.next_ns > now_ns and not barred:  # Nearly always, and much faster than the rest.
            return [first_ns], 0
        last_ns = self._calendar.last(self.frequency, now_ns)
        self._move_to(last_ns)
        earliest_ns = self._calendar.next(self.frequency, self._barred_ns) if barred else first_ns
        if earliest_ns > last_ns:
            emitted_ns: list[int] = []
        elif coalesce == "all":
            start_ns = min(max(earliest_ns, now_ns - window_ns), last_ns)
            emitted_ns = self._calendar.between(self.frequency, start_ns, last_ns + 1).tolist()
        else:
            emitted_ns = [earliest_ns if coalesce == "earliest" else last_ns]
        missed = self._calendar.count(self.frequency, first_ns, last_ns + 1) - len(emitted_ns)
        self.missed += missed
        return emitted_ns, missed

    def _move_to(self, floor_ns: int) -> None:
        self.floor_ns = floor_ns
        self.next_ns = self._calendar.next(self.frequency, floor_ns)
        self.barred = self.next_ns <= self._barred_ns

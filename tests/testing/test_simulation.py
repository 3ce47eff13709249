"""The simulator passes correct code and finds bugs."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from chronostream import ring
from chronostream.calendar.calendar import Calendar
from chronostream.calendar.sequencer import BoundarySequencer, CountingSequencer
from chronostream.calendar.zones import ZoneData
from chronostream.errors import InvalidTypeError, InvalidValueError, SimulationError, UnknownFrequencyError
from chronostream.event import Frequency
from chronostream.producer import engine
from chronostream.scheduler import FrequencyState, Scheduler, core
from chronostream.scheduler.trust import Trust
from chronostream.stream import state
from chronostream.stream.config import SequencerKind, StreamConfig
from chronostream.stream.state import StateWriter
from chronostream.testing import chaos, simulate, simulation
from chronostream.testing.__main__ import main

Patch = pytest.MonkeyPatch


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_what_must_hold_does(seed: int) -> None:
    assert simulate(seed).steps > 0


def test_a_year_of_hours_and_days_on_hosts_that_agree() -> None:
    summary = simulate(2, frequencies=("hour", "day"), days=365, hosts=2, sequencer="boundary", coalesce="all")
    assert summary.events[Frequency.HOUR] > 365 * 24
    assert sum(summary.deaths.values()) > 5


def test_whatever_happens_while_the_zone_data_change_all_the_time_what_must_hold_does(monkeypatch: Patch) -> None:
    _change_zone_data_often(monkeypatch)
    for seed, sequencer in enumerate(get_args(SequencerKind)):
        simulate(seed, **_DAYS | {"sequencer": sequencer, "frequencies": ("minute", "hour", "day"), "days": 2})
        simulate(seed, **_DAYS | {"sequencer": sequencer, "days": 200})


def test_the_same_seed_is_the_same_run() -> None:
    one, other = (simulate(5, days=0.02) for _ in range(2))
    assert (one.plan, one.events, one.steps, one.deaths) == (other.plan, other.events, other.steps, other.deaths)


def test_what_is_given_changes_nothing_else() -> None:
    assert simulate(5, days=0.001).plan.timezone == simulate(5, hosts=1, days=0.001).plan.timezone


def test_no_stream_is_left_behind() -> None:
    simulate(3, days=0.001)
    assert not [name for name in ring.list_names() if name.startswith(f"simulation-{os.getpid()}-")]


def test_engines_may_log_again_afterwards() -> None:
    level = logging.getLogger("chronostream.producer.engine").level
    simulate(3, days=0.001)
    assert logging.getLogger("chronostream.producer.engine").level == level


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"days": 0}, InvalidValueError, "days is 0"),
        ({"days": float("nan")}, InvalidValueError, "days is nan"),
        ({"hosts": 0}, InvalidValueError, "hosts is 0"),
        ({"hosts": 1.5}, InvalidTypeError, "hosts is float"),
        ({"days": "1"}, InvalidTypeError, "days is str"),
        ({"days": True}, InvalidTypeError, "days is bool"),
        ({"seed": "1"}, InvalidTypeError, "seed is str"),
        ({"timezone": "Mars"}, InvalidValueError, "unknown time zone"),
        ({"frequencies": ["week"]}, UnknownFrequencyError, "week"),
        ({"frequencies": []}, InvalidValueError, "no frequency"),
        ({"capacity": 3}, InvalidValueError, "capacity"),
        ({"coalesce": "some"}, InvalidValueError, "coalesce"),
    ],
)
def test_bad_arguments_are_refused_as_such(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        simulate(**{"seed": 1} | options)


# Deliberate bugs. Each must be found within a few seeds.


def _forget_the_floor(patch: Patch) -> None:
    real = StreamConfig.scheduler
    patch.setattr(StreamConfig, "scheduler", lambda self, _state=None, **options: real(self, **options))


def _miss_without_counting(patch: Patch) -> None:
    class Miscounting(Calendar):
        def count(self, *_: Any) -> int:
            return 1

    patch.setattr(core, "Calendar", SimpleNamespace(for_zone=Miscounting))


def _count_anew_after_a_restart(patch: Patch) -> None:
    patch.setattr(CountingSequencer, "restore", lambda *_: None)


def _number_from_the_first_boundary_on(patch: Patch) -> None:
    counting = CountingSequencer()
    patch.setattr(BoundarySequencer, "peek", lambda _, *key: counting.peek(*key))
    patch.setattr(BoundarySequencer, "assign", lambda _, *key: counting.assign(*key))


def _look_a_second_ahead(patch: Patch) -> None:
    real = Scheduler.step
    patch.setattr(Scheduler, "step", lambda self, now_ns, *rest: real(self, now_ns + self.has_begun * 10**9, *rest))


def _leave_out_what_was_not_saved(patch: Patch) -> None:
    patch.setattr(engine.Engine, "_published_since", lambda *_: [])


def _save_before_publishing(patch: Patch) -> None:
    real = engine.Engine._emit_ticks

    def emit(self: engine.Engine, ticks: Any) -> None:
        if self._scheduler.has_begun:
            self._save(self._scheduler.state, self._boot_id)
        real(self, ticks)

    patch.setattr(engine.Engine, "_emit_ticks", emit)


def _believe_a_torn_checkpoint(patch: Patch) -> None:
    patch.setattr(state.zlib, "crc32", lambda _: 0)  # type: ignore[attr-defined]


def _never_believe_a_clock_again(patch: Patch) -> None:
    real = Trust._settle

    def settle(self: Trust, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        self._settles_at_ns = self._boottime_ns + 10**10

    patch.setattr(Trust, "_settle", settle)


def _move_on_one_frequency_only(patch: Patch) -> None:
    real = FrequencyState.behind

    def behind(self: FrequencyState, *key: Any, **published: Any) -> FrequencyState:
        return self if published == {"emitted": 0} else real(self, *key, **published)

    patch.setattr(FrequencyState, "behind", behind)


def _take_what_was_prepared_for_what_is_due(patch: Patch) -> None:
    patch.setattr(Scheduler, "is_ordinary", lambda *_: True)


def _stop_after_a_while(patch: Patch) -> None:
    real = core.Scheduler._take_due
    turns = iter(range(500))

    def take(self: Scheduler, *arguments: Any) -> Any:
        return real(self, *arguments) if next(turns, None) is not None else ()

    patch.setattr(core.Scheduler, "_take_due", take)


def _save_nothing(patch: Patch) -> None:
    real = StateWriter.save
    turns = iter(range(3))
    patch.setattr(StateWriter, "save", lambda *arguments: next(turns, None) is None or real(*arguments))


def _change_zone_data_often(patch: Patch) -> None:
    patch.setattr(chaos, "_LONGEST", (6,))
    for action in ("_die", "_stop", "_go_astray", "_set_forward"):
        patch.setattr(chaos.Chaos, action, chaos.Chaos._change_zone_data)


def _use_a_sequence_again_after_other_zone_data(patch: Patch) -> None:
    _change_zone_data_often(patch)
    patch.setattr(engine, "barred_boundaries", lambda *_: {})


def _go_back_behind_what_was_published_after_other_zone_data(patch: Patch) -> None:
    _change_zone_data_often(patch)
    patch.setattr(engine, "behind_published", lambda restored, *_: restored)


def _take_other_zone_data_for_the_same(patch: Patch) -> None:
    _change_zone_data_often(patch)
    patch.setattr(ZoneData, "agrees", lambda *_: True)


def _search(first: int = 0, **options: Any) -> None:  # `first`: a seed that finds the bug soon
    for seed in range(first, first + 40):
        simulate(seed, **options)


_DAYS: dict[str, Any] = {"frequencies": ("hour", "day"), "days": 400, "sequencer": "boundary", "timezone": "Asia/Gaza"}


@pytest.mark.parametrize(
    ("bug", "options", "complaint"),
    [
        (_forget_the_floor, {}, "unaccounted for|neither emitted nor missed"),
        (_miss_without_counting, {}, "unaccounted for"),
        (_count_anew_after_a_restart, {"sequencer": "counting"}, "sequence does not follow"),
        (_number_from_the_first_boundary_on, {"sequencer": "boundary"}, "sequence is not its boundary's"),
        (_look_a_second_ahead, {}, "events are early"),
        (_leave_out_what_was_not_saved, {}, "not behind the event before it|unaccounted for"),
        (_save_before_publishing, {"first": 2}, "unaccounted for"),
        (_believe_a_torn_checkpoint, {}, "."),
        (_never_believe_a_clock_again, {}, "still in quarantine"),
        (_move_on_one_frequency_only, {"first": 8, "coalesce": "earliest"}, "not behind the event before it"),
        (_take_what_was_prepared_for_what_is_due, {}, "early|unaccounted for|not behind|neither"),
        (_stop_after_a_while, {}, "neither emitted nor missed|not behind the event before it"),
        (_save_nothing, {}, "."),
        (_use_a_sequence_again_after_other_zone_data, {"first": 1, **_DAYS}, "day sequence does not increase"),
        (
            _go_back_behind_what_was_published_after_other_zone_data,
            {"first": 2, **_DAYS},
            "not behind the event before it",
        ),
        (_take_other_zone_data_for_the_same, {"first": 1, **_DAYS}, "not behind the event before it|does not increase"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_a_bug_is_found(
    bug: Callable[[Patch], None], options: dict[str, Any], complaint: str, monkeypatch: Patch
) -> None:
    bug(monkeypatch)
    with pytest.raises(SimulationError, match=complaint):
        _search(**options)


def test_a_failure_is_repeated_by_the_command_that_it_names(
    monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    _miss_without_counting(monkeypatch)
    with pytest.raises(SimulationError) as failure:
        _search()
    message = str(failure.value)
    command = shlex.split(message.partition("To repeat it: ")[2])
    assert command[:3] == ["python", "-m", "chronostream.testing"]
    assert main(command[3:]) == 1
    assert capsys.readouterr().err == f"FAILED: {message}\n"


def test_hosts_that_number_the_same_boundary_differently_are_found(monkeypatch: Patch) -> None:
    run, shift = simulation._run, [0]

    def run_shifted(plan: Any, number: int, on_progress: Any) -> Any:
        shift[0] = number
        return run(plan, number, on_progress)

    monkeypatch.setattr(simulation, "_run", run_shifted)
    for owner, name in ((BoundarySequencer, "peek"), (Calendar, "sequences")):
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *arguments, real=real: real(*arguments) + shift[0])
    with pytest.raises(SimulationError, match="hosts disagree on the id of the hour event"):
        simulate(1, frequencies=("hour",), days=30, hosts=2, sequencer="boundary")


def test_the_command_runs_a_seed_and_says_what_it_went_through() -> None:
    command = [sys.executable, "-m", "chronostream.testing", "--seed", "7", "--days", "100", "--frequency", "day"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.startswith("ok: seed 7, 100 days on ")
    assert done.stderr == ""  # no bar where there is no terminal


def test_the_command_runs_several_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "7", "--seeds", "2", "--days", "100", "--frequency", "day"]) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == ["ok: seed 7", "ok: seed 8"]


def test_the_command_refuses_what_it_cannot_simulate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "7", "--days", "-1"]) == 2
    assert "days is -1.0" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["--seeds", "0"])

"""What holds for a real stream, whatever its clock does and wherever its engines are stopped or killed."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chronostream.clock import FakeClock
from chronostream.event import Frequency
from chronostream.ring import Consumer
from tests.engine_harness import DAY, HOUR, MINUTE, NS, SECOND, START_NS, YEAR_S, Run

_MINUTE_NS, _HOUR_NS = 60 * NS, 3600 * NS

Move = tuple[str, int]

_MOVES: st.SearchStrategy[list[Move]] = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.integers(0, 3 * NS)),
        st.tuples(st.just("advance"), st.integers(0, 3 * _MINUTE_NS)),
        st.tuples(st.just("suspend"), st.integers(0, YEAR_S * NS)),
        st.tuples(st.just("step"), st.integers(-10 * NS, 10 * NS)),
        st.tuples(st.just("step"), st.sampled_from((-_HOUR_NS, _HOUR_NS, 2 * _HOUR_NS, -YEAR_S * NS, YEAR_S * NS))),
        st.just(("deadline", 0)),
        st.just(("restart", 0)),
        st.just(("reboot", 0)),
        # How many of its writes the next step lives to make.
        st.tuples(st.just("kill"), st.integers(0, 9)),
    ),
    max_size=25,
)
_FREQUENCIES = st.sets(st.sampled_from((SECOND, MINUTE, HOUR, DAY)), min_size=1)


class _KilledError(BaseException):
    pass


class _Chaos:
    """Moves the clock, the engine and its life, and collects what a consumer sees."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.deadline_ns = START_NS
        self.seen: dict[Frequency, list[tuple[int, int]]] = defaultdict(list)
        run.start()
        self._consumer = Consumer.attach(run.name, register=False)

    def move(self, kind: str, amount: int) -> None:
        run = self.run
        if kind in {"advance", "suspend", "step"}:
            getattr(run.clock, kind)(amount)
        elif kind == "deadline":
            run.clock.advance(max(0, self.deadline_ns - run.clock.realtime_ns()))
        elif kind == "kill":
            self._arm(amount)
        else:
            run.engine.close()
            if kind == "reboot":
                run.clock = FakeClock(run.clock.realtime_ns(), boottime_ns=5 * NS, boot_id=run.clock.boot_id()[::-1])
            run.start()
        self.look()

    def look(self) -> None:
        try:
            self.deadline_ns = self.run.engine.step()
        except _KilledError:
            self.run.die()
            self.run.start()
            self.deadline_ns = self.run.engine.step()
        for record in self._consumer.read():
            timestamp, sequence = int(record["timestamp"]), int(record["sequence"])
            assert timestamp <= self.run.clock.realtime_ns()
            self.seen[Frequency(int(record["frequency"]))].append((timestamp, sequence))

    def close(self) -> None:
        self._consumer.close()

    def _arm(self, writes: int) -> None:
        """Have the engine die before one of its next writes into the segment."""
        left = iter(range(writes))
        for part, method in (
            (self.run.engine._ring, "publish_many"),
            (self.run.engine._state, "count_lateness"),
            (self.run.engine._state, "save"),
            (self.run.engine._state, "show"),
        ):
            setattr(part, method, _mortal(getattr(part, method), left))


def _mortal(real: Any, left: Any) -> Any:
    def method(*arguments: Any) -> None:
        if next(left, None) is None:
            raise _KilledError
        real(*arguments)

    return method


@settings(max_examples=150)
@given(
    _FREQUENCIES,
    st.sampled_from(("UTC", "America/New_York", "Asia/Kathmandu")),
    st.sampled_from(("earliest", "latest", "all")),
    st.sampled_from((1, 2, 8, 256)),
    _MOVES,
)
def test_whatever_happens_no_event_is_early_or_repeated_and_each_absent_boundary_is_counted(
    frequencies: set[Frequency], timezone: str, coalesce: str, capacity: int, moves: list[Move]
) -> None:
    options = {"timezone": timezone, "coalesce": coalesce, "capacity": capacity, "catch_up_window_s": 200}
    with Run(*frequencies, **options) as run:
        chaos = _Chaos(run)
        for kind, amount in moves:
            chaos.move(kind, amount)
        chaos.close()
        for seen in chaos.seen.values():
            for column in zip(*seen, strict=True):
                assert all(earlier < later for earlier, later in pairwise(column))
        run.check_accounts()

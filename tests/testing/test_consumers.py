from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chronostream import ring
from chronostream.errors import InvalidTypeError, InvalidValueError
from chronostream.event import Event, Frequency, to_events
from chronostream.testing import run_through_chaos


class Kept:
    """A consumer that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.losses: list[int] = []

    def consume(self, events: list[Event], lost: int) -> None:
        assert events
        self.events += events
        self.losses.append(lost)


@pytest.mark.parametrize("seed", range(4))
def test_a_consumer_with_room_gets_every_event_in_order_and_once(seed: int) -> None:
    kept = Kept()
    run = run_through_chaos(kept.consume, seed, frequencies=("minute", "hour"), capacity=1 << 14, actions=60)
    assert kept.events == to_events(run.published)
    assert (run.lost, sum(kept.losses)) == (0, 0)
    for frequency in (Frequency.MINUTE, Frequency.HOUR):
        sequences = [event.sequence for event in kept.events if event.frequency is frequency]
        assert sequences == list(range(1, len(sequences) + 1))
    assert kept.events == sorted(kept.events)


def test_a_consumer_that_is_overrun_hears_of_each_loss_before_what_comes_behind_it() -> None:
    kept = Kept()
    run = run_through_chaos(kept.consume, 1, capacity=16)
    assert run.lost > 0
    assert sum(kept.losses) == run.lost
    assert len(kept.events) + run.lost == len(run.published)
    remaining = iter(to_events(run.published))
    assert all(event in remaining for event in kept.events)
    gaps = np.diff([0, *(event.sequence for event in kept.events)]) - 1
    assert gaps.sum() == run.lost - (run.published["sequence"][-1] - kept.events[-1].sequence)
    assert np.count_nonzero(gaps) == np.count_nonzero(kept.losses)


def test_a_seed_decides_everything() -> None:
    first, second = Kept(), Kept()
    runs = [run_through_chaos(kept.consume, 5, actions=30) for kept in (first, second)]
    assert (first.events, first.losses) == (second.events, second.losses)
    assert runs[0].published.tobytes() == runs[1].published.tobytes()
    assert (runs[0].lost, runs[0].missed, runs[0].deaths) == (runs[1].lost, runs[1].missed, runs[1].deaths)
    assert run_through_chaos(Kept().consume, 6, actions=30).published.tobytes() != runs[0].published.tobytes()


def test_all_faults_come_about() -> None:
    run = run_through_chaos(Kept().consume, 7, actions=100)
    assert run.deaths > 0
    assert run.missed[Frequency.SECOND] > 0


def test_an_error_of_the_consumer_ends_the_run_and_names_the_seed() -> None:
    before = set(ring.list_names())

    def consume(events: list[Event], lost: int) -> None:
        del lost
        assert events[-1].sequence < 20, "too many"

    with pytest.raises(AssertionError, match="too many") as failure:
        run_through_chaos(consume, 3)
    assert [note.split(", action")[0] for note in failure.value.__notes__] == ["run_through_chaos: seed 3"]
    assert not {name for name in set(ring.list_names()) - before if name.startswith("chaos-")}


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"seed": "x"}, InvalidTypeError, "seed"),
        ({"seed": 1, "actions": 0}, InvalidValueError, "actions"),
        ({"seed": 1, "frequencies": ("week",)}, InvalidValueError, "week"),
    ],
)
def test_what_cannot_be_run_is_refused(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        run_through_chaos(Kept().consume, **arguments)

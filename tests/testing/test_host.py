"""A simulated host dies at the given point, and leaves exactly the state of such a death."""

from __future__ import annotations

import pytest

from chronostream.ring import inspect
from chronostream.stream.state import StateReader
from chronostream.testing.host import Death, SimulatedHost

_NS = 1_000_000_000


def _saved(host: SimulatedHost) -> int:
    checkpoint = StateReader(host.engine.ring.application).checkpoint()
    assert checkpoint is not None
    return checkpoint.position


def test_time_passes_from_deadline_to_deadline(host: SimulatedHost) -> None:
    for _ in range(3):
        host.run_to_deadline()
    assert (host.elapsed_ns, host.clock.realtime_ns() % _NS) == (3 * _NS - 1, 0)
    emitted = host.emitted()
    assert (emitted.records["timestamp"] == emitted.seen_ns).all()
    assert host.read().tobytes() == emitted.records.tobytes()


@pytest.mark.parametrize(
    ("death", "visible"),
    [
        (Death.IDLE, {0}),
        (Death.BEFORE_PUBLISH, {0}),
        (Death.WHILE_PUBLISHING, set(range(1, 11))),
        (Death.BEFORE_SAVE, {10}),
        (Death.WHILE_SAVING, {10}),
    ],
)
def test_a_death_leaves_what_was_done_by_then(host: SimulatedHost, death: Death, visible: set[int]) -> None:
    host.advance(10 * _NS)
    host.die(death)
    assert inspect(host.config.name).state == "dead"
    emitted = host.emitted().records
    assert inspect(host.config.name).head == len(emitted)
    assert len(emitted) in visible
    host.restart()
    assert _saved(host) == 10
    assert [int(record) for record in host.read()["sequence"]] == list(range(1, 11))
    assert host.deaths == {death: 1}


def test_a_stopped_machine_goes_on_where_it_was(host: SimulatedHost) -> None:
    host.run_to_deadline()
    host.stop()
    host.advance(5 * _NS)
    host.restart()
    assert host.emitted().records["sequence"].tolist() == [1, 2, 3, 4, 5, 6]


def test_a_death_while_opening_is_followed_by_another_attempt(host: SimulatedHost) -> None:
    host.run_to_deadline()
    host.die(Death.BEFORE_PUBLISH)
    host.restart(dies_opening=True)
    host.run_to_deadline()
    assert host.emitted().records["sequence"].tolist() == [1, 2]
    assert host.deaths[Death.WHILE_OPENING] == 1


def test_a_reboot_changes_the_boot_and_the_clock(host: SimulatedHost) -> None:
    boot_id, realtime_ns = host.clock.boot_id(), host.clock.realtime_ns()
    host.stop()
    host.reboot(-_NS)
    assert host.clock.boot_id() != boot_id
    assert host.clock.realtime_ns() == realtime_ns - _NS
    host.restart()


def test_no_time_is_calm_until_the_first_step_after_the_clock_was_set(host: SimulatedHost) -> None:
    host.set_clock(-_NS)
    assert host.calm_since_ns is None
    host.step()
    assert host.calm_since_ns == host.clock.boottime_ns()

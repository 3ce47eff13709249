"""What the checker sees of a host that says one thing and did another."""

from __future__ import annotations

import pytest

from chronostream.event import Frequency
from chronostream.testing.checker import Checker, Violation, check_agreement
from chronostream.testing.host import SimulatedHost


@pytest.fixture
def host(host: SimulatedHost) -> SimulatedHost:
    for _ in range(100):
        host.run_to_deadline()
    return host


def test_a_host_that_does_right_passes(host: SimulatedHost) -> None:
    checker = Checker(host)
    checker.check()
    assert checker.events == {Frequency.SECOND: 100, Frequency.MINUTE: 2}
    stamps, sequences = checker.identities(Frequency.SECOND)
    assert (len(stamps), sequences.tolist()) == (100, list(range(1, 101)))
    check_agreement([checker, checker])


def test_a_ring_with_other_events_than_were_published_is_found(host: SimulatedHost) -> None:
    slots = host.engine.ring.records
    slots["sequence"][7] += 1
    with pytest.raises(Violation, match="not the last ones published"):
        Checker(host).check()


def test_a_ring_that_holds_fewer_events_than_it_has_room_for_is_found(host: SimulatedHost) -> None:
    host._consumer.read(30)
    with pytest.raises(Violation, match=r"holds 34 of 102 events, but has room for 64"):
        Checker(host).check()


def test_a_stream_without_a_checkpoint_is_found(host: SimulatedHost) -> None:
    host.engine.ring.application[512:1536] = bytes(1024)
    with pytest.raises(Violation, match="no whole checkpoint"):
        Checker(host).check()


def test_a_deadline_that_has_passed_is_found(host: SimulatedHost) -> None:
    host.deadline_ns = host.clock.realtime_ns()
    with pytest.raises(Violation, match="wants to look again"):
        Checker(host).check()

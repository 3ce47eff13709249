from __future__ import annotations

import dataclasses
import os
import time

import numpy as np
import pytest

from chronostream.errors import ClosedError
from chronostream.ring import ConsumerStatus, RingStatus, inspect, list_names, remove
from chronostream.ring.segment import Segment
from tests.ring.harness import Handles, overwrite, path_of


def test_a_live_ring_says_what_it_is(ring: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 12345)
    producer = ring.create([("a", "<i8")], 4, producer_version="1.2", instance_id="host-1", max_consumers=3)
    producer.publish_many([(number,) for number in range(6)])
    status = inspect(ring.name)
    assert status == RingStatus(
        name=ring.name,
        state="live",
        pid=os.getpid(),
        same_namespace=True,
        generation=1,
        started_ns=12345,
        version="1.2",
        instance="host-1",
        head=6,
        capacity=4,
        dtype=np.dtype([("a", "<i8")]),
        segment_size=path_of(ring.name).stat().st_size,
        consumers=(),
    )


def test_a_consumer_says_the_same_of_its_ring_without_opening_it_again(
    ring: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer, consumer = ring.pair()
    producer.publish_many(range(3))
    expected = inspect(ring.name)
    monkeypatch.setattr(Segment, "attach", None)
    assert consumer.status() == expected
    path_of(ring.name).unlink()
    assert consumer.status() == expected
    consumer.close()
    with pytest.raises(ClosedError):
        consumer.status()


def test_a_closed_ring_is_closed(own: Handles) -> None:
    own.create().close(remove=False)
    assert inspect(own.name).state == "closed"


def test_a_ring_that_is_closed_but_taken_over_is_live(own: Handles) -> None:
    own.create().close(remove=False)
    own.create()
    assert (inspect(own.name).state, inspect(own.name).generation) == ("live", 2)


def test_another_pid_namespace_is_told_apart(own: Handles) -> None:
    own.create()
    overwrite(own.name, 272, (1).to_bytes(8, "little"))
    assert not inspect(own.name).same_namespace


def test_registered_consumers_are_listed_with_what_they_have_lost(
    ring: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 12345)
    producer, slow = ring.pair(capacity=4)
    quick = ring.attach("next", label="quick one")
    unregistered = ring.attach(register=False)
    producer.publish_many(range(10))
    quick.read(1)
    first, second = inspect(ring.name).consumers
    assert second == ConsumerStatus("quick one", os.getpid(), 3, 6, 12345, 1)
    assert (first.lag, first.lost) == (10, 0)
    slow.close()
    unregistered.close()
    assert [consumer.label for consumer in inspect(ring.name).consumers] == ["quick one"]


def test_a_slot_that_nobody_holds_is_not_listed(own: Handles) -> None:
    producer = own.create()
    overwrite(own.name, producer._layout.tail_offset(5), bytes(8))
    assert inspect(own.name).consumers == ()


def test_a_tail_from_nowhere_is_no_lag(own: Handles) -> None:
    producer = own.create()
    own.attach()
    overwrite(own.name, producer._layout.tail_offset(0), (1000).to_bytes(8, "little"))
    assert [consumer.lag for consumer in inspect(own.name).consumers] == [0]


@pytest.mark.parametrize("offset", [288, 320])
def test_a_text_that_is_none_is_shown_as_well_as_can_be(own: Handles, offset: int) -> None:
    own.create(producer_version="abc", instance_id="abc")
    overwrite(own.name, offset, b"\xff")
    status = inspect(own.name)
    assert "�bc" in (status.version, status.instance)


def test_inspecting_takes_no_place_and_leaves_nothing_open(own: Handles) -> None:
    producer = own.create(max_consumers=1)
    inspect(own.name)
    assert own.attach().registered
    assert len(inspect(own.name).consumers) == 1
    producer.check()


def test_a_consumers_slot_can_be_read_by_its_former_name() -> None:
    with pytest.warns(DeprecationWarning, match="'place' is called 'slot' now"):
        assert ConsumerStatus("quick one", 1, 3, 6, 12345, slot=7).place == 7


def test_a_status_is_a_value(own: Handles) -> None:
    own.create()
    assert inspect(own.name) == inspect(own.name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        inspect(own.name).head = 7  # type: ignore[misc]  # which is the point


def test_the_list_has_every_stream_and_only_while_it_is_there(own: Handles) -> None:
    assert own.name not in list_names()
    producer = own.create()
    assert own.name in list_names()
    producer.close(remove=False)
    assert own.name in list_names()
    remove(own.name)
    assert own.name not in list_names()

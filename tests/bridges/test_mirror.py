from __future__ import annotations

import time

import pytest

from chronostream import event_ids, subscribe
from chronostream.backfill import verify_stream
from chronostream.bridges.mirror import Mirror
from chronostream.bridges.relay import Relay
from chronostream.errors import (
    InvalidValueError,
    LayoutMismatchError,
    ProducerActiveError,
    StreamMismatchError,
    StreamNotFoundError,
    StreamRemovedError,
)
from chronostream.ring import Consumer, inspect
from chronostream.status import MirrorStatus, stream_status
from tests.bridges.harness import (
    Command,
    Running,
    Server,
    Source,
    boundary_events,
    deliver,
    options_of,
    remove_segments,
    wait_until,
)

START_NS = 1_700_000_000_000_000_000
FREQUENCIES = ("second", "minute")
IDS = event_ids(boundary_events(FREQUENCIES, START_NS + 1, START_NS + 1000 * 10**9)).tolist()


def mirror(url: str, name: str, **options: object) -> Mirror:
    return Mirror(name, options_of(url), local_name=f"{name}-mirror", **options)  # type: ignore[arg-type]


def deliver_seconds(url: str, name: str, start_s: int, end_s: int) -> None:
    """Have JetStream hold the events of these seconds."""
    with Source(name, START_NS + start_s * 10**9, frequencies=FREQUENCIES) as source:
        source.advance(end_s - start_s)
    deliver(Relay(name, options_of(url)))


def held(name: str) -> list[str]:
    """Return the ids in a mirror's ring, none while there is no ring."""
    try:
        consumer = Consumer.attach(f"{name}-mirror", register=False)
    except StreamNotFoundError:
        return []
    with consumer:
        ids: list[str] = event_ids(consumer.read()).tolist()
    return ids


def status(name: str) -> MirrorStatus:
    found = stream_status(f"{name}-mirror").mirror
    assert found is not None
    return found


def test_a_mirror_holds_what_its_source_emitted(url: str, name: str) -> None:
    deliver_seconds(url, name, 0, 150)
    with Running(mirror(url, name)):
        wait_until(lambda: held(name) == IDS[:152])


def test_subscribers_get_events_as_they_come(url: str, name: str) -> None:
    with (
        Source(name, START_NS, frequencies=FREQUENCIES) as source,
        Running(Relay(name, options_of(url))),
        Running(mirror(url, name)),
        subscribe(f"{name}-mirror", wait_s=20, start="oldest") as events,
    ):
        for number in range(3):
            source.advance(1)
            assert next(events).id == IDS[number]


def test_the_bytes_are_those_of_the_source(url: str, name: str) -> None:
    deliver_seconds(url, name, 0, 10)
    with Running(mirror(url, name)):
        wait_until(lambda: len(held(name)) == 10)
    with Consumer.attach(name) as source, Consumer.attach(f"{name}-mirror") as copy:
        assert copy.read().tobytes() == source.read().tobytes()


def test_a_mirror_that_stops_is_closed_and_goes_on_where_its_ring_stands(url: str, name: str) -> None:
    deliver_seconds(url, name, 0, 100)
    with Running(mirror(url, name)):
        wait_until(lambda: held(name) == IDS[:102])
    assert inspect(f"{name}-mirror").state == "closed"
    deliver_seconds(url, name, 100, 200)
    with Running(mirror(url, name)):
        wait_until(lambda: held(name) == IDS[:203])
    assert inspect(f"{name}-mirror").generation == 2


def test_a_mirror_that_was_killed_goes_on_where_its_ring_stands(url: str, name: str) -> None:
    deliver_seconds(url, name, 0, 100)
    with Command("mirror", url, name, "--as", f"{name}-mirror") as command:
        wait_until(lambda: held(name) == IDS[:102])
        command.kill()
    assert inspect(f"{name}-mirror").state == "dead"
    deliver_seconds(url, name, 100, 200)
    with subscribe(f"{name}-mirror") as events, Running(mirror(url, name)):
        assert [next(events).id for _ in range(101)] == IDS[102:203]
    assert held(name) == IDS[:203]


def test_a_new_mirror_begins_with_as_much_as_its_ring_holds(url: str, name: str) -> None:
    deliver_seconds(url, name, 0, 200)
    with Running(mirror(url, name, capacity=64)):
        wait_until(lambda: held(name) == IDS[203 - 64 : 203])
    assert inspect(f"{name}-mirror").head == 64


def test_a_mirror_waits_for_its_source(url: str, name: str) -> None:
    with Running(mirror(url, name)):
        deliver_seconds(url, name, 0, 10)
        wait_until(lambda: held(name) == IDS[:10])


def test_a_mirror_outlives_its_server(server: Server, name: str) -> None:
    deliver_seconds(server.url, name, 0, 10)
    with Running(mirror(server.url, name)):
        wait_until(lambda: held(name) == IDS[:10])
        server.kill()
        wait_until(lambda: not status(name).freshness.connected)
        server.start()
        server.wait_until_ready()
        deliver_seconds(server.url, name, 10, 20)
        wait_until(lambda: held(name) == IDS[:20])
        wait_until(lambda: status(name).freshness.connected)


def test_a_mirror_says_what_it_mirrors(url: str, name: str) -> None:
    deliver_seconds(url, name, 0, 10)
    with Running(mirror(url, name)):
        wait_until(lambda: len(held(name)) == 10)
        wait_until(lambda: status(name).freshness.sequence == 10)
        description = status(name).description
    assert (description.source, description.timezone, description.sequencer) == (name, "UTC", "boundary")
    assert [frequency.label for frequency in description.frequencies] == ["second", "minute"]


def test_a_mirror_is_verified_by_what_it_says_of_itself(url: str, name: str) -> None:
    deliver_seconds(url, name, 0, 100)
    with Running(mirror(url, name)):
        wait_until(lambda: len(held(name)) == 102)
    report = verify_stream(f"{name}-mirror")
    assert (report.ok, report.found) == (True, 102)


def test_a_stream_is_stale_while_an_event_is_overdue_and_only_then(url: str, name: str) -> None:
    now_s = time.time_ns() // 10**9
    with (
        Source(name, now_s * 10**9, frequencies=("second",)) as source,
        Running(Relay(name, options_of(url))),
        Running(mirror(url, name, stale_after_s=0.3)),
    ):
        source.advance(1)
        wait_until(lambda: held(name))
        wait_until(lambda: status(name).freshness.stale)
        since_ns = status(name).freshness.stale_since_ns
        assert since_ns is not None
        assert since_ns >= (now_s + 2) * 10**9  # The next event was due then, and 0.3 s are allowed.
        source.advance(3600)  # Its clock is ahead: nothing is due for a long time.
        wait_until(lambda: not status(name).freshness.stale)
        assert status(name).freshness.stale_since_ns is None


def test_the_local_name_of_a_live_stream_is_refused(url: str, name: str) -> None:
    deliver_seconds(url, name, 0, 10)
    with Running(mirror(url, name)):
        wait_until(lambda: held(name))
        with pytest.raises(ProducerActiveError):
            Running(mirror(url, name)).start().join()


def test_a_producers_own_stream_is_not_taken_for_a_mirror(url: str, name: str) -> None:
    deliver_seconds(url, name, 0, 10)
    with pytest.raises(LayoutMismatchError):
        Running(Mirror(name, options_of(url))).start().join()


def test_a_ring_that_mirrors_another_stream_is_refused(url: str, name: str) -> None:
    for each in (name, f"{name}-other"):
        deliver_seconds(url, each, 0, 10)
    with Running(mirror(url, name)):
        wait_until(lambda: held(name))
    other = Mirror(f"{name}-other", options_of(url), local_name=f"{name}-mirror")
    with pytest.raises(StreamMismatchError, match=f"mirrors '{name}'"):
        Running(other).start().join()


def test_a_mirror_whose_ring_is_removed_ends(url: str, name: str) -> None:
    deliver_seconds(url, name, 0, 10)
    running = Running(mirror(url, name))
    running.start()
    wait_until(lambda: held(name))
    remove_segments(f"{name}-mirror")
    with pytest.raises(StreamRemovedError):
        running.join()


@pytest.mark.parametrize("options", [{"capacity": 1000}, {"stale_after_s": -1}, {"local_name": "/"}])
def test_what_is_out_of_range_is_refused(name: str, options: dict[str, object]) -> None:
    with pytest.raises(InvalidValueError):
        Mirror(name, options_of("nats://localhost"), **options)  # type: ignore[arg-type]

from __future__ import annotations

import time
from typing import Any

import pytest
from nats.js import JetStreamContext

from chronostream import event_ids, history, subscribe
from chronostream.backfill import verify_stream
from chronostream.bridges.jetstream import stream_for
from chronostream.bridges.mirror import Mirror
from chronostream.bridges.relay import Relay
from chronostream.errors import (
    InvalidNameError,
    InvalidTypeError,
    InvalidValueError,
    ProducerActiveError,
    StreamMismatchError,
    StreamRemovedError,
)
from chronostream.ring import Consumer, inspect
from chronostream.stream.state import Freshness
from chronostream.stream.status import stream_status
from tests.bridges.harness import HELD, START_NS, Running, S, Server, Source, fill, head_of, in_jetstream, options_of
from tests.process_harness import Programs
from tests.ring.harness import path_of, wait_until

FREQUENCIES = ("second", "minute")
IDS = event_ids(HELD).tolist()


def mirror(url: str, name: str, **options: Any) -> Mirror:
    return Mirror(name, options_of(url), local_name=f"{name}-mirror", **options)


def fill_seconds(url: str, name: str, start_s: int, end_s: int) -> None:
    """Have JetStream hold the events of these seconds."""
    fill(url, name, end_s - start_s, START_NS + start_s * S, frequencies=FREQUENCIES)


def held(name: str) -> list[str]:
    """Return the ids in a mirror's ring, none while there is no ring."""
    return event_ids(history(f"{name}-mirror")).tolist() if head_of(f"{name}-mirror") else []


def freshness(name: str) -> Freshness:
    found = stream_status(f"{name}-mirror").freshness
    assert found is not None
    return found


def test_a_mirror_holds_to_the_byte_what_its_source_emitted(url: str, name: str) -> None:
    fill_seconds(url, name, 0, 150)
    with Running(mirror(url, name)):
        wait_until(lambda: head_of(f"{name}-mirror") == 152)
    with Consumer.attach(name) as source, Consumer.attach(f"{name}-mirror") as copy:
        assert copy.read().tobytes() == source.read().tobytes() == HELD[:152].tobytes()


def test_subscribers_get_events_as_they_come(url: str, name: str) -> None:
    with (
        Source(name, frequencies=FREQUENCIES) as source,
        Running(Relay(name, options_of(url))),
        Running(mirror(url, name)),
        subscribe(f"{name}-mirror", wait_s=20, start="oldest") as events,
    ):
        for number in range(3):
            source.advance(1)
            assert next(events).id == IDS[number]


def test_a_mirror_that_stops_is_closed_and_goes_on_where_its_ring_stands(url: str, name: str) -> None:
    fill_seconds(url, name, 0, 100)
    with Running(mirror(url, name)):
        wait_until(lambda: held(name) == IDS[:102])
    assert inspect(f"{name}-mirror").state == "closed"
    fill_seconds(url, name, 100, 200)
    with Running(mirror(url, name)):
        wait_until(lambda: held(name) == IDS[:203])
    assert inspect(f"{name}-mirror").generation == 2


def test_a_mirror_that_was_killed_goes_on_where_its_ring_stands(url: str, name: str, programs: Programs) -> None:
    fill_seconds(url, name, 0, 100)
    command = programs.chronostream("mirror", url, name, "--as", f"{name}-mirror")
    wait_until(lambda: held(name) == IDS[:102])
    command.end()
    assert inspect(f"{name}-mirror").state == "dead"
    assert (freshness(name).connected, freshness(name).stale) == (False, True)
    fill_seconds(url, name, 100, 200)
    with subscribe(f"{name}-mirror") as events, Running(mirror(url, name)):
        assert [next(events).id for _ in range(101)] == IDS[102:203]
    assert held(name) == IDS[:203]


def test_a_new_mirror_begins_with_as_much_as_its_ring_holds(url: str, name: str) -> None:
    fill_seconds(url, name, 0, 200)
    with Running(mirror(url, name, capacity=64)):
        wait_until(lambda: held(name) == IDS[203 - 64 : 203])
    assert inspect(f"{name}-mirror").head == 64


def test_a_mirror_waits_for_its_source(url: str, name: str) -> None:
    with Running(mirror(url, name)):
        fill_seconds(url, name, 0, 10)
        wait_until(lambda: held(name) == IDS[:10])


def test_a_mirror_whose_jetstream_stream_is_new_and_empty_reads_at_once(
    url: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill_seconds(url, name, 0, 10)
    with Running(mirror(url, name)):
        wait_until(lambda: held(name) == IDS[:10])

    async def recreate(js: JetStreamContext) -> None:
        config = (await js.stream_info(stream_for(name))).config
        await js.delete_stream(stream_for(name))
        await js.add_stream(config)

    in_jetstream(url, recreate)
    with Running(mirror(url, name)):
        wait_until(lambda: inspect(f"{name}-mirror").state == "live")
        fill_seconds(url, name, 10, 20)
        wait_until(lambda: held(name) == IDS[:20])
    assert "cannot read" not in caplog.text


def test_a_mirror_outlives_its_server(server: Server, name: str) -> None:
    fill_seconds(server.url, name, 0, 10)
    with Running(mirror(server.url, name)):
        wait_until(lambda: held(name) == IDS[:10])
        server.kill()
        wait_until(lambda: not freshness(name).connected)
        server.start()
        fill_seconds(server.url, name, 10, 20)
        wait_until(lambda: held(name) == IDS[:20])
        wait_until(lambda: freshness(name).connected)


def test_a_mirror_says_what_it_mirrors_and_is_verified_by_that(url: str, name: str) -> None:
    fill_seconds(url, name, 0, 100)
    with Running(mirror(url, name)):
        wait_until(lambda: head_of(f"{name}-mirror") and freshness(name).sequence == 102)
    description = stream_status(f"{name}-mirror").description
    assert description is not None
    assert description.source is not None
    assert (description.source.name, description.timezone, description.sequencer) == (name, "UTC", "boundary")
    assert [frequency.label for frequency in description.frequencies] == ["second", "minute"]
    report = verify_stream(f"{name}-mirror")
    assert (report.ok, report.found) == (True, 102)


def test_a_stream_is_stale_while_an_event_is_overdue_and_only_then(url: str, name: str) -> None:
    now_ns = time.time_ns() // S * S
    with (
        Source(name, now_ns - S, frequencies=("second",)) as source,
        Running(Relay(name, options_of(url))),
        Running(mirror(url, name, stale_after_s=0.3)),
    ):
        source.advance(1)
        wait_until(lambda: held(name))
        wait_until(lambda: freshness(name).stale)
        since_ns = freshness(name).stale_since_ns
        assert since_ns is not None
        assert since_ns >= now_ns + 1.3 * S  # The next event was due after a second, and 0.3 s are allowed.
        source.advance(3600)  # Its clock is ahead: nothing is due for a long time.
        wait_until(lambda: not freshness(name).stale)
        assert freshness(name).stale_since_ns is None


def test_the_local_name_of_a_live_stream_is_refused(url: str, name: str) -> None:
    fill_seconds(url, name, 0, 10)
    with Source(f"{name}-mirror"), pytest.raises(ProducerActiveError):
        Running(mirror(url, name)).start().join()


def test_a_producers_own_stream_is_not_taken_for_a_mirror(url: str, name: str) -> None:
    fill_seconds(url, name, 0, 10)
    with pytest.raises(StreamMismatchError, match=f"is no mirror, .*chronostream remove {name}"):
        Running(Mirror(name, options_of(url))).start().join()


def test_a_ring_that_mirrors_another_stream_is_refused_and_left_as_it_was(url: str, name: str) -> None:
    for each in (name, f"{name}-other"):
        fill_seconds(url, each, 0, 10)
    with Running(mirror(url, name)):
        wait_until(lambda: held(name))
    before = path_of(f"{name}-mirror").read_bytes()
    other = Mirror(f"{name}-other", options_of(url), local_name=f"{name}-mirror")
    with pytest.raises(StreamMismatchError, match=f"mirrors '{name}'"):
        Running(other).start().join()
    assert path_of(f"{name}-mirror").read_bytes() == before


def test_a_mirror_whose_ring_is_removed_ends(url: str, name: str) -> None:
    fill_seconds(url, name, 0, 10)
    running = Running(mirror(url, name)).start()
    wait_until(lambda: held(name))
    path_of(f"{name}-mirror").unlink()
    with pytest.raises(StreamRemovedError):
        running.join()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"capacity": 1000}, InvalidValueError),
        ({"capacity": "many"}, InvalidTypeError),
        ({"mode": 0o100600}, InvalidValueError),
        ({"stale_after_s": -1}, InvalidValueError),
        ({"stale_after_s": "soon"}, InvalidTypeError),
        ({"local_name": "/"}, InvalidNameError),
        ({"local_name": ""}, InvalidNameError),
        ({"stream": "a.b"}, InvalidNameError),
        ({"name": "a..b"}, InvalidNameError),
        ({"connection": "nats://localhost"}, InvalidTypeError),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(options: dict[str, Any], error: type[Exception]) -> None:
    arguments: dict[str, Any] = {"name": "clock", "connection": options_of("nats://localhost")} | options
    with pytest.raises(error):
        Mirror(**arguments)

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from nats.js import JetStreamContext
from nats.js.api import StreamConfig

from chronostream import EVENT_DTYPE, Frequency, event_ids
from chronostream.bridges.encoding import Encoding
from chronostream.bridges.jetstream import default_stream
from chronostream.bridges.mirror import Mirror
from chronostream.bridges.relay import Relay
from chronostream.errors import (
    InvalidValueError,
    StreamMismatchError,
    StreamNotFoundError,
    StreamRemovedError,
)
from chronostream.ring import Producer, inspect, list_names, remove
from tests.bridges.harness import (
    Running,
    Server,
    Source,
    boundary_events,
    deliver,
    in_jetstream,
    options_of,
    remove_segments,
    stored,
    stored_ids,
    wait_until,
)

START_NS = 1_700_000_000_000_000_000
S = 10**9


def ids_between(start_s: int, end_s: int, *frequencies: str) -> list[str]:
    """Return the ids of the boundaries from one second behind the start to another, that one not included."""
    records = boundary_events(frequencies or ("second",), START_NS + start_s * S, START_NS + end_s * S)
    ids: list[str] = event_ids(records).tolist()
    return ids


def emit(name: str, seconds: int, **options: Any) -> None:
    """Make a closed stream with so many seconds in it."""
    with Source(name, START_NS, **options) as source:
        source.advance(seconds)


def test_every_event_is_stored_once_in_order_under_its_id(url: str, name: str) -> None:
    frequencies = ("second", "minute", "hour", "day")
    emit(name, 4000, frequencies=frequencies)
    report = deliver(Relay(name, options_of(url)))
    expected = ids_between(1, 4001, *frequencies)
    assert stored_ids(url, default_stream(name)) == expected
    assert (report.delivered, report.losses) == (len(expected), [])


def test_a_message_is_on_its_frequencys_subject_with_the_event_as_json(url: str, name: str) -> None:
    emit(name, 100, frequencies=("minute",), instance_id="here")
    deliver(Relay(name, options_of(url)))
    message = stored(url, default_stream(name))[0]
    assert message["subject"] == f"chronostream.{name}.minute"
    event = json.loads(message["payload"])
    assert (event["id"], event["instance_id"]) == (message["headers"]["Nats-Msg-Id"], "here")


def test_records_can_be_the_payload(url: str, name: str) -> None:
    emit(name, 3)
    deliver(Relay(name, options_of(url), encoding=Encoding.RECORD))
    payloads = [message["payload"] for message in stored(url, default_stream(name))]
    assert [len(payload) for payload in payloads] == [EVENT_DTYPE.itemsize] * 3


def test_a_relay_goes_on_where_jetstream_ends(url: str, name: str) -> None:
    with Source(name, START_NS) as source:
        source.advance(10)
        source.close()
        deliver(Relay(name, options_of(url)))
    with Source(name, START_NS + 10 * S) as source:
        source.advance(10)
    report = deliver(Relay(name, options_of(url)))
    assert report.delivered == 10
    assert stored_ids(url, default_stream(name)) == ids_between(1, 21)


def test_events_are_stored_as_they_come(url: str, name: str) -> None:
    with Source(name, START_NS) as source, Running(Relay(name, options_of(url))) as running:
        for number in range(1, 4):
            source.advance(1)
            wait_until(partial(holds, url, name, number))
        assert running.alive


def count(url: str, name: str) -> int:
    async def ask(js: JetStreamContext) -> int:
        streams = await js.streams_info()
        return sum(info.state.messages for info in streams if info.config.name == default_stream(name))

    return in_jetstream(url, ask)


def holds(url: str, name: str, number: int) -> bool:
    return count(url, name) == number


def test_what_jetstream_lost_is_stored_again_while_the_ring_has_it(url: str, name: str) -> None:
    with Source(name, START_NS) as source, Running(Relay(name, options_of(url))):
        source.advance(20)
        wait_until(lambda: count(url, name) == 20)
        in_jetstream(url, lambda js: js.delete_stream(default_stream(name)))
        source.advance(1)
        wait_until(lambda: count(url, name) == 21)
    assert stored_ids(url, default_stream(name)) == ids_between(1, 22)


def test_an_outage_costs_nothing_that_the_ring_still_has(server: Server, name: str) -> None:
    relay = Relay(name, options_of(server.url))
    with Source(name, START_NS) as source, Running(relay):
        source.advance(5)
        wait_until(lambda: count(server.url, name) == 5)
        server.kill()
        source.advance(500)
        server.start()
        wait_until(lambda: relay.report.delivered + relay.report.present == 505)
    assert stored_ids(server.url, default_stream(name)) == ids_between(1, 506)
    assert relay.report.losses == []


@pytest.mark.parametrize("sequencer", ["boundary", "counting"])
def test_what_the_ring_lost_during_an_outage_is_reported_exactly(
    server: Server, name: str, sequencer: str, caplog: pytest.LogCaptureFixture
) -> None:
    relay = Relay(name, options_of(server.url), patience_s=0)
    frequencies = ("second", "minute")
    options = {"sequencer": sequencer, "capacity": 128, "frequencies": frequencies}
    with Source(name, START_NS, **options) as source, Running(relay):
        source.advance(65)
        wait_until(lambda: count(server.url, name) == 66)
        server.kill()
        source.advance(535, asleep=True)  # all at once
        server.start()
        wait_until(lambda: relay.report.delivered + relay.report.present + sum(relay.report.lost.values()) == 610)
    found = stored_ids(server.url, default_stream(name))
    held = Counter((Frequency(int(id_[0])), id_.split("-")[1]) for id_ in found)
    emitted = Counter((Frequency(int(id_[0])), id_.split("-")[1]) for id_ in ids_between(1, 601, *frequencies))
    absent = Counter(frequency for frequency, _ in emitted - held)
    assert held <= emitted
    assert absent == relay.report.lost
    assert absent
    for loss in relay.report.losses:
        assert found.index(loss.before) == found.index(loss.after) + 1
        assert str(loss) in caplog.text


def test_a_server_that_takes_small_batches_gets_small_ones(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    emit(name, 300)
    config = "jetstream { limits { batch { max_msgs: 100 } } }"
    with Server(tmp_path_factory.mktemp("small"), config=config) as server:
        assert deliver(Relay(name, options_of(server.url))).delivered == 300
        assert stored_ids(server.url, default_stream(name)) == ids_between(1, 301)


def test_a_gap_of_one_relay_is_left_to_the_other(url: str, name: str) -> None:
    relays = [Relay(f"{name}-{side}", options_of(url), to_name=name, patience_s=20) for side in "ab"]
    first, second = (Source(f"{name}-{side}", START_NS, coalesce="earliest") for side in "ab")
    with first, second, Running(relays[0]), Running(relays[1]):
        first.advance(10)
        second.advance(10)
        wait_until(lambda: count(url, name) == 10)
        first.advance(20, asleep=True)  # It misses all but one of these,
        first.advance(1)
        second.advance(21)
        wait_until(lambda: count(url, name) == 31)
        second.advance(20, asleep=True)  # and the other all but one of those.
        second.advance(1)
        first.advance(21)
        wait_until(lambda: count(url, name) == 52)
    assert stored_ids(url, default_stream(name)) == ids_between(1, 53)
    assert not any(relay.report.losses for relay in relays)


def test_a_gap_that_nobody_fills_is_passed_and_reported(url: str, name: str) -> None:
    with Source(name, START_NS, coalesce="earliest") as source:
        source.advance(10)
        source.advance(20, asleep=True)
        source.advance(1)
    report = deliver(Relay(name, options_of(url), patience_s=0.1))
    assert stored_ids(url, default_stream(name)) == ids_between(1, 12) + ids_between(31, 32)
    assert report.lost == {Frequency.SECOND: 19}


def test_two_relays_of_one_stream_store_each_event_once(url: str, name: str) -> None:
    relays = [Relay(name, options_of(url)) for _ in range(2)]
    with Source(name, START_NS) as source, Running(relays[0]), Running(relays[1]):
        for number in range(1, 6):
            source.advance(100)
            wait_until(partial(holds, url, name, 100 * number))
    assert stored_ids(url, default_stream(name)) == ids_between(1, 501)


def test_a_second_counting_producer_is_refused(url: str, name: str) -> None:
    for side in "ab":
        emit(f"{name}-{side}", 3, sequencer="counting", instance_id=side)
    deliver(Relay(f"{name}-a", options_of(url), to_name=name))
    with pytest.raises(StreamMismatchError, match="--sequence boundary"):
        deliver(Relay(f"{name}-b", options_of(url), to_name=name))


def test_counting_producers_of_one_instance_name_are_told_apart_by_their_ids(url: str, name: str) -> None:
    with Source(f"{name}-a", START_NS, sequencer="counting", instance_id="same") as source:
        source.advance(5)
    with Source(f"{name}-b", START_NS + 2 * S, sequencer="counting", instance_id="same") as source:
        source.advance(5)
    deliver(Relay(f"{name}-a", options_of(url), to_name=name))
    with pytest.raises(StreamMismatchError, match="has 1-1700000005000000000-3 for the same boundary"):
        deliver(Relay(f"{name}-b", options_of(url), to_name=name))
    assert len(stored_ids(url, default_stream(name))) == 5


def test_a_counting_stream_that_began_anew_goes_on(url: str, name: str) -> None:
    emit(name, 5, sequencer="counting")
    deliver(Relay(name, options_of(url)))
    remove(name)
    with Source(name, START_NS + 5 * S, sequencer="counting") as source:
        source.advance(5)
    report = deliver(Relay(name, options_of(url)))
    assert (report.delivered, report.losses) == (5, [])


def test_a_stream_that_is_not_there_is_an_error(url: str, name: str) -> None:
    with pytest.raises(StreamNotFoundError):
        deliver(Relay(name, options_of(url)))


def test_a_stream_that_is_not_there_yet_is_waited_for(url: str, name: str) -> None:
    relay = Relay(name, options_of(url), wait_s=20)
    with Running(relay), Source(name, START_NS) as source:
        source.advance(3)
        wait_until(lambda: relay.report.delivered == 3)


def test_a_stream_that_is_removed_ends_its_relay(url: str, name: str) -> None:
    relay = Relay(name, options_of(url))
    with Source(name, START_NS) as source:
        running = Running(relay).start()
        source.advance(1)
        wait_until(lambda: relay.report.delivered == 1)
        remove_segments(name)
        with pytest.raises(StreamRemovedError):
            running.join()


def test_a_ring_that_no_engine_made_is_refused(url: str, name: str) -> None:
    with (
        Producer.create(name, EVENT_DTYPE, 64),
        pytest.raises(StreamMismatchError, match="nor a mirror's"),
    ):
        deliver(Relay(name, options_of(url)))


def test_a_mirror_can_be_relayed_in_turn(url: str, name: str) -> None:
    emit(name, 10, instance_id="here")
    deliver(Relay(name, options_of(url)))
    with Running(Mirror(name, options_of(url), local_name=f"{name}-mirror")):
        wait_until(lambda: f"{name}-mirror" in list_names() and inspect(f"{name}-mirror").head == 10)
    deliver(Relay(f"{name}-mirror", options_of(url), to_name=f"{name}-again"))
    first, again = (stored(url, default_stream(each)) for each in (name, f"{name}-again"))
    assert [message["payload"] for message in again] == [message["payload"] for message in first]


def test_a_patience_below_zero_is_refused(url: str, name: str) -> None:
    with pytest.raises(InvalidValueError, match="patience_s is -1"):
        Relay(name, options_of(url), patience_s=-1)


def test_without_batches_events_go_one_after_the_other(url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a server before 2.12 makes of the wish for batches.
    made: Callable[..., Any] = JetStreamContext.add_stream

    async def add_stream(js: JetStreamContext, config: StreamConfig) -> Any:
        return await made(js, config.evolve(allow_atomic=None))

    async def update_stream(js: JetStreamContext, config: StreamConfig) -> Any:
        return await js.stream_info(config.name or "")

    monkeypatch.setattr(JetStreamContext, "add_stream", add_stream)
    monkeypatch.setattr(JetStreamContext, "update_stream", update_stream)
    emit(name, 20)
    assert deliver(Relay(name, options_of(url))).delivered == 20
    assert stored_ids(url, default_stream(name)) == ids_between(1, 21)
    assert not any("Nats-Batch-Id" in message["headers"] for message in stored(url, default_stream(name)))

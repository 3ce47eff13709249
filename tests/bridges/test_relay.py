from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from prometheus_client.parser import text_string_to_metric_families

from chronostream import EVENT_DTYPE, Frequency
from chronostream.bridges.jetstream import End, find_end, stream_for
from chronostream.bridges.mirror import Mirror
from chronostream.bridges.relay import Relay
from chronostream.errors import (
    BridgeError,
    InvalidNameError,
    InvalidTypeError,
    InvalidValueError,
    StreamMismatchError,
    StreamNotFoundError,
    StreamRemovedError,
)
from chronostream.ring import Producer, remove
from tests.bridges.harness import (
    START_NS,
    Running,
    S,
    Server,
    Source,
    deliver,
    emit,
    fill,
    head_of,
    ids_between,
    in_jetstream,
    options_of,
    stored,
    stored_ids,
    wait_for_stored,
)
from tests.ring.harness import path_of, wait_until


def test_every_event_is_stored_once_in_order_under_its_id(url: str, name: str) -> None:
    frequencies = ("second", "minute", "hour", "day")
    report = fill(url, name, 1200, START_NS + 5800 * S, frequencies=frequencies)  # midnight is at 6400 s
    expected = ids_between(5801, 7001, *frequencies)
    assert stored_ids(url, stream_for(name)) == expected
    assert (report.delivered, report.losses) == (len(expected), [])


def test_a_message_is_on_its_frequencys_subject_with_the_event_as_json(url: str, name: str) -> None:
    fill(url, name, 100, frequencies=("minute",), instance_id="here")
    message = stored(url, stream_for(name))[0]
    assert message["subject"] == f"chronostream.{name}.minute"
    event = json.loads(message["payload"])
    assert (event["id"], event["instance_id"]) == (message["headers"]["Nats-Msg-Id"], "here")


def test_a_relay_goes_on_where_jetstream_ends(url: str, name: str) -> None:
    fill(url, name, 10)
    assert fill(url, name, 10, START_NS + 10 * S).delivered == 10
    assert stored_ids(url, stream_for(name)) == ids_between(1, 21)


def test_two_relays_of_one_stream_store_each_event_once_as_it_comes(url: str, name: str) -> None:
    relays = [Relay(name, options_of(url)) for _ in range(2)]
    with Source(name) as source, Running(relays[0]), Running(relays[1]):
        for count in (100, 200, 300):
            source.advance(100)
            wait_for_stored(url, name, count)
    assert stored_ids(url, stream_for(name)) == ids_between(1, 301)


def test_what_jetstream_lost_is_stored_again_while_the_ring_has_it(url: str, name: str) -> None:
    with Source(name) as source, Running(Relay(name, options_of(url))):
        source.advance(20)
        wait_for_stored(url, name, 20)
        in_jetstream(url, lambda js: js.delete_stream(stream_for(name)))
        source.advance(1)
        wait_for_stored(url, name, 21)
    assert stored_ids(url, stream_for(name)) == ids_between(1, 22)


async def age_out(js: JetStreamContext, stream: str) -> None:
    """Let the events age out, then set no age limit again."""
    config = (await js.stream_info(stream)).config
    await js.update_stream(config.evolve(max_age=0.5, duplicate_window=0.5))
    left = 10
    while left:
        await asyncio.sleep(0.05)
        left = (await js.stream_info(stream)).state.messages
    await js.update_stream(config.evolve(max_age=0))


@pytest.mark.parametrize(
    "removed",
    [age_out, JetStreamContext.purge_stream, lambda js, stream: js.delete_msg(stream, 10)],
    ids=["aged out", "purged", "the last deleted"],
)
def test_what_jetstream_holds_no_more_is_not_stored_again(
    url: str, name: str, removed: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    start_ns = time.time_ns() // S * S - 10 * S
    stream = stream_for(name)
    emit(name, 10, start_ns)
    with Running(Mirror(name, options_of(url), local_name=f"{name}-mirror")):
        assert deliver(Relay(name, options_of(url))).delivered == 10
        wait_until(lambda: head_of(f"{name}-mirror") == 10)
        in_jetstream(url, lambda js: removed(js, stream))
        stored_ns = end_of(url, name).gone_ns
        assert stored_ns is not None
        assert deliver(Relay(name, options_of(url))).delivered == 0
        emit(name, 10, start_ns + 3600 * S, max_step_s=7200)
        later = sum(start_ns + second * S > stored_ns for second in range(1, 3611))
        assert deliver(Relay(name, options_of(url), gap_timeout_s=0)).delivered == later
        wait_until(lambda: head_of(f"{name}-mirror") == 10 + later)
    assert "Events up to then are taken as stored" in caplog.text
    assert "skipped message" not in caplog.text


def test_a_relay_that_stored_the_last_event_goes_on_behind_it_though_it_is_gone(
    server: Server, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    relay = Relay(name, options_of(server.url))
    with Source(name, sequencer="counting") as source, Running(relay):
        source.advance(20)
        wait_until(lambda: relay.report.delivered == 20)
        in_jetstream(server.url, lambda js: js.purge_stream(stream_for(name)))
        server.kill()
        source.advance(5)
        server.start()
        wait_until(lambda: relay.report.delivered == 25)
    assert [id_.split("-")[2] for id_ in stored_ids(server.url, stream_for(name))] == ["21", "22", "23", "24", "25"]
    assert "taken as stored" not in caplog.text
    assert relay.report.losses == []


def end_of(url: str, name: str) -> End:
    return in_jetstream(url, lambda js: find_end(js, stream_for(name), f"chronostream.{name}.*"))


def test_an_outage_costs_nothing_that_the_ring_still_has(server: Server, name: str) -> None:
    relay = Relay(name, options_of(server.url))
    with Source(name) as source, Running(relay):
        source.advance(5)
        wait_for_stored(server.url, name, 5)
        server.kill()
        source.advance(500)
        server.start()
        wait_until(lambda: relay.report.delivered + relay.report.present == 505)
    assert stored_ids(server.url, stream_for(name)) == ids_between(1, 506)
    assert relay.report.losses == []


@pytest.mark.parametrize("sequencer", ["boundary", "counting"])
def test_what_the_ring_lost_during_an_outage_is_reported_exactly(
    server: Server, name: str, sequencer: str, caplog: pytest.LogCaptureFixture
) -> None:
    relay = Relay(name, options_of(server.url), gap_timeout_s=0)
    frequencies = ("second", "minute")
    options: dict[str, Any] = {"sequencer": sequencer, "capacity": 128, "frequencies": frequencies}
    with Source(name, **options) as source, Running(relay):
        source.advance(65)
        wait_for_stored(server.url, name, 66)
        server.kill()
        source.advance(535, asleep=True)  # all at once
        server.start()
        wait_until(lambda: relay.report.delivered + relay.report.present + sum(relay.report.lost.values()) == 610)
    found = stored_ids(server.url, stream_for(name))
    held = Counter((Frequency(int(id_[0])), id_.split("-")[1]) for id_ in found)
    emitted = Counter((Frequency(int(id_[0])), id_.split("-")[1]) for id_ in ids_between(1, 601, *frequencies))
    absent = Counter(frequency for frequency, _ in emitted - held)
    assert held <= emitted
    assert absent == relay.report.lost
    assert absent
    for loss in relay.report.losses:
        assert found.index(loss.before) == found.index(loss.after) + 1
        assert str(loss) in caplog.text


def test_a_server_that_takes_small_batches_gets_small_ones(small_batches: str, name: str) -> None:
    assert fill(small_batches, name, 300).delivered == 300
    assert stored_ids(small_batches, stream_for(name)) == ids_between(1, 301)


def test_a_stream_that_takes_no_event_ends_the_relay(url: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    config = StreamConfig(name=stream_for(name), subjects=[f"chronostream.{name}.*"], max_msg_size=100)
    in_jetstream(url, lambda js: js.add_stream(config))
    emit(name, 3)
    with pytest.raises(BridgeError, match="cannot store or read the events: message size exceeds maximum allowed"):
        deliver(Relay(name, options_of(url)))
    assert "will retry" not in caplog.text


def test_its_metrics_tell_how_it_fares(
    server: Server, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chronostream.bridges.relay._METRICS_S", 0.05)
    file = tmp_path / "relay.prom"

    def metrics() -> dict[str, float]:
        text = file.read_text() if file.exists() else ""
        return {
            name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            for name in [sample.name.removeprefix("chronostream_relay_")]
            if sample.labels == {"stream": stream}
        }

    stream, before_s = name, time.time()
    relay = Relay(name, options_of(server.url), metrics_file=file)
    with Source(name) as source, Running(relay):
        source.advance(20)
        wait_until(lambda: metrics().get("delivered_events_total") == 20)
        wait_until(lambda: metrics()["pending_events"] == 0)
        found = metrics()
        assert (found["lost_events_total"], found["connected"]) == (0, 1)
        assert before_s <= found["last_success_timestamp_seconds"] <= time.time()
        server.kill()
        source.advance(5)
        wait_until(lambda: (metrics()["pending_events"], metrics()["connected"]) == (5, 0))
        server.start()
        wait_until(lambda: metrics()["pending_events"] == 0)
    assert metrics()["delivered_events_total"] == relay.report.delivered  # Some may have been stored unanswered.
    assert relay.report.delivered + relay.report.present == 25


def test_metrics_that_cannot_be_written_are_logged_once_and_do_no_harm(
    url: str, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    emit(name, 3)
    assert deliver(Relay(name, options_of(url), metrics_file=tmp_path / "nowhere" / "relay.prom")).delivered == 3
    assert caplog.text.count("cannot write its metrics") == 1


def test_a_gap_of_one_relay_is_left_to_the_other(url: str, name: str) -> None:
    relays = [Relay(f"{name}-{side}", options_of(url), to_name=name, gap_timeout_s=20) for side in "ab"]
    first, second = (Source(f"{name}-{side}", coalesce="earliest") for side in "ab")
    with first, second, Running(relays[0]), Running(relays[1]):
        first.advance(10)
        second.advance(10)
        wait_for_stored(url, name, 10)
        first.advance(20, asleep=True)  # It misses all but one of these,
        first.advance(1)
        second.advance(21)
        wait_for_stored(url, name, 31)
        second.advance(20, asleep=True)  # and the other all but one of those.
        second.advance(1)
        first.advance(21)
        wait_for_stored(url, name, 52)
    assert stored_ids(url, stream_for(name)) == ids_between(1, 53)
    assert not any(relay.report.losses for relay in relays)


def test_a_gap_that_nobody_fills_is_passed_and_reported(url: str, name: str) -> None:
    with Source(name, coalesce="earliest") as source:
        source.advance(10)
        source.advance(20, asleep=True)
        source.advance(1)
    report = deliver(Relay(name, options_of(url), gap_timeout_s=0.1))
    assert stored_ids(url, stream_for(name)) == ids_between(1, 12) + ids_between(31, 32)
    assert report.lost == {Frequency.SECOND: 19}


def test_a_second_counting_producer_is_refused(url: str, name: str) -> None:
    for side in "ab":
        emit(f"{name}-{side}", 3, sequencer="counting", instance_id=side)
    deliver(Relay(f"{name}-a", options_of(url), to_name=name))
    with pytest.raises(StreamMismatchError, match="only one may be relayed; use --sequencer boundary"):
        deliver(Relay(f"{name}-b", options_of(url), to_name=name))


def test_counting_producers_of_one_instance_name_are_told_apart_by_their_ids(url: str, name: str) -> None:
    emit(f"{name}-a", 5, sequencer="counting")
    emit(f"{name}-b", 5, START_NS + 2 * S, sequencer="counting")
    deliver(Relay(f"{name}-a", options_of(url), to_name=name))
    with pytest.raises(StreamMismatchError, match="has 1-1700000005000000000-3 for the same boundary"):
        deliver(Relay(f"{name}-b", options_of(url), to_name=name))
    assert len(stored_ids(url, stream_for(name))) == 5


def test_a_counting_stream_that_began_anew_goes_on(url: str, name: str) -> None:
    fill(url, name, 5, sequencer="counting")
    remove(name)
    report = fill(url, name, 5, START_NS + 5 * S, sequencer="counting")
    assert (report.delivered, report.losses) == (5, [])


def test_a_stream_that_is_not_there_is_an_error(url: str, name: str) -> None:
    with pytest.raises(StreamNotFoundError):
        deliver(Relay(name, options_of(url)))


def test_a_stream_that_is_not_there_yet_is_waited_for(url: str, name: str) -> None:
    relay = Relay(name, options_of(url), wait_s=20)
    with Running(relay), Source(name) as source:
        source.advance(3)
        wait_until(lambda: relay.report.delivered == 3)


def test_a_stream_that_is_removed_ends_its_relay(url: str, name: str) -> None:
    relay = Relay(name, options_of(url))
    with Source(name) as source:
        running = Running(relay).start()
        source.advance(1)
        wait_until(lambda: relay.report.delivered == 1)
        path_of(name).unlink()
        with pytest.raises(StreamRemovedError):
            running.join()


def test_a_ring_that_no_engine_made_is_refused(url: str, name: str) -> None:
    with (
        Producer.create(name, EVENT_DTYPE, 64),
        pytest.raises(StreamMismatchError, match="nor a mirror's"),
    ):
        deliver(Relay(name, options_of(url)))


def test_a_mirror_can_be_relayed_in_turn(url: str, name: str) -> None:
    fill(url, name, 10, instance_id="here")
    with Running(Mirror(name, options_of(url), local_name=f"{name}-mirror")):
        wait_until(lambda: head_of(f"{name}-mirror") == 10)
    deliver(Relay(f"{name}-mirror", options_of(url), to_name=f"{name}-again"))
    first, again = (stored(url, stream_for(each)) for each in (name, f"{name}-again"))
    assert [message["payload"] for message in again] == [message["payload"] for message in first]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"gap_timeout_s": -1}, InvalidValueError),
        ({"wait_s": "long"}, InvalidTypeError),
        ({"encoding": "xml"}, InvalidValueError),
        ({"to_name": "a..b"}, InvalidNameError),
        ({"to_name": ""}, InvalidNameError),
        ({"to_stream": "a.b"}, InvalidNameError),
        ({"connection": "nats://localhost"}, InvalidTypeError),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(options: dict[str, Any], error: type[Exception]) -> None:
    arguments: dict[str, Any] = {"name": "clock", "connection": options_of("nats://localhost")} | options
    with pytest.raises(error):
        Relay(**arguments)


def test_without_batches_events_go_one_after_the_other(url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a server before 2.12 makes of the wish for batches.
    made: Callable[..., Any] = JetStreamContext.add_stream

    async def add_stream(js: JetStreamContext, config: StreamConfig) -> Any:
        return await made(js, config.evolve(allow_atomic=None))

    async def update_stream(js: JetStreamContext, config: StreamConfig) -> Any:
        return await js.stream_info(config.name or "")

    monkeypatch.setattr(JetStreamContext, "add_stream", add_stream)
    monkeypatch.setattr(JetStreamContext, "update_stream", update_stream)
    assert fill(url, name, 20).delivered == 20
    assert stored_ids(url, stream_for(name)) == ids_between(1, 21)
    assert not any("Nats-Batch-Id" in message["headers"] for message in stored(url, stream_for(name)))

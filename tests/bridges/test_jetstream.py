from __future__ import annotations

import time
from typing import Any

import nats.errors
import pytest
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig, StreamInfo

from chronostream import Frequency
from chronostream.bridges.jetstream import (
    Limits,
    Origin,
    ensure_stream,
    find_end,
    find_stream,
    seek,
    stream_for,
)
from chronostream.calendar.order import order_key
from chronostream.calendar.zones import ZoneData, zone_data
from chronostream.errors import BridgeError, InvalidNameError, InvalidTypeError, InvalidValueError, StreamMismatchError
from chronostream.event import to_events
from tests.bridges.harness import HELD, fill, in_jetstream

BERLIN = zone_data("Europe/Berlin")
OTHER = ZoneData(BERLIN.timezone, "0" * 16, "1999a")


def origin_of(name: str, **changes: Any) -> Origin:
    options: dict[str, Any] = {
        "frequencies": (Frequency.SECOND, Frequency.HOUR),
        "sequencer": "boundary",
        "zone": BERLIN,
    }
    return Origin(name=name, **(options | changes))


def ensured(url: str, origin: Origin, limits: Limits | None = None, **options: Any) -> StreamInfo:
    return in_jetstream(
        url, lambda js: ensure_stream(js, stream_for(origin.name), origin, limits or Limits(), **options)
    )


def test_a_stream_is_made_for_one_streams_events_and_says_what_they_are(url: str, name: str) -> None:
    limits = Limits(max_age_s=3600, max_messages=1000, max_bytes=1 << 20)
    config = ensured(url, origin_of(name), limits).config
    assert config.subjects == [f"chronostream.{name}.*"]
    assert (config.storage, config.retention, config.discard) == (
        StorageType.FILE,
        RetentionPolicy.LIMITS,
        DiscardPolicy.OLD,
    )
    assert (config.num_replicas, config.max_age, config.max_msgs, config.max_bytes) == (1, 3600, 1000, 1 << 20)
    assert Origin.parse(config.metadata) == origin_of(name)


def test_a_stream_that_is_as_wanted_is_left_as_it_is(url: str, name: str) -> None:
    first = ensured(url, origin_of(name), Limits(max_age_s=3600))
    assert ensured(url, origin_of(name)).config == first.config


def test_the_stream_is_the_one_that_was_chosen_or_called_like_the_name_without_its_dots() -> None:
    assert stream_for("market.clock", "mine") == "mine"
    assert stream_for("market.clock") == "CHRONOSTREAM_market_clock"


@pytest.mark.parametrize("chosen", ["", "a.b", "a b", "a*", ">", "a/b", "a\\b", 5])
def test_what_cannot_be_a_jetstream_streams_name_is_refused(chosen: Any) -> None:
    with pytest.raises(InvalidNameError, match="not a name of a JetStream stream"):
        stream_for("clock", chosen)


def test_a_stream_made_by_hand_is_taken_and_told_what_it_holds(url: str, name: str) -> None:
    async def make(js: JetStreamContext) -> None:
        config = StreamConfig(subjects=[f"chronostream.{name}.*"], metadata={"owner": "us"}, description="ours")
        await js.add_stream(config, name=stream_for(name))

    in_jetstream(url, make)
    config = ensured(url, origin_of(name)).config
    assert Origin.parse(config.metadata) == origin_of(name)
    assert (config.description, (config.metadata or {})["owner"]) == ("ours", "us")
    assert config.allow_atomic


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"subjects": ["other.*"]}, r"subjects other\.\*, expected chronostream"),
        ({"storage": StorageType.MEMORY}, "storage memory, expected file"),
        ({"retention": RetentionPolicy.INTEREST}, "retention interest"),
        ({"discard": DiscardPolicy.NEW}, "discard new, expected old"),
        ({"max_age": 60}, "max_age 60"),
        ({"max_msgs_per_subject": 5}, "has max_msgs_per_subject 5, and would drop events between others"),
        ({"max_msgs_per_subject": 5, "max_msgs": 6}, "has max_msgs_per_subject 5"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_stream_that_is_not_as_it_must_be_is_refused(url: str, name: str, change: dict[str, Any], text: str) -> None:
    wanted = {"subjects": [f"chronostream.{name}.*"], "name": stream_for(name)} | change
    in_jetstream(url, lambda js: js.add_stream(StreamConfig(**wanted)))
    with pytest.raises(StreamMismatchError, match=text):
        ensured(url, origin_of(name), Limits(max_age_s=3600))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"frequencies": (Frequency.SECOND,)}, "frequencies second, hour, this stream has second"),
        ({"sequencer": "counting", "instance": "a"}, "sequencer boundary, this stream has counting"),
        ({"zone": zone_data("UTC")}, "zone data"),
        ({"zone": OTHER}, "install the same data on all hosts"),
    ],
    ids=["frequencies", "sequencer", "zone", "zone data"],
)
def test_events_that_are_not_like_those_it_holds_are_refused(
    url: str, name: str, change: dict[str, Any], text: str
) -> None:
    ensured(url, origin_of(name))
    with pytest.raises(StreamMismatchError, match=text):
        ensured(url, origin_of(name, **change))


def test_other_zone_data_can_be_accepted_and_count_from_then_on(url: str, name: str) -> None:
    ensured(url, origin_of(name))
    info = ensured(url, origin_of(name, zone=OTHER), accept_zone_data=True)
    assert Origin.parse(info.config.metadata) == origin_of(name, zone=OTHER)
    ensured(url, origin_of(name, zone=OTHER))


def test_another_zone_cannot_be_accepted(url: str, name: str) -> None:
    ensured(url, origin_of(name))
    with pytest.raises(StreamMismatchError, match="zone data"):
        ensured(url, origin_of(name, zone=zone_data("UTC")), accept_zone_data=True)


def test_what_jetstream_will_never_do_is_an_error_at_once(url: str, name: str) -> None:
    with pytest.raises(BridgeError, match="replicas > 1"):
        ensured(url, origin_of(name), Limits(replicas=3))


@pytest.mark.parametrize("limit", ["replicas", "max_age_s", "max_messages", "max_bytes"])
def test_a_limit_that_is_no_number_above_zero_is_refused(limit: str) -> None:
    with pytest.raises(InvalidValueError, match=limit):
        Limits(**{limit: 0})
    with pytest.raises(InvalidTypeError, match=f"{limit} is str"):
        Limits(**{limit: "many"})  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match=f"{limit} is bool"):
        Limits(**{limit: True})


def test_a_stream_of_other_events_is_not_found(url: str, name: str) -> None:
    ensured(url, origin_of(name))
    with pytest.raises(StreamMismatchError, match="choose another one with --stream"):
        in_jetstream(url, lambda js: find_stream(js, stream_for(name), "another"))


def test_zone_data_unlike_this_hosts_are_flagged(url: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    ensured(url, origin_of(name, zone=OTHER))
    in_jetstream(url, lambda js: find_stream(js, stream_for(name), name))
    assert f"zone data differ: the events of {name} were made with {OTHER}" in caplog.text


def test_each_event_is_found_by_its_order_with_and_without_a_hint(url: str, name: str) -> None:
    fill(url, name, 130, frequencies=("second", "minute"))
    stream, subjects = stream_for(name), f"chronostream.{name}.*"
    events = to_events(HELD)

    async def check(js: JetStreamContext) -> None:
        await js.delete_msg(stream, 50)
        await js.delete_msg(stream, 51)
        await js.purge_stream(stream, seq=10)
        assert await seek(js, stream, subjects, 0) == 10
        for place in (1, 9, 10, 60, 131):
            for hint in (0, place + 1, 5, 10_000):
                found = await seek(js, stream, subjects, order_key(events[place - 1]), hint)
                assert found == max(10, place + 1)
        assert await seek(js, stream, subjects, order_key(events[49])) in (50, 51, 52)  # 50 and 51 are gone

    in_jetstream(url, check)


def test_a_last_message_that_is_not_found_is_gone_only_if_jetstream_says_so(url: str, held: str) -> None:
    # The last message of all is not on this subject, as if a new leader of a cluster did not have it yet.
    with pytest.raises(nats.errors.Error, match=f"message {len(HELD)} of {stream_for(held)} is not there yet"):
        in_jetstream(url, lambda js: find_end(js, stream_for(held), f"chronostream.{held}.second"))


def test_in_an_empty_stream_the_first_message_will_have_the_place(url: str, name: str) -> None:
    ensured(url, origin_of(name))
    subjects = f"chronostream.{name}.*"
    assert in_jetstream(url, lambda js: seek(js, stream_for(name), subjects, order_key(to_events(HELD)[9]))) == 1


def test_the_end_is_the_last_sequence_even_if_its_message_is_gone(url: str, name: str) -> None:
    before_ns = time.time_ns()
    fill(url, name, 5)
    stream, subjects = stream_for(name), f"chronostream.{name}.*"

    async def check(js: JetStreamContext) -> None:
        assert await find_end(js, stream, subjects) == (5, to_events(HELD[4:5])[0], None)
        await js.delete_msg(stream, 5)
        end = await find_end(js, stream, subjects)
        assert end[:2] == (5, to_events(HELD[3:4])[0])
        assert end.gone_ns is not None
        assert before_ns <= end.gone_ns <= time.time_ns()
        await js.purge_stream(stream)
        assert await find_end(js, stream, subjects) == (5, None, end.gone_ns)

    in_jetstream(url, check)

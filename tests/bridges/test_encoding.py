from __future__ import annotations

import json
from typing import Any

import pytest

from chronostream import Event, Frequency, build_event, to_records
from chronostream.bridges.encoding import ENCODING, SCHEMA, Encoding, all_subjects, decode, encode, subject_of
from chronostream.errors import BridgeError, InvalidNameError

EVENTS = [
    build_event("second", 1_771_582_543_000_000_000, 1, "1.0", "höst"),
    build_event("hour", 1_771_585_200_000_000_000, (1 << 64) - 1, "", ""),
    build_event("day", -86_400_000_000_000, 0, "1", "i"),
]
FIELDS: dict[str, Any] = {
    "id": "1-1771582543000000000-1",
    "timestamp": 1771582543000000000,
    "frequency": "second",
    "sequence": 1,
    "seed": 1771582543000000001,
    "schema_version": 1,
    "producer_version": "1.0",
    "instance_id": "höst",
}


def headers_of(encoding: str) -> dict[str, str]:
    return {SCHEMA: "1", ENCODING: encoding}


def encoded(event: Event, encoding: Encoding) -> bytes:
    (payload,) = encode(to_records([event]), [event], encoding)
    return payload


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.id)
def test_an_event_comes_out_as_it_went_in(event: Event, encoding: Encoding) -> None:
    subject = subject_of("clock", event.frequency)
    assert decode(subject, headers_of(encoding), encoded(event, encoding)) == event


def test_json_has_exactly_the_eight_fields_of_an_event() -> None:
    assert json.loads(encoded(EVENTS[0], Encoding.JSON)) == FIELDS


def test_a_record_is_its_own_bytes() -> None:
    assert encode(to_records(EVENTS), EVENTS, Encoding.RECORD) == [to_records([event]).tobytes() for event in EVENTS]


def test_subjects_are_the_streams_name_and_the_frequency() -> None:
    assert subject_of("market.clock", Frequency.DAY) == "chronostream.market.clock.day"
    assert all_subjects("market.clock") == "chronostream.market.clock.*"


@pytest.mark.parametrize("name", ["a.", "a..b", "", "a b", "*", "a.>"])
def test_a_name_that_cannot_be_part_of_a_subject_is_refused(name: str) -> None:
    with pytest.raises(InvalidNameError):
        all_subjects(name)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "1-1771582543000000000-2"},
        {"seed": 0},
        {"timestamp": "1771582543000000000"},
        {"timestamp": 1771582543000000000.0},
        {"sequence": True},
        {"schema_version": 2},
        {"frequency": "week"},
        {"frequency": None},
        {"instance_id": "x" * 65},
        {"producer_version": 1},
        {"more": 1},
    ],
    ids=str,
)
def test_json_that_contradicts_itself_is_no_event(change: dict[str, Any]) -> None:
    with pytest.raises(BridgeError, match="is not an event"):
        decode("chronostream.clock.second", headers_of("json"), json.dumps(FIELDS | change).encode())


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b"\xff", b"{}", b"1", pytest.param(b"[" * 100_000, id="deep")])
def test_a_payload_that_is_no_such_json_is_no_event(payload: bytes) -> None:
    with pytest.raises(BridgeError, match="is not an event"):
        decode("chronostream.clock.second", headers_of("json"), payload)


@pytest.mark.parametrize("at", [8, 16, 24, 25, 26, 28])
def test_a_record_with_a_byte_turned_is_no_event(at: int) -> None:
    payload = bytearray(encoded(EVENTS[0], Encoding.RECORD))
    payload[at] ^= 0x80
    with pytest.raises(BridgeError, match="is not an event"):
        decode("chronostream.clock.second", headers_of("record"), bytes(payload))


def test_a_record_of_another_size_is_no_event() -> None:
    with pytest.raises(BridgeError, match="127 bytes, expected a record of 128"):
        decode("chronostream.clock.second", headers_of("record"), encoded(EVENTS[0], Encoding.RECORD)[:-1])


def test_an_event_on_another_frequencys_subject_is_none() -> None:
    with pytest.raises(BridgeError, match="frequency second"):
        decode("chronostream.clock.minute", headers_of("json"), encoded(EVENTS[0], Encoding.JSON))


@pytest.mark.parametrize("headers", [None, {}, {SCHEMA: "2", ENCODING: "json"}, {SCHEMA: "1", ENCODING: "xml"}])
def test_a_message_of_another_schema_or_encoding_is_no_event(headers: dict[str, str] | None) -> None:
    with pytest.raises(BridgeError, match="its header"):
        decode("chronostream.clock.second", headers, encoded(EVENTS[0], Encoding.JSON))

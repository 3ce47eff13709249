"""An event as a NATS message: subject, payload and headers (docs/distributed.md, "Messages")."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from chronostream.errors import BridgeError, InvalidNameError, InvalidTypeError, InvalidValueError
from chronostream.event import EVENT_DTYPE, SCHEMA_VERSION, Event, Frequency, plain_fields, to_events, to_records
from chronostream.ring import segment_name

__all__ = [
    "ENCODING",
    "LATENESS",
    "SCHEMA",
    "ZONE",
    "Encoding",
    "all_subjects",
    "decode",
    "encode",
    "subject_of",
]

SCHEMA = "Chronostream-Schema"
ENCODING = "Chronostream-Encoding"
LATENESS = "Chronostream-Lateness-Ns"
ZONE = "Chronostream-Zone"

_FIELDS = frozenset(Event.__slots__)


class Encoding(StrEnum):
    """The format of a payload."""

    JSON = "json"
    """A JSON object with the eight fields of an `Event`; the frequency is its name."""
    RECORD = "record"
    """The 128 bytes of a record of `EVENT_DTYPE`."""


def subject_of(name: str, frequency: Frequency) -> str:
    """Return the subject of a stream's events of one frequency."""
    return f"{_prefix(name)}.{frequency.label}"


def all_subjects(name: str) -> str:
    """Return the pattern that matches the subjects of this stream and no other.

    Raises:
        InvalidNameError: the name cannot be part of a subject.
    """
    return f"{_prefix(name)}.*"


def encode(records: npt.NDArray[np.void], events: Sequence[Event], encoding: Encoding) -> list[bytes]:
    """Return the payloads of events, which are given as records, shape ``(n,)``, and as objects."""
    if encoding is Encoding.RECORD:
        raw, size = records.tobytes(), EVENT_DTYPE.itemsize
        return [raw[start : start + size] for start in range(0, len(raw), size)]
    return [json.dumps(plain_fields(event), separators=(",", ":")).encode() for event in events]


def decode(subject: str, headers: Mapping[str, str] | None, payload: bytes) -> Event:
    """Return the event of a message.

    Raises:
        BridgeError: the message is not an event, is inconsistent, or has another schema version.
    """
    headers = headers or {}
    schema, encoding = headers.get(SCHEMA), headers.get(ENCODING)
    try:
        if schema != str(SCHEMA_VERSION):
            raise InvalidValueError(f"its header {SCHEMA} is {schema!r}, expected '{SCHEMA_VERSION}'")
        if encoding not in list(Encoding):
            raise InvalidValueError(f"its header {ENCODING} is {encoding!r}, expected one of {', '.join(Encoding)}")
        event = _from_record(payload) if encoding == Encoding.RECORD else _from_json(payload)
        if subject.rpartition(".")[2] != event.frequency.label:
            raise InvalidValueError(f"it holds an event of frequency {event.frequency.label}")
    except (InvalidValueError, InvalidTypeError) as error:
        raise BridgeError(f"the message on {subject} is not an event: {error}") from None
    return event


def _prefix(name: str) -> str:
    segment_name(name)
    if not all(name.split(".")):
        raise InvalidNameError(f"{name!r} cannot be part of a subject: remove a '.' at its end, or next to another '.'")
    return f"chronostream.{name}"


def _from_json(payload: bytes) -> Event:
    try:
        fields: Any = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(f"its payload is not JSON: {error}") from None
    if not isinstance(fields, dict) or fields.keys() != _FIELDS:
        raise InvalidValueError(f"its payload is not an object with exactly the fields {', '.join(Event.__slots__)}")
    event = Event(**fields | {"frequency": Frequency.parse(fields["frequency"])})
    to_records([event])  # Raises if the fields do not follow from the event's boundary.
    return event


def _from_record(payload: bytes) -> Event:
    if len(payload) != EVENT_DTYPE.itemsize:
        raise InvalidValueError(f"its payload has {len(payload)} bytes, expected a record of {EVENT_DTYPE.itemsize}")
    (event,) = to_events(np.frombuffer(payload, EVENT_DTYPE))
    if to_records([event]).tobytes() != payload:
        raise InvalidValueError("its fields do not follow from its boundary")
    return event

"""Event identity: what an event is, to the last bit.

An event is a fact about a boundary. Nothing in it depends on when it was emitted, so two runs that number the same
boundaries alike give the same bytes. This module is pure: it uses no clock, no zone and no ring.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from chronostream import _values
from chronostream._values import INT64_MAX, checked_int, checked_ns
from chronostream.errors import InvalidTypeError, InvalidValueError, UnknownFrequencyError

__all__ = [
    "EVENT_DTYPE",
    "FREQUENCIES",
    "SCHEMA_VERSION",
    "Event",
    "Frequency",
    "build_event",
    "build_events",
    "build_mixed_events",
    "checked_records",
    "encode_text",
    "event_ids",
    "plain_fields",
    "to_events",
    "to_records",
]

SCHEMA_VERSION = 1

EVENT_DTYPE: np.dtype[np.void] = np.dtype(
    [
        ("timestamp", "<i8"),
        ("sequence", "<u8"),
        ("seed", "<i8"),
        ("frequency", "u1"),
        ("reserved", "u1"),
        ("schema_version", "<u2"),
        ("reserved2", "<u4"),
        ("producer_version", "S32"),
        ("instance_id", "S64"),
    ]
)
"""One event as a record of 128 bytes, little-endian, every byte defined (docs/ring.md, "Events")."""

_RECORD = struct.Struct("<qQqBBHI32s64s")  # the same for Python's own values
_WORDS = EVENT_DTYPE.itemsize // 8
_TIMESTAMP_WORD, _SEQUENCE_WORD, _SEED_WORD = 0, 1, 2
_BLOCK = 2048  # records, 256 KiB
_UINT64 = (1 << 64) - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Frequency(IntEnum):
    """How often a stream's events come; the number is part of each event's id. As text it is its label."""

    UNKNOWN = 0
    SECOND = 1
    MINUTE = 2
    HOUR = 3
    DAY = 4

    @property
    def label(self) -> str:
        """The lower-case name: ``"second"``, ``"minute"``, ``"hour"`` or ``"day"``."""
        return self.name.lower()

    def __str__(self) -> str:
        return self.label

    def __format__(self, spec: str) -> str:
        try:
            return format(self.label, spec)
        except ValueError:  # The spec is for a number, such as "d".
            return format(int(self), spec)

    @classmethod
    def parse(cls, value: str | int) -> Frequency:
        """Return the frequency with this name (in any case) or number.

        Raises:
            UnknownFrequencyError: there is none, or it is ``UNKNOWN``.
        """
        if type(value) is cls and value:
            return value
        try:
            return _EMITTED[value.lower() if isinstance(value, str) else checked_int("frequency", value)]
        except (KeyError, TypeError):
            raise UnknownFrequencyError(f"unknown frequency {value!r}: choose one of {_CHOICES}") from None

    @classmethod
    def parse_all(cls, values: Iterable[Frequency | str | int]) -> tuple[Frequency, ...]:
        """Return the frequencies with these names or numbers, each once, the shortest first; errors as for `parse`."""
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise InvalidTypeError(f"frequencies are {values!r}, expected a collection such as ('second', 'minute')")
        chosen = tuple(sorted({cls.parse(value) for value in values}))
        if not chosen:
            raise InvalidValueError(f"no frequency: give at least one of {_CHOICES}")
        return chosen


FREQUENCIES = tuple(frequency for frequency in Frequency if frequency)
"""The frequencies that events have, the shortest first."""

_EMITTED: dict[str | int, Frequency] = {key: item for item in FREQUENCIES for key in (item.label, item.value)}
_CHOICES = ", ".join(frequency.label for frequency in FREQUENCIES)


@dataclass(frozen=True, slots=True)
class Event:
    """One aligned wall-clock boundary of one frequency, with its deterministic identity.

    Events are equal if all their fields are; their order is that of timestamp, frequency and sequence.

    Attributes:
        id: ``"{numeric frequency}-{timestamp}-{sequence}"``.
        timestamp: the boundary, in Unix nanoseconds (int64).
        frequency: which kind of boundary.
        sequence: its number within the frequency (uint64).
        seed: ``timestamp XOR sequence`` as a two's complement int64.
        schema_version: version of this record's meaning, 1.
        producer_version: version text of the program that emitted it, at most 32 bytes of UTF-8.
        instance_id: which producer emitted it, at most 64 bytes of UTF-8.
    """

    id: str
    timestamp: int
    frequency: Frequency
    sequence: int
    seed: int
    schema_version: int
    producer_version: str
    instance_id: str

    @property
    def time(self) -> datetime:
        """The boundary in UTC. Nanoseconds below the microsecond are in `timestamp` only."""
        return _EPOCH + timedelta(microseconds=self.timestamp // 1000)

    def __lt__(self, other: Event) -> bool:
        return self._order < other._order if isinstance(other, Event) else NotImplemented

    def __le__(self, other: Event) -> bool:
        return self._order <= other._order if isinstance(other, Event) else NotImplemented

    def __gt__(self, other: Event) -> bool:
        return self._order > other._order if isinstance(other, Event) else NotImplemented

    def __ge__(self, other: Event) -> bool:
        return self._order >= other._order if isinstance(other, Event) else NotImplemented

    @property
    def _order(self) -> tuple[int, int, int]:
        return self.timestamp, self.frequency, self.sequence


def build_event(
    frequency: Frequency | str | int, timestamp: int, sequence: int, producer_version: str, instance_id: str
) -> Event:
    """Build the event of one boundary.

    Args:
        frequency: a `Frequency`, its name or its number.
        timestamp: the boundary in Unix nanoseconds, the whole int64 range.
        sequence: the whole uint64 range.
        producer_version: at most 32 bytes of UTF-8 without NUL.
        instance_id: at most 64 bytes of UTF-8 without NUL.

    Raises:
        UnknownFrequencyError: not a frequency that events have.
    """
    frequency = Frequency.parse(frequency)
    timestamp = checked_ns("timestamp", timestamp)
    sequence = checked_int("sequence", sequence, 0, _UINT64)
    encode_text("producer_version", producer_version)
    encode_text("instance_id", instance_id)
    seed = (timestamp & _UINT64) ^ sequence
    return Event(
        id=_event_id(frequency, timestamp, sequence),
        timestamp=timestamp,
        frequency=frequency,
        sequence=sequence,
        seed=seed - (1 << 64) if seed > INT64_MAX else seed,
        schema_version=SCHEMA_VERSION,
        producer_version=producer_version,
        instance_id=instance_id,
    )


def build_events(
    frequency: Frequency | str | int,
    timestamps: npt.ArrayLike,
    sequences: npt.ArrayLike,
    producer_version: str,
    instance_id: str,
) -> npt.NDArray[np.void]:
    """Build the events of many boundaries of one frequency, as records.

    Args:
        frequency: a `Frequency`, its name or its number.
        timestamps: integers, shape ``(n,)``, Unix nanoseconds, each within int64.
        sequences: integers, shape ``(n,)``, each within uint64.
        producer_version: at most 32 bytes of UTF-8 without NUL.
        instance_id: at most 64 bytes of UTF-8 without NUL.

    Returns:
        An array of `EVENT_DTYPE`, shape ``(n,)``, with the bytes that `to_records` gives for the same events.

    Raises:
        UnknownFrequencyError: not a frequency that events have.
    """
    stamps = _checked_array("timestamps", timestamps, np.dtype("<i8"))
    numbers = _checked_array("sequences", sequences, np.dtype("<u8"))
    if stamps.shape != numbers.shape:
        raise InvalidValueError(
            f"timestamps have shape {stamps.shape} but sequences {numbers.shape}: give one sequence a timestamp"
        )
    texts = encode_text("producer_version", producer_version), encode_text("instance_id", instance_id)

    # Whole words, not fields: a structured assignment goes field by field and costs several times more.
    words = np.empty((len(stamps), _WORDS), "<u8")
    template, unsigned = _template(Frequency.parse(frequency), *texts), stamps.view("<u8")
    for start in range(0, len(words), _BLOCK):  # A block stays in the cache until all its words are written.
        part = slice(start, start + _BLOCK)
        block = words[part]
        block[:] = template
        block[:, _TIMESTAMP_WORD] = unsigned[part]
        block[:, _SEQUENCE_WORD] = numbers[part]
        np.bitwise_xor(unsigned[part], numbers[part], out=block[:, _SEED_WORD])
    return words.reshape(-1).view(EVENT_DTYPE)


def build_mixed_events(
    frequencies: npt.ArrayLike,
    timestamps: npt.ArrayLike,
    sequences: npt.ArrayLike,
    producer_version: str,
    instance_id: str,
) -> npt.NDArray[np.void]:
    """Do the same as `build_events` for boundaries of several frequencies: `frequencies` has one for each boundary."""
    # Only the frequency's own field depends on it.
    events = build_events(Frequency.SECOND, timestamps, sequences, producer_version, instance_id)
    events["frequency"] = frequencies
    return events


def event_ids(records: npt.NDArray[np.void]) -> npt.NDArray[np.str_]:
    """Return the id of each record (array of `EVENT_DTYPE`, shape ``(n,)``): an array of str, shape ``(n,)``."""
    records = checked_records(records)
    columns = (records[field].tolist() for field in ("frequency", "timestamp", "sequence"))
    return np.array([_event_id(*row) for row in zip(*columns, strict=True)], dtype=np.str_)


def plain_fields(event: Event) -> dict[str, Any]:
    """Return the eight fields of an event as values for JSON; the frequency is its name."""
    fields = {name: getattr(event, name) for name in Event.__slots__}
    return fields | {"frequency": event.frequency.label}


def to_events(records: npt.NDArray[np.void]) -> list[Event]:
    """Return the records (array of `EVENT_DTYPE`, shape ``(n,)``) as `Event` objects.

    Raises:
        UnknownFrequencyError: `build_events` did not make a record: there is no such frequency.
        InvalidValueError: likewise; a text is not UTF-8.
    """
    # By struct: for one record, which is what a live stream brings, numpy takes twice as long, and more when cold.
    return [
        Event(
            id=_event_id(frequency, timestamp, sequence),
            timestamp=timestamp,
            frequency=Frequency.parse(frequency),
            sequence=sequence,
            seed=seed,
            schema_version=schema_version,
            producer_version=_decode_text("producer_version", producer_version),
            instance_id=_decode_text("instance_id", instance_id),
        )
        for timestamp, sequence, seed, frequency, _, schema_version, _, producer_version, instance_id in (
            _RECORD.iter_unpack(checked_records(records).tobytes())
        )
    ]


def to_records(events: Iterable[Event]) -> npt.NDArray[np.void]:
    """Return the events as an array of `EVENT_DTYPE`, shape ``(n,)``: the inverse of `to_events`.

    Raises:
        InvalidValueError: an event is not what `build_event` makes of its boundary.
    """
    if not isinstance(events, Iterable):
        raise InvalidTypeError(f"events are {type(events).__name__}, expected a collection of Event")
    return np.array([_row(event) for event in events], EVENT_DTYPE)


def checked_records(records: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Return the records unchanged, if they are an array of `EVENT_DTYPE`, shape ``(n,)``."""
    if not isinstance(records, np.ndarray) or records.dtype != EVENT_DTYPE:
        found = records.dtype if isinstance(records, np.ndarray) else type(records).__name__
        raise InvalidTypeError(f"records are {found}, expected an array of EVENT_DTYPE")
    if records.ndim != 1:
        raise InvalidValueError(f"records have {records.ndim} dimensions, expected one")
    return records


@lru_cache(maxsize=64)
def _template(frequency: Frequency, producer_version: bytes, instance_id: bytes) -> npt.NDArray[np.uint64]:
    """Return the words of an event without its boundary; cached, since an engine builds its events one at a time."""
    record = np.zeros(1, EVENT_DTYPE)
    record["frequency"] = frequency
    record["schema_version"] = SCHEMA_VERSION
    record["producer_version"] = producer_version
    record["instance_id"] = instance_id
    return record.view("<u8")


def _row(event: Event) -> tuple[int | bytes, ...]:
    if not isinstance(event, Event):
        raise InvalidTypeError(f"an event is {type(event).__name__}, expected Event")
    # A caller may have made this with Event(...). numpy would cut or wrap what does not fit, and the id is not stored.
    built = build_event(event.frequency, event.timestamp, event.sequence, event.producer_version, event.instance_id)
    if event != built:
        raise InvalidValueError(f"{event} contradicts itself, expected {built}: make events with build_event")
    return (
        built.timestamp,
        built.sequence,
        built.seed,
        built.frequency,
        0,
        built.schema_version,
        0,
        built.producer_version.encode(),
        built.instance_id.encode(),
    )


def encode_text(field: str, text: str) -> bytes:
    """Return the UTF-8 of a text field of `EVENT_DTYPE`; a text that does not fit is refused, never cut."""
    return _values.encode_text(field, text, EVENT_DTYPE[field].itemsize)


def _decode_text(field: str, encoded: bytes) -> str:
    try:
        return encoded.rstrip(b"\0").decode()
    except UnicodeDecodeError as error:
        raise InvalidValueError(f"{field} {encoded!r} is not UTF-8: the record was not made by build_events") from error


def _event_id(frequency: int, timestamp: int, sequence: int) -> str:
    return f"{int(frequency)}-{timestamp}-{sequence}"


def _checked_array(name: str, values: npt.ArrayLike, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return `values` as a one-dimensional array of exactly `dtype`, no value changed on the way."""
    limits = np.iinfo(dtype)
    element, low, high = f"an element of {name}", int(limits.min), int(limits.max)
    if not isinstance(values, np.ndarray):
        # One by one: numpy makes floats of a list that holds both negative numbers and numbers beyond int64.
        if not isinstance(values, Sequence):
            raise InvalidTypeError(f"{name} are {type(values).__name__}, expected an array or a sequence of integers")
        return np.array([checked_int(element, value, low, high) for value in values], dtype)  # type: ignore[arg-type]
    if values.ndim != 1:
        raise InvalidValueError(f"{name} have {values.ndim} dimensions, expected one")
    if values.dtype.kind not in "iu":
        raise InvalidTypeError(f"{name} are of dtype {values.dtype}, expected integers")
    if values.dtype != dtype and values.size:
        # Through Python's integers: numpy would compare int64 with uint64 as floats.
        for extreme in (int(values.min()), int(values.max())):
            checked_int(element, extreme, low, high)
    return np.ascontiguousarray(values, dtype)

"""Creates and checks the JetStream stream that holds a stream's events, and finds positions in it.

A JetStream stream holds the events of one ChronoStream stream and nothing else. So its order is the order of the
events, and a condition on its last message covers all of them.

In all functions, `js` is the JetStream of a connection, `stream` the name of a JetStream stream, and `subject` may be a
pattern. They raise `nats.errors.Error` if JetStream cannot answer now.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RawStreamMsg, RetentionPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.errors import APIError, BadRequestError, NotFoundError, ServerError

from chronostream._values import check_positive, instant_ns
from chronostream.bridges.encoding import all_subjects, decode
from chronostream.calendar.calendar import Calendar
from chronostream.calendar.order import order_key
from chronostream.calendar.zones import ZoneData
from chronostream.errors import BridgeError, InvalidNameError, StreamMismatchError
from chronostream.event import Event, Frequency

__all__ = [
    "End",
    "Limits",
    "Origin",
    "ensure_stream",
    "find_end",
    "find_stream",
    "last_event",
    "last_message",
    "seek",
    "stream_for",
]

_log = logging.getLogger(__name__)

_DUPLICATE_WINDOW_S = 120.0
_NAME_IN_USE = 10058
_NO_PEERS_NOW = 10005
_NAME = re.compile(r"[^\s.*>/\\]+")
_KEYS = {key: f"chronostream-{key}" for key in ("name", "frequencies", "timezone", "sequencer", "instance", "zone")}


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The description of the events in a JetStream stream, stored as its metadata.

    Attributes:
        name: the ChronoStream stream's name.
        frequencies: of the events, the shortest first.
        sequencer: ``"boundary"`` or ``"counting"``.
        zone: the time zone and its data.
        instance: the only permitted producer, with the counting sequencer; None with the boundary sequencer.
    """

    name: str
    frequencies: tuple[Frequency, ...]
    sequencer: str
    zone: ZoneData
    instance: str | None = None

    def metadata(self) -> dict[str, str]:
        """Return the metadata of the JetStream stream."""
        values = {
            "name": self.name,
            "frequencies": ",".join(frequency.label for frequency in self.frequencies),
            "timezone": self.zone.timezone,
            "sequencer": self.sequencer,
            "zone": str(self.zone),
        }
        if self.instance is not None:
            values["instance"] = self.instance
        return {_KEYS[key]: value for key, value in values.items()}

    @classmethod
    def parse(cls, metadata: Mapping[str, str] | None) -> Origin | None:
        """Return the description in the metadata of a JetStream stream; None if it has none."""
        values = {key: (metadata or {}).get(stored) for key, stored in _KEYS.items()}
        name, sequencer, zone = values["name"], values["sequencer"], ZoneData.parse(values["zone"] or "")
        if not name or not values["frequencies"] or not sequencer or zone is None:
            return None
        frequencies = tuple(map(Frequency.parse, values["frequencies"].split(",")))
        return cls(name=name, frequencies=frequencies, sequencer=sequencer, zone=zone, instance=values["instance"])


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a JetStream stream, all above zero. An existing stream must have those that are not None.

    Attributes:
        replicas: servers that hold each event; 1 by default.
        max_age_s: how long an event is held; no limit by default.
        max_messages: how many of the newest events are held; no limit by default.
        max_bytes: of all events; no limit by default.
    """

    replicas: int | None = None
    max_age_s: float | None = None
    max_messages: int | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        """Check all limits."""
        for name, value in vars(self).items():
            check_positive(name, value)

    def arguments(self) -> dict[str, Any]:
        """Return the given limits under JetStream's names."""
        values = {
            "num_replicas": self.replicas,
            "max_age": self.max_age_s,
            "max_msgs": self.max_messages,
            "max_bytes": self.max_bytes,
        }
        return {key: value for key, value in values.items() if value is not None}


def stream_for(name: str, chosen: str | None = None) -> str:
    """Return the JetStream stream for the events of `name`: the chosen one, or ``CHRONOSTREAM_`` and the name.

    Raises:
        InvalidNameError: NATS does not accept one of the names.
    """
    all_subjects(name)
    if chosen is None:
        return "CHRONOSTREAM_" + name.replace(".", "_")
    if not isinstance(chosen, str) or not _NAME.fullmatch(chosen):
        raise InvalidNameError(
            rf"{chosen!r} is not a name of a JetStream stream, expected one without white space, ., *, >, / and \ in it"
        )
    return chosen


async def ensure_stream(
    js: JetStreamContext, stream: str, origin: Origin, limits: Limits, *, accept_zone_data: bool = False
) -> StreamInfo:
    """Create the JetStream stream for these events, or check an existing one.

    With `accept_zone_data`, this host's zone data replace those in the description of an existing stream.

    Raises:
        StreamMismatchError: the existing stream holds other events or has another configuration.
        BridgeError: JetStream refuses to create the stream.
    """
    try:
        info = await js.stream_info(stream)
    except NotFoundError:
        try:
            info = await js.add_stream(
                StreamConfig(
                    name=stream,
                    description=f"Events of the ChronoStream stream {origin.name}",
                    subjects=[all_subjects(origin.name)],
                    storage=StorageType.FILE,
                    retention=RetentionPolicy.LIMITS,
                    discard=DiscardPolicy.OLD,
                    allow_atomic=True,
                    duplicate_window=min(_DUPLICATE_WINDOW_S, limits.max_age_s or _DUPLICATE_WINDOW_S),
                    metadata=origin.metadata(),
                    **({"num_replicas": 1} | limits.arguments()),
                )
            )
        except APIError as error:
            if error.err_code == _NAME_IN_USE:
                info = await js.stream_info(stream)  # Another relay has just created it.
            elif isinstance(error, BadRequestError | ServerError) and error.err_code != _NO_PEERS_NOW:
                raise BridgeError(f"JetStream refuses to create stream {stream}: {error.description}") from None
            else:
                raise
        else:
            _log.info("created JetStream stream %s for %s", stream, all_subjects(origin.name))
    _check_config(info, origin, limits)
    stored = Origin.parse(info.config.metadata)
    if stored is not None:
        _check_origin(stream, stored, origin, accept_zone_data=accept_zone_data)
    if stored is None or not stored.zone.agrees(origin.zone) or not info.config.allow_atomic:
        metadata = (info.config.metadata or {}) | origin.metadata()
        info = await js.update_stream(info.config.evolve(metadata=metadata, allow_atomic=True))
        _log.info("described the events of JetStream stream %s, with zone data %s", stream, origin.zone)
    return info


async def find_stream(js: JetStreamContext, stream: str, name: str) -> tuple[StreamInfo, Origin]:
    """Return the state of the JetStream stream that holds the events of `name`, and their description.

    Raises:
        StreamMismatchError: the JetStream stream does not hold these events.
        NotFoundError: the JetStream stream does not exist.
    """
    info = await js.stream_info(stream)
    origin = Origin.parse(info.config.metadata)
    if origin is None or origin.name != name:
        held = "no relay has used it" if origin is None else f"it holds those of {origin.name!r}"
        raise StreamMismatchError(
            f"JetStream stream {stream} does not hold the events of {name!r}: {held}; choose another one with --stream"
        )
    if difference := origin.zone.difference(Calendar.for_zone(origin.zone.timezone).zone_data, name):
        _log.warning("%s; hours and days follow the data of the source", difference)
    return info, origin


class End(NamedTuple):
    """Where a JetStream stream ends.

    Attributes:
        sequence: of the last message that was ever stored; 0 before the first.
        last: the last event that is held; None if none is.
        gone_ns: when the last message was stored, Unix nanoseconds, if it is held no more; None if it is.
    """

    sequence: int
    last: Event | None
    gone_ns: int | None


async def find_end(js: JetStreamContext, stream: str, subjects: str) -> End:
    """Return where a JetStream stream ends; `subjects` match all its messages.

    Raises:
        BridgeError: the last message is not an event.
    """
    # StreamState of nats-py leaves out last_ts.
    request = f"{js._prefix}.STREAM.INFO.{stream}"  # noqa: SLF001
    info = await js._api_request(request, b'{"deleted_details": true}', timeout=js._timeout)  # noqa: SLF001
    state = info["state"]
    sequence = int(state["last_seq"])
    message = await last_message(js, stream, subjects)
    held = 0 if message is None else message.seq or 0
    last = None if message is None else _event(message)
    if held >= sequence:
        return End(held, last, None)  # The message may be newer than the state.
    if state["messages"] and sequence not in (state.get("deleted") or ()):
        raise nats.errors.Error(f"message {sequence} of {stream} is not there yet")  # A new leader may lag behind.
    stored = datetime.fromisoformat(state["last_ts"])  # It cuts the nanoseconds off.
    return End(sequence, last, instant_ns("last_ts", stored))


async def last_event(js: JetStreamContext, stream: str, subject: str) -> Event | None:
    """Return the last event on `subject`; None if there is none.

    Raises:
        BridgeError: the last message on it is not an event.
    """
    message = await last_message(js, stream, subject)
    return None if message is None else _event(message)


async def last_message(js: JetStreamContext, stream: str, subject: str) -> RawStreamMsg | None:
    """Return the last message on `subject`; None if there is none."""
    try:
        return await js.get_msg(stream, subject=subject)
    except NotFoundError:
        return None


async def seek(js: JetStreamContext, stream: str, subject: str, key: int, hint: int = 0) -> int:
    """Return the sequence of the first message after an order key; one more than the last sequence if there is none.

    Messages are in order, so bisection finds it. A reader therefore has no position of its own to store. If the likely
    result `hint` is right, there is no search.
    """
    state = (await js.stream_info(stream)).state
    low, high = max(state.first_seq, 1), state.last_seq + 1  # The first sequence of a new stream is 0.
    if low < hint <= high and await _key_at(js, stream, subject, hint - 1) == (hint - 1, key):
        return hint
    while low < high:
        middle = (low + high) // 2
        found = await _key_at(js, stream, subject, middle)
        if found is None or found[1] > key:
            high = middle
        else:
            low = found[0] + 1
    return low


async def _key_at(js: JetStreamContext, stream: str, subject: str, sequence: int) -> tuple[int, int] | None:
    """Return sequence and order key of the first event at or after `sequence`; other messages are skipped."""
    while True:
        try:
            message = await js.get_msg(stream, seq=sequence, subject=subject, next=True)
        except NotFoundError:
            return None
        sequence = message.seq or 0
        with contextlib.suppress(BridgeError):
            return sequence, order_key(_event(message))
        sequence += 1


def _event(message: RawStreamMsg) -> Event:
    return decode(message.subject or "", message.headers, message.data or b"")


def _check_config(info: StreamInfo, origin: Origin, limits: Limits) -> None:
    config = info.config
    expected = {
        "subjects": [all_subjects(origin.name)],
        "storage": StorageType.FILE,
        "retention": RetentionPolicy.LIMITS,
        "discard": DiscardPolicy.OLD,  # Discarding new messages could leave out an event in the middle.
        **limits.arguments(),
    }
    if (per_subject := config.max_msgs_per_subject or 0) > 0 and not 0 < (config.max_msgs or 0) <= per_subject:
        raise StreamMismatchError(
            f"JetStream stream {config.name} has max_msgs_per_subject {per_subject}, and would drop events between "
            "others that it keeps: remove that limit, or choose another stream with --stream"
        )
    for key, value in expected.items():
        if (found := getattr(config, key)) != value:
            raise StreamMismatchError(
                f"JetStream stream {config.name} has {key} {_text(found)}, expected {_text(value)}: change the stream, "
                "or choose another one with --stream"
            )


def _check_origin(stream: str, stored: Origin, origin: Origin, *, accept_zone_data: bool) -> None:
    for key in ("name", "frequencies", "sequencer", "instance"):
        if getattr(stored, key) != getattr(origin, key):
            advice = (
                "each counting producer has its own numbers, so only one may be relayed; use --sequencer boundary"
                if key == "instance"
                else "all producers of one JetStream stream need the same configuration"
            )
            raise StreamMismatchError(
                f"JetStream stream {stream} holds events of {key} {_text(getattr(stored, key))}, this stream has "
                f"{_text(getattr(origin, key))}: {advice}"
            )
    if stored.zone.timezone != origin.zone.timezone or not (stored.zone.agrees(origin.zone) or accept_zone_data):
        raise StreamMismatchError(
            f"JetStream stream {stream} holds events of zone data {stored.zone}, this host has {origin.zone}, with "
            "other boundaries: install the same data on all hosts, or continue with this host's data by "
            "--accept-zone-data"
        )


def _text(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(_text, value))
    return value.label if isinstance(value, Frequency) else str(getattr(value, "value", value))

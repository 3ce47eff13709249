"""What JetStream must be like to hold a stream's events, and where in it something is.

One JetStream stream holds the events of one ChronoStream stream and nothing else: so its own order is the order of
the events, and a guard on its last message is a guard on all of them.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RawStreamMsg, RetentionPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.errors import APIError, BadRequestError, NotFoundError, ServerError

from chronostream.bridges.continuity import order_of
from chronostream.bridges.encoding import all_subjects, decode
from chronostream.bridges.zones import ZoneData, zone_data
from chronostream.errors import BridgeError, InvalidNameError, InvalidTypeError, InvalidValueError, StreamMismatchError
from chronostream.event import Event, Frequency

__all__ = ["Limits", "Origin", "ensure_stream", "find_end", "find_stream", "last_message", "seek", "stream_for"]

_log = logging.getLogger(__name__)

_DUPLICATE_WINDOW_S = 120.0
_NAME_IN_USE = 10058
_NO_PEERS_NOW = 10005
_NAME = re.compile(r"[^\s.*>/\\]+")
_KEYS = {key: f"chronostream-{key}" for key in ("name", "frequencies", "timezone", "sequencer", "instance", "zone")}


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the events in JetStream are; kept there as the JetStream stream's metadata.

    Attributes:
        name: the ChronoStream stream's name.
        frequencies: the shortest first.
        sequencer: ``"boundary"`` or ``"counting"``.
        zone: the time zone and its data.
        instance: the only producer there may be; None if any host may be one, with the boundary sequencer.
    """

    name: str
    frequencies: tuple[Frequency, ...]
    sequencer: str
    zone: ZoneData
    instance: str | None = None

    def metadata(self) -> dict[str, str]:
        """Return it as JetStream keeps it."""
        values = {
            "name": self.name,
            "frequencies": ",".join(frequency.label for frequency in self.frequencies),
            "timezone": self.zone.tz,
            "sequencer": self.sequencer,
            "zone": str(self.zone),
        }
        if self.instance is not None:
            values["instance"] = self.instance
        return {_KEYS[key]: value for key, value in values.items()}

    @classmethod
    def parse(cls, metadata: Mapping[str, str] | None) -> Origin | None:
        """Return what JetStream keeps; None if it keeps nothing of ours."""
        found = {key: (metadata or {}).get(stored) for key, stored in _KEYS.items()}
        zone = ZoneData.parse(found["zone"] or "")
        if not found["name"] or not found["frequencies"] or not found["sequencer"] or zone is None:
            return None
        frequencies = tuple(map(Frequency.parse, found["frequencies"].split(",")))
        return cls(
            name=found["name"],
            frequencies=frequencies,
            sequencer=found["sequencer"],
            zone=zone,
            instance=found["instance"],
        )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a JetStream stream is made with. None: what one that is there has; for a new one, the value in brackets.

    Attributes:
        replicas: servers that hold each event [1].
        max_age_s: how long an event is held [for ever].
        max_messages: how many are held, the newest [any number].
        max_bytes: bytes that they may take [any number].

    Raises:
        InvalidValueError: one is not above zero.
        InvalidTypeError: one is not a number.
    """

    replicas: int | None = None
    max_age_s: float | None = None
    max_messages: int | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        """Check that each is a number above zero."""
        for name, value in vars(self).items():
            if not isinstance(value, int | float | None):
                raise InvalidTypeError(f"{name} is {type(value).__name__}, expected a number or None")
            if value is not None and not value > 0:
                raise InvalidValueError(f"{name} is {value}, expected more than 0")

    def wanted(self) -> dict[str, Any]:
        """Return those that are given, under JetStream's names."""
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
        InvalidNameError: NATS does not take the one or the other name.
    """
    all_subjects(name)
    if chosen is None:
        return "CHRONOSTREAM_" + name.replace(".", "_")
    if not isinstance(chosen, str) or not _NAME.fullmatch(chosen):
        raise InvalidNameError(
            rf"{chosen!r} is no name of a JetStream stream: expected one without white space and . * > / \ in it"
        )
    return chosen


async def ensure_stream(
    js: JetStreamContext, stream: str, origin: Origin, limits: Limits, *, accept_zone_data: bool = False
) -> StreamInfo:
    """Make the JetStream stream for these events, or check that the one that is there is for them.

    Args:
        js: a connection's JetStream.
        stream: its name.
        origin: what the events are.
        limits: what it must be like.
        accept_zone_data: from now on this host's zone data counts, whatever the events before were made with.

    Raises:
        StreamMismatchError: it is for other events, or not as it must be.
        BridgeError: JetStream will not make it.
        nats.errors.Error: JetStream cannot do it now.
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
                    **({"num_replicas": 1} | limits.wanted()),
                )
            )
        except APIError as error:
            if error.err_code == _NAME_IN_USE:
                info = await js.stream_info(stream)  # Another relay was quicker.
            elif isinstance(error, BadRequestError | ServerError) and error.err_code != _NO_PEERS_NOW:
                raise BridgeError(f"JetStream does not make stream {stream}: {error.description}") from None
            else:
                raise
        else:
            _log.info("made JetStream stream %s for %s", stream, all_subjects(origin.name))
    _check_config(info, origin, limits)
    found = Origin.parse(info.config.metadata)
    if found is not None:
        _check_origin(stream, found, origin, accept_zone_data=accept_zone_data)
    if found is None or not found.zone.agrees(origin.zone) or not info.config.allow_atomic:
        metadata = (info.config.metadata or {}) | origin.metadata()
        info = await js.update_stream(info.config.evolve(metadata=metadata, allow_atomic=True))
        _log.info("JetStream stream %s: entered what its events are, with zone data %s", stream, origin.zone)
    return info


async def find_stream(js: JetStreamContext, stream: str, name: str) -> tuple[StreamInfo, Origin]:
    """Return a JetStream stream that holds the events of `name`, and what they are.

    Raises:
        StreamMismatchError: it does not hold them.
        NotFoundError: there is no such stream.
    """
    info = await js.stream_info(stream)
    origin = Origin.parse(info.config.metadata)
    if origin is None or origin.name != name:
        held = "no relay has entered anything there" if origin is None else f"it holds those of {origin.name!r}"
        raise StreamMismatchError(
            f"JetStream stream {stream} does not hold the events of {name!r}: {held}; name another one with --stream"
        )
    if not (here := zone_data(origin.zone.tz)).agrees(origin.zone):
        _log.warning(
            "zone data differ: the events of %s were made with %s, this host has %s; its hours and days are those of "
            "the source, not what is computed here",
            name,
            origin.zone,
            here,
        )
    return info, origin


async def find_end(js: JetStreamContext, stream: str, subject: str) -> tuple[int, Event | None]:
    """Return the last sequence that the stream gave to a message, 0 before the first, and the last event on a subject.

    Args:
        js: a connection's JetStream.
        stream: its name.
        subject: which events; it may be a pattern.

    Raises:
        BridgeError: what is there is no event.
        nats.errors.Error: JetStream does not answer now.
    """
    sequence = (await js.stream_info(stream)).state.last_seq
    message = await last_message(js, stream, subject)
    if message is None:
        return sequence, None
    return max(sequence, message.seq or 0), _event(message)  # More than it was at first: stored in between.


async def last_message(js: JetStreamContext, stream: str, subject: str) -> RawStreamMsg | None:
    """Return the last message on `subject`, which may be a pattern, whatever it is; None if there is none.

    Raises:
        nats.errors.Error: JetStream does not answer now.
    """
    try:
        return await js.get_msg(stream, subject=subject)
    except NotFoundError:
        return None


async def seek(js: JetStreamContext, stream: str, subject: str, order: int, hint: int = 0) -> int:
    """Return the sequence of the first message behind an order; one more than the last if there is none.

    By bisection, as the events are in order: so a reader needs to keep nothing but the events that it has.

    Args:
        js: a connection's JetStream.
        stream: its name.
        subject: the pattern of its subjects.
        order: see `chronostream.bridges.continuity`.
        hint: a sequence that may be right, and then saves the search.

    Raises:
        nats.errors.Error: JetStream does not answer now.
    """
    state = (await js.stream_info(stream)).state
    low, high = state.first_seq, state.last_seq + 1
    if low < hint <= high and await _order_at(js, stream, subject, hint - 1) == (hint - 1, order):
        return hint
    while low < high:
        middle = (low + high) // 2
        found = await _order_at(js, stream, subject, middle)
        if found is None or found[1] > order:
            high = middle
        else:
            low = found[0] + 1
    return low


async def _order_at(js: JetStreamContext, stream: str, subject: str, sequence: int) -> tuple[int, int] | None:
    """Return the sequence and the order of the first event from `sequence` on, behind whatever is none."""
    while True:
        try:
            message = await js.get_msg(stream, seq=sequence, subject=subject, next=True)
        except NotFoundError:
            return None
        sequence = message.seq or 0
        with contextlib.suppress(BridgeError):
            return sequence, order_of(_event(message))
        sequence += 1


def _event(message: RawStreamMsg) -> Event:
    return decode(message.subject or "", message.headers, message.data or b"")


def _check_config(info: StreamInfo, origin: Origin, limits: Limits) -> None:
    config = info.config
    found = {
        "subjects": config.subjects,
        "storage": config.storage,
        "retention": config.retention,
        "discard": config.discard,
        **{key: getattr(config, key) for key in limits.wanted()},
    }
    wanted = {
        "subjects": [all_subjects(origin.name)],
        "storage": StorageType.FILE,
        "retention": RetentionPolicy.LIMITS,
        "discard": DiscardPolicy.OLD,  # One that refuses what is new could leave an event out in the middle.
        **limits.wanted(),
    }
    for key, value in wanted.items():
        if found[key] != value:
            raise StreamMismatchError(
                f"JetStream stream {config.name} has {key} {_plain(found[key])}, it must be {_plain(value)}: "
                "change that there, or name another one with --stream"
            )


def _check_origin(stream: str, found: Origin, wanted: Origin, *, accept_zone_data: bool) -> None:
    for what in ("name", "frequencies", "sequencer", "instance"):
        if getattr(found, what) != getattr(wanted, what):
            advice = (
                "counting producers number each on their own, so only one may be relayed; use --sequence boundary"
                if what == "instance"
                else "the producers that fill it must be alike"
            )
            raise StreamMismatchError(
                f"JetStream stream {stream} holds events of {what} {_plain(getattr(found, what))}, those of "
                f"this stream are of {_plain(getattr(wanted, what))}: {advice}"
            )
    if found.zone.tz != wanted.zone.tz or not (found.zone.agrees(wanted.zone) or accept_zone_data):
        raise StreamMismatchError(
            f"JetStream stream {stream} holds events by zone data {found.zone}, this host has {wanted.zone}, and "
            "their boundaries differ: bring the same data to all hosts, or accept this host's from now on with "
            "--accept-zone-data"
        )


def _plain(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(_plain, value))
    return value.label if isinstance(value, Frequency) else str(getattr(value, "value", value))

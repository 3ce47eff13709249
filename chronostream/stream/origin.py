"""Where the events of a mirrored stream come from, and how fresh they are, as a layout of its application area.

::

    0     description    written once, when the stream is made
    512   freshness      written by the mirror as it goes

The mirror writes it through `OriginWriter`; anybody reads it through `OriginReader`. Neither knows how events get here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chronostream._values import encode_text
from chronostream.errors import CorruptSegmentError
from chronostream.event import FREQUENCIES, Frequency

__all__ = ["ORIGIN_SIZE", "Freshness", "MirrorDescription", "OriginReader", "OriginWriter"]

ORIGIN_SIZE = 1024
"""Bytes of application area that a mirror needs."""

_MAGIC = b"MIRROR\x01"
_FRESHNESS = 512
_DESCRIPTION_DTYPE = np.dtype(
    [
        ("magic", "S8"),
        ("mask", "<u8"),
        ("source", "S64"),
        ("stream", "S256"),
        ("timezone", "S64"),
        ("sequencer", "S16"),
        ("zone_data", "S80"),
    ]
)
_TEXTS = ("source", "stream", "timezone", "sequencer", "zone_data")
_FRESHNESS_DTYPE = np.dtype(
    [("checked_ns", "<i8"), ("stale_since_ns", "<i8"), ("connected", "<u8"), ("sequence", "<u8"), ("skipped", "<u8")]
)
assert _DESCRIPTION_DTYPE.itemsize <= _FRESHNESS
assert _FRESHNESS + _FRESHNESS_DTYPE.itemsize <= ORIGIN_SIZE


@dataclass(frozen=True, slots=True)
class MirrorDescription:
    """What a mirrored stream is.

    Attributes:
        source: the stream's name where it is produced.
        stream: the JetStream stream that it comes through.
        frequencies: the shortest first.
        timezone: IANA name.
        sequencer: the sequencer's kind.
        zone_data: the zone data that the source has, as text.
    """

    source: str
    stream: str
    frequencies: tuple[Frequency, ...]
    timezone: str
    sequencer: str
    zone_data: str


@dataclass(frozen=True, slots=True)
class Freshness:
    """How fresh a mirror is.

    Attributes:
        stale: whether an event is overdue: the source, a relay or the connection is quiet.
        stale_since_ns: since when, Unix time; None if it is not.
        connected: whether there is a connection to JetStream.
        checked_ns: when the mirror last said so, Unix time.
        sequence: of the last message that was taken from JetStream.
        skipped: messages that were no events, or not in order, and were left out.
    """

    stale: bool
    stale_since_ns: int | None
    connected: bool
    checked_ns: int
    sequence: int
    skipped: int


class OriginReader:
    """Reads what a mirror keeps.

    Args:
        area: the application area.

    Raises:
        CorruptSegmentError: it is not a mirror's.
    """

    def __init__(self, area: memoryview) -> None:
        if len(area) < ORIGIN_SIZE:
            raise CorruptSegmentError(f"the application area has {len(area)} bytes, a mirror's has {ORIGIN_SIZE}")
        self._description: npt.NDArray[Any] = np.frombuffer(area, _DESCRIPTION_DTYPE, 1)
        self._freshness: npt.NDArray[Any] = np.frombuffer(area, _FRESHNESS_DTYPE, 1, _FRESHNESS)

    def description(self) -> MirrorDescription | None:
        """Return what the stream is, or None if it is not a mirror, or its maker died before it said so.

        Raises:
            CorruptSegmentError: it is damaged.
        """
        row = self._description[0]
        if row["magic"] != _MAGIC:
            return None
        try:
            texts = {name: row[name].decode() for name in _TEXTS}
        except UnicodeDecodeError as error:
            raise CorruptSegmentError(f"the state of the mirror is damaged: {error}; remove the stream") from error
        frequencies = tuple(frequency for frequency in FREQUENCIES if int(row["mask"]) >> frequency & 1)
        return MirrorDescription(frequencies=frequencies, **texts)

    def freshness(self) -> Freshness:
        """Return how fresh the stream is."""
        row = self._freshness[0]
        since_ns = int(row["stale_since_ns"])
        return Freshness(
            stale=bool(since_ns),
            stale_since_ns=since_ns or None,
            connected=bool(row["connected"]),
            checked_ns=int(row["checked_ns"]),
            sequence=int(row["sequence"]),
            skipped=int(row["skipped"]),
        )


class OriginWriter(OriginReader):
    """Writes what a mirror keeps; the only writer there is, since it has the stream's lock."""

    def describe(self, description: MirrorDescription) -> None:
        """Say what the stream is.

        Raises:
            InvalidValueError: a text does not fit its field.
        """
        row = np.zeros(1, _DESCRIPTION_DTYPE)
        row["mask"] = sum(1 << frequency for frequency in description.frequencies)
        for name in _TEXTS:
            row[name] = encode_text(name, getattr(description, name), _DESCRIPTION_DTYPE[name].itemsize)
        self._description[:] = row
        self._description["magic"] = _MAGIC  # Last: a description without it was never finished.

    def show(self, freshness: Freshness) -> None:
        """Write how fresh the stream is."""
        row = self._freshness[0]
        row["checked_ns"] = freshness.checked_ns
        row["connected"] = freshness.connected
        row["sequence"] = freshness.sequence
        row["skipped"] = freshness.skipped
        row["stale_since_ns"] = freshness.stale_since_ns or 0

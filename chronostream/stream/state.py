"""What the producer of a stream keeps with it: the layout of the application area of a ring of events.

::

    0     directory     which sections are in use: number, version, offset and size of each
    256   description   what the stream is; written once
    512   checkpoint 0  ┐ of an engine: written in turns, each with a checksum, so that one of them is always whole
    1024  checkpoint 1  ┘
    1536  condition     of an engine's scheduler, and how often each kind of notice occurred
    2048  source        of a mirror: what it mirrors; written once
    2560  freshness     of a mirror
    3072  zones         of an engine: what the boundaries are made with
    4096  lateness      of an engine: one histogram for each frequency

A reader passes over sections that it does not know, and refuses those of another version: see
docs/ring.md, "The state of an event stream". An engine or a mirror writes through `StateWriter`; any process may read.
"""

from __future__ import annotations

import zlib
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chronostream.calendar.zones import ZoneData
from chronostream.errors import CorruptSegmentError
from chronostream.event import EVENT_DTYPE, FREQUENCIES, Frequency
from chronostream.ring import Consumer
from chronostream.scheduler import Condition, FrequencyState, NoticeKind, SchedulerState, SchedulerStatus
from chronostream.stream.description import Description, MirrorSource
from chronostream.stream.lateness import BUCKETS, bucket_of

__all__ = [
    "STATE_SIZE",
    "Checkpoint",
    "Freshness",
    "Published",
    "StateReader",
    "StateWriter",
    "StreamZoneData",
    "description_of",
    "open_state",
]

_CONDITIONS, _KINDS = tuple(Condition), tuple(NoticeKind)

_ENTRY_DTYPE = np.dtype([("number", "<u4"), ("version", "<u4"), ("offset", "<u4"), ("size", "<u4")])
_DIRECTORY_DTYPE = np.dtype([("magic", "S16"), ("entries", _ENTRY_DTYPE, 15)])
_DESCRIPTION_DTYPE = np.dtype([("mask", "<u8"), ("sequencer", "S16"), ("timezone", "S64")])
_LANE_DTYPE = np.dtype([("floor_ns", "<i8"), ("missed", "<u8"), ("sequence", "<u8"), ("last_ns", "<i8")])
_CHECKSUM = [("checksum", "<u4"), ("reserved", "<u4")]  # of what follows them in a row
_CHECKPOINT_DTYPE = np.dtype(
    [
        *_CHECKSUM,
        ("serial", "<u8"),
        ("position", "<u8"),
        ("realtime_ns", "<i8"),
        ("boottime_ns", "<i8"),
        ("boot_id", "u1", 16),
        ("lanes", _LANE_DTYPE, len(FREQUENCIES)),
    ]
)
_CONDITION_DTYPE = np.dtype([("condition", "<u8"), ("counts", "<u8", 32)])
_SOURCE_DTYPE = np.dtype([("name", "S64"), ("stream", "S256"), ("zone_data", "S80")])
_FRESHNESS_DTYPE = np.dtype(
    [("checked_ns", "<i8"), ("stale_since_ns", "<i8"), ("connected", "<u8"), ("sequence", "<u8"), ("skipped", "<u8")]
)
_ZONE_FIELDS = "current", "replaced", "on_disk"
_ZONE_DATA_DTYPE = np.dtype([*_CHECKSUM, ("replaced_at_ns", "<i8"), *((field, "S112") for field in _ZONE_FIELDS)])
_LATENESS_DTYPE = np.dtype([("largest_ns", "<u8"), ("counts", "<u8", BUCKETS)])

_MAGIC = b"CHRONOSTREAM"
# The number of each section, its version, its offset and its size, for good; "state" is the directory itself.
_SECTIONS = {
    "state": (1, 1, 0, 256),
    "description": (2, 1, 256, 256),
    "checkpoints": (3, 1, 512, 1024),
    "condition": (4, 1, 1536, 512),
    "source": (5, 1, 2048, 512),
    "freshness": (6, 1, 2560, 512),
    "lateness": (7, 1, 4096, _LATENESS_DTYPE.itemsize * len(FREQUENCIES)),
    "zones": (8, 1, 3072, 512),
}
_OF_ENGINE = ("state", "description", "checkpoints", "condition", "lateness", "zones")
_OF_MIRROR = ("state", "description", "source", "freshness")
_CHECKSUMMED = np.dtype(_CHECKSUM).itemsize
_ATTEMPTS = 4
_LARGEST_COUNT = 1 << 53  # of the events in one bucket; a float holds every integer up to here

STATE_SIZE = sum(_SECTIONS["lateness"][2:])  # where the last section ends
"""Bytes of application area that the producer of a stream of events needs."""


@dataclass(frozen=True, slots=True)
class Published:
    """The last event of a frequency: its sequence and its boundary in Unix nanoseconds. Sequence 0: none yet."""

    sequence: int = 0
    timestamp: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What an engine continues from after a restart.

    Attributes:
        position: the ring's head when this was saved; records from there on are not counted in it.
        boot_id: 16 bytes that name the boot.
        scheduler: floors, missed counts and clock readings.
        published: the last event of each frequency.
    """

    position: int
    boot_id: bytes
    scheduler: SchedulerState
    published: dict[Frequency, Published]


@dataclass(frozen=True, slots=True)
class Freshness:
    """How fresh a mirror is.

    Attributes:
        checked_ns: when the mirror last looked, Unix time.
        stale_since_ns: since when an event is overdue, Unix time; None if none is.
        connected: whether there is a connection to JetStream.
        sequence: of the last message that was taken from JetStream.
        skipped: messages that were no events, or not in order, and were left out.
    """

    checked_ns: int
    stale_since_ns: int | None
    connected: bool
    sequence: int
    skipped: int

    @property
    def stale(self) -> bool:
        """Whether an event is overdue: the source, a relay or the connection is quiet."""
        return self.stale_since_ns is not None


@dataclass(frozen=True, slots=True)
class StreamZoneData:
    """The zone data of a stream.

    Attributes:
        current: what its producer uses, or the last one used.
        replaced: what the stream had before; None if it had the same, or that is not known.
        replaced_at_ns: until when it may have had other data, Unix time; 0 if it never had.
        on_disk: what the producer found on disk, if that differs from what it uses; None otherwise.
    """

    current: ZoneData
    replaced: ZoneData | None = None
    replaced_at_ns: int = 0
    on_disk: ZoneData | None = None


class StateReader:
    """Reads what the producer of a stream keeps with it, in an application area of at least `STATE_SIZE` bytes."""

    def __init__(self, area: memoryview) -> None:
        if len(area) < STATE_SIZE:
            raise CorruptSegmentError(
                f"the application area has {len(area)} bytes, a producer's has {STATE_SIZE}: not a stream of events"
            )

        def rows(section: str, dtype: npt.DTypeLike, count: int = 1) -> npt.NDArray[Any]:
            return np.frombuffer(area, dtype, count, _SECTIONS[section][2])

        self._directory = rows("state", _DIRECTORY_DTYPE)
        self._description = rows("description", _DESCRIPTION_DTYPE)
        turns = rows("checkpoints", "u1", 1024).reshape(2, 512)
        self._checkpoints: list[npt.NDArray[np.uint8]] = list(turns[:, : _CHECKPOINT_DTYPE.itemsize])
        self._condition = rows("condition", _CONDITION_DTYPE)
        self._source = rows("source", _SOURCE_DTYPE)
        self._freshness = rows("freshness", _FRESHNESS_DTYPE)
        self._zone_data = rows("zones", "u1", _ZONE_DATA_DTYPE.itemsize)
        self._lateness = rows("lateness", _LATENESS_DTYPE, len(FREQUENCIES))

    def description(self) -> Description | None:
        """Return what the stream is; None if its producer died before it wrote that, or uses the area otherwise.

        Raises:
            CorruptSegmentError: it was written by another version, or is damaged.
        """
        sections = self._sections()
        if not sections:
            return None
        mask, sequencer, timezone = self._description[0].tolist()
        frequencies = tuple(frequency for frequency in FREQUENCIES if mask >> frequency & 1)
        source = None
        try:
            if "source" in sections:
                source = MirrorSource(*(text.decode() for text in self._source[0].tolist()))
            return Description(frequencies, timezone.decode(), sequencer.decode(), source)
        except ValueError as error:
            raise _damaged(str(error)) from error

    def checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole, or None if there is none."""
        description, newest = self.description(), self._newest()
        if description is None or newest is None:
            return None
        lanes = {frequency: newest["lanes"][frequency - 1].tolist() for frequency in description.frequencies}
        floors = tuple(FrequencyState(frequency, *lane[:2]) for frequency, lane in lanes.items())
        published = {frequency: Published(*lane[2:]) for frequency, lane in lanes.items()}
        scheduler = SchedulerState(int(newest["realtime_ns"]), int(newest["boottime_ns"]), floors)
        return Checkpoint(int(newest["position"]), newest["boot_id"].tobytes(), scheduler, published)

    def condition(self) -> tuple[Condition, dict[NoticeKind, int]]:
        """Return how the scheduler is, and how often each kind of notice occurred in this run."""
        row = self._condition[0]
        condition = _CONDITIONS[min(int(row["condition"]), len(_CONDITIONS) - 1)]
        return condition, {kind: int(row["counts"][number]) for number, kind in enumerate(_KINDS)}

    def freshness(self) -> Freshness:
        """Return how fresh a mirror is."""
        checked_ns, since_ns, connected, sequence, skipped = self._freshness[0].tolist()
        return Freshness(checked_ns, since_ns or None, bool(connected), sequence, skipped)

    def zone_data(self) -> StreamZoneData | None:
        """Return the stream's zone data, a mirror's those of its source; None if an older version made the stream."""
        description = self.description()
        if description is None:
            return None
        if description.source is not None:
            found = ZoneData.parse(description.source.zone_data)
            return None if found is None else StreamZoneData(found)
        row = _whole(self._zone_data, _ZONE_DATA_DTYPE)
        if row is None or "zones" not in self._sections():
            return None
        current, replaced, on_disk = (ZoneData.parse(row[field].decode(errors="replace")) for field in _ZONE_FIELDS)
        return None if current is None else StreamZoneData(current, replaced, int(row["replaced_at_ns"]), on_disk)

    def lateness(self, frequency: Frequency) -> tuple[npt.NDArray[np.uint64], int]:
        """Return the histogram of a frequency's lateness, shape ``(BUCKETS,)``, and the largest in nanoseconds."""
        row = self._lateness[frequency - 1]
        counts = row["counts"].copy()
        if counts.max() > _LARGEST_COUNT:
            raise _damaged(f"{counts.max()} {frequency.label} events in one bucket of lateness")
        return counts, int(row["largest_ns"])

    def _sections(self) -> set[str]:
        """Return the names of the sections that are in use; none if nothing was ever written."""
        directory = self._directory[0].copy()
        if directory["magic"] != _MAGIC:
            return set()
        entries = {entry[0]: entry for entry in directory["entries"].tolist()}
        for name, section in _SECTIONS.items():
            entry = entries.get(section[0], section)
            if entry[1] != section[1]:
                raise CorruptSegmentError(
                    f"the stream's {name} has version {entry[1]}, this program reads {section[1]}: remove the stream "
                    "(`chronostream remove`), or use the version of chronostream that made it"
                )
            if entry != section:
                raise _damaged(f"its {name} has offset {entry[2]} and size {entry[3]}")
        return {name for name, section in _SECTIONS.items() if section[0] in entries}

    def _newest(self) -> np.void | None:
        rows = [row for turn in self._checkpoints if (row := _whole(turn, _CHECKPOINT_DTYPE)) is not None]
        return max(rows, key=lambda row: int(row["serial"]), default=None)


class StateWriter(StateReader):
    """Writes what a producer keeps with its stream. The producer holds the stream's lock, so there is one writer."""

    def __init__(self, area: memoryview) -> None:
        super().__init__(area)
        self._largest_ns, self._counts = self._lateness["largest_ns"], self._lateness["counts"]
        newest = self._newest()
        self._serial = 0 if newest is None else int(newest["serial"])

    def describe(self, description: Description) -> None:
        """Write what the stream is, and which sections are in use."""
        mask = sum(1 << frequency for frequency in description.frequencies)
        source = ("", "", "") if description.source is None else astuple(description.source)
        sections = _OF_ENGINE if description.source is None else _OF_MIRROR
        self._directory["magic"] = b""
        self._description[0] = (mask, description.sequencer.encode(), description.timezone.encode())
        self._source[0] = tuple(text.encode() for text in source)
        self._directory["entries"] = 0
        self._directory["entries"][0, : len(sections)] = [_SECTIONS[section] for section in sections]
        self._directory["magic"] = _MAGIC  # Last: without it, a reader takes nothing as written.

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint over the older of the two."""
        self._serial += 1
        row = np.zeros(1, _CHECKPOINT_DTYPE)
        row["serial"] = self._serial
        row["position"] = checkpoint.position
        row["realtime_ns"] = checkpoint.scheduler.realtime_ns
        row["boottime_ns"] = checkpoint.scheduler.boottime_ns
        row["boot_id"] = np.frombuffer(checkpoint.boot_id, np.uint8)
        for known in checkpoint.scheduler.frequencies:
            last = checkpoint.published[known.frequency]
            row["lanes"][0, known.frequency - 1] = (known.floor_ns, known.missed, last.sequence, last.timestamp)
        _write(row, self._checkpoints[self._serial % 2])

    def save_zone_data(self, zone_data: StreamZoneData) -> None:
        """Write which zone data the stream has."""
        row = np.zeros(1, _ZONE_DATA_DTYPE)
        row["replaced_at_ns"] = zone_data.replaced_at_ns
        for field in _ZONE_FIELDS:
            row[field] = str(getattr(zone_data, field) or "").encode()
        _write(row, self._zone_data)
        self._enter("zones")

    def save_status(self, status: SchedulerStatus) -> None:
        """Write how the scheduler is."""
        row = self._condition[0]
        row["condition"] = _CONDITIONS.index(status.condition)
        row["counts"][: len(_KINDS)] = [status.counts[kind] for kind in _KINDS]

    def save_freshness(self, freshness: Freshness) -> None:
        """Write how fresh a mirror is."""
        self._freshness[0] = tuple(value or 0 for value in astuple(freshness))

    def count_lateness(self, frequency: Frequency, lateness_ns: int) -> None:
        """Enter one event's lateness into its frequency's histogram."""
        lane = frequency - 1
        # A reader reads in the other order, so that it finds no event later than the largest lateness.
        self._largest_ns[lane] = max(int(self._largest_ns[lane]), lateness_ns)
        self._counts[lane, bucket_of(lateness_ns)] += 1

    def _enter(self, section: str) -> None:
        """Enter a section into the directory if an older version made the stream, and did not."""
        entries, (number, *place) = self._directory["entries"][0], _SECTIONS[section]
        if number not in entries["number"]:
            entry = entries[int(np.argmin(entries["number"]))]  # a free one
            entry["version"], entry["offset"], entry["size"] = place
            entry["number"] = number  # Last: until then it is still free.


def open_state(consumer: Consumer) -> StateReader | None:
    """Return the reader of the state of the stream that `consumer` reads; None if the stream has no room for one."""
    if consumer.dtype != EVENT_DTYPE or len(consumer.application) < STATE_SIZE:
        return None
    return StateReader(consumer.application)


def description_of(consumer: Consumer) -> Description | None:
    """Return what the stream is that `consumer` reads; None if it does not say, or another version wrote it."""
    try:
        return None if (state := open_state(consumer)) is None else state.description()
    except CorruptSegmentError:
        return None


def _whole(area: npt.NDArray[np.uint8], dtype: np.dtype[np.void]) -> np.void | None:
    """Return a copy of a row that begins with its checksum, or None if it is not whole, or was never written."""
    for _ in range(_ATTEMPTS):  # because an engine may write it during a look
        raw = area.tobytes()
        row: np.void = np.frombuffer(raw, dtype)[0]
        if zlib.crc32(raw[_CHECKSUMMED:]) == row["checksum"]:
            return row
    return None


def _write(row: npt.NDArray[np.void], area: npt.NDArray[np.uint8]) -> None:
    """Write a row of shape ``(1,)`` with its checksum."""
    row["checksum"] = zlib.crc32(row.tobytes()[_CHECKSUMMED:])
    area[:] = row.view(np.uint8)


def _damaged(what: str) -> CorruptSegmentError:
    return CorruptSegmentError(f"the stream's state is damaged: {what}; remove the stream (`chronostream remove`)")

"""What an engine keeps with its stream, as a layout of the application area (docs/time.md, "What survives a crash").

::

    0     description    written once, when the stream is made
    512   checkpoint 0   ┐ written in turns, each with a checksum, so that one of them is always whole
    1024  checkpoint 1   ┘
    1536  condition      of the scheduler, and how often each kind of fact occurred
    4096  lateness       one histogram for each frequency

The engine writes it through `StateWriter`; anybody reads it through `StateReader`. Neither knows how the scheduler
works, or where the memory comes from.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chronostream.errors import CorruptSegmentError, InvalidValueError
from chronostream.event import FREQUENCIES, Frequency
from chronostream.scheduler import Condition, FactKind, FrequencyState, SchedulerState, SchedulerStatus
from chronostream.stream.lateness import BUCKETS, bucket_of

__all__ = ["STATE_SIZE", "Checkpoint", "Description", "Published", "StateReader", "StateWriter"]

_VERSION = 1
_CONDITIONS, _KINDS = tuple(Condition), tuple(FactKind)

_DESCRIPTION_DTYPE = np.dtype([("version", "<u4"), ("mask", "<u4"), ("sequencer", "S16"), ("timezone", "S64")])
_LANE_DTYPE = np.dtype([("floor_ns", "<i8"), ("missed", "<u8"), ("sequence", "<u8"), ("last_ns", "<i8")])
_CHECKPOINT_DTYPE = np.dtype(
    [
        ("checksum", "<u4"),
        ("reserved", "<u4"),
        ("serial", "<u8"),
        ("position", "<u8"),
        ("realtime_ns", "<i8"),
        ("boottime_ns", "<i8"),
        ("boot_id", "u1", 16),
        ("lanes", _LANE_DTYPE, len(FREQUENCIES)),
    ]
)
_CONDITION_DTYPE = np.dtype([("condition", "<u8"), ("counts", "<u8", 32)])
_LATENESS_DTYPE = np.dtype([("largest_ns", "<u8"), ("counts", "<u8", BUCKETS)])

_CHECKPOINTS, _CHECKPOINT_STEP, _CONDITION, _LATENESS = 512, 512, 1536, 4096
_ATTEMPTS = 4
_CHECKSUMMED = _CHECKPOINT_DTYPE.fields["serial"][1]  # type: ignore[index]

STATE_SIZE = _LATENESS + _LATENESS_DTYPE.itemsize * len(FREQUENCIES)
"""Bytes of application area that an engine needs."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a stream is; a producer of another kind may not take it over.

    Attributes:
        frequencies: the shortest first.
        timezone: IANA name.
        sequencer: the sequencer's kind.

    Raises:
        InvalidValueError: a text does not fit its field, or there is no frequency.
    """

    frequencies: tuple[Frequency, ...]
    timezone: str
    sequencer: str

    def __post_init__(self) -> None:
        """Refuse what would not be read as it was stored, and so be another stream's."""
        if not self.frequencies:
            raise InvalidValueError("no frequency: expected at least one")
        for field, text in (("timezone", self.timezone), ("sequencer", self.sequencer)):
            room = _DESCRIPTION_DTYPE[field].itemsize
            if not (text.isascii() and text.isprintable() and 1 <= len(text) <= room):
                raise InvalidValueError(f"{field} is {text!r}, expected 1 to {room} printable ASCII characters")

    def __str__(self) -> str:
        frequencies = ", ".join(frequency.label for frequency in self.frequencies)
        return f"{self.sequencer} sequences of {frequencies} events in {self.timezone}"


@dataclass(frozen=True, slots=True)
class Published:
    """The last event of a frequency: its sequence and its boundary in Unix nanoseconds. Sequence 0: none yet."""

    sequence: int = 0
    timestamp: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What an engine goes on from.

    Attributes:
        position: the ring's head when this was saved; later records are not counted in it.
        boot_id: 16 bytes that name the boot.
        scheduler: floors, missed counts and clock readings.
        published: the last event of each frequency.
    """

    position: int
    boot_id: bytes
    scheduler: SchedulerState
    published: dict[Frequency, Published]


class StateReader:
    """Reads what an engine keeps, while the engine goes on writing.

    Args:
        area: the application area, at least `STATE_SIZE` bytes.

    Raises:
        CorruptSegmentError: it is too small: the stream is not an engine's.
    """

    def __init__(self, area: memoryview) -> None:
        if len(area) < STATE_SIZE:
            raise CorruptSegmentError(
                f"the application area has {len(area)} bytes, an engine's has {STATE_SIZE}: not a stream of events"
            )
        self._description: npt.NDArray[Any] = np.frombuffer(area, _DESCRIPTION_DTYPE, 1)
        self._checkpoints: list[npt.NDArray[np.uint8]] = [
            np.frombuffer(area, np.uint8, _CHECKPOINT_DTYPE.itemsize, _CHECKPOINTS + turn * _CHECKPOINT_STEP)
            for turn in range(2)
        ]
        self._condition: npt.NDArray[Any] = np.frombuffer(area, _CONDITION_DTYPE, 1, _CONDITION)
        self._lateness: npt.NDArray[Any] = np.frombuffer(area, _LATENESS_DTYPE, len(FREQUENCIES), _LATENESS)

    def description(self) -> Description | None:
        """Return what the stream is, or None if its maker died before it said so.

        Raises:
            CorruptSegmentError: it was written by another version, or is damaged.
        """
        row = self._description[0]
        if not row["version"]:
            return None
        if int(row["version"]) != _VERSION:
            raise CorruptSegmentError(
                f"the engine's state has version {row['version']}, this program reads {_VERSION}: remove the stream"
            )
        frequencies = tuple(frequency for frequency in FREQUENCIES if int(row["mask"]) >> frequency & 1)
        try:
            return Description(frequencies, row["timezone"].decode(), row["sequencer"].decode())
        except ValueError as error:
            raise CorruptSegmentError(f"the engine's state is damaged: {error}; remove the stream") from error

    def checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole, or None if there is none."""
        description, newest = self.description(), self._newest()
        if description is None or newest is None:
            return None
        lanes = {frequency: newest["lanes"][frequency - 1] for frequency in description.frequencies}
        return Checkpoint(
            position=int(newest["position"]),
            boot_id=newest["boot_id"].tobytes(),
            scheduler=SchedulerState(
                int(newest["realtime_ns"]),
                int(newest["boottime_ns"]),
                tuple(
                    FrequencyState(frequency, int(lane["floor_ns"]), int(lane["missed"]))
                    for frequency, lane in lanes.items()
                ),
            ),
            published={
                frequency: Published(int(lane["sequence"]), int(lane["last_ns"])) for frequency, lane in lanes.items()
            },
        )

    def condition(self) -> tuple[Condition, dict[FactKind, int]]:
        """Return how the scheduler is, and how often each kind of fact occurred in this run."""
        row = self._condition[0]
        condition = _CONDITIONS[min(int(row["condition"]), len(_CONDITIONS) - 1)]
        return condition, {kind: int(row["counts"][number]) for number, kind in enumerate(_KINDS)}

    def lateness(self, frequency: Frequency) -> tuple[npt.NDArray[np.uint64], int]:
        """Return the histogram of a frequency's lateness, shape ``(BUCKETS,)``, and the largest in nanoseconds."""
        row = self._lateness[frequency - 1]
        return row["counts"].copy(), int(row["largest_ns"])

    def _newest(self) -> np.void | None:
        # Both may be torn for who reads one while it is written, and then the other: not so when looked at again.
        for _ in range(_ATTEMPTS):
            rows = [row for row in map(_whole, self._checkpoints) if row is not None]
            if rows:
                return max(rows, key=lambda row: int(row["serial"]))
        return None


class StateWriter(StateReader):
    """Writes what an engine keeps; the only writer there is, since it has the stream's lock."""

    def __init__(self, area: memoryview) -> None:
        super().__init__(area)
        self._largest_ns, self._counts = self._lateness["largest_ns"], self._lateness["counts"]
        newest = self._newest()
        self._serial = 0 if newest is None else int(newest["serial"])

    def describe(self, description: Description) -> None:
        """Say what the stream is."""
        row = np.zeros(1, _DESCRIPTION_DTYPE)
        row["mask"] = sum(1 << frequency for frequency in description.frequencies)
        row["sequencer"] = description.sequencer.encode()
        row["timezone"] = description.timezone.encode()
        self._description[:] = row
        self._description["version"] = _VERSION  # Last: a description without it was never finished.

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
        row["checksum"] = zlib.crc32(row.tobytes()[_CHECKSUMMED:])
        self._checkpoints[self._serial % 2][:] = row.view(np.uint8)

    def show(self, status: SchedulerStatus) -> None:
        """Write how the scheduler is."""
        row = self._condition[0]
        row["condition"] = _CONDITIONS.index(status.condition)
        row["counts"][: len(_KINDS)] = [status.counts[kind] for kind in _KINDS]

    def count_lateness(self, frequency: Frequency, lateness_ns: int) -> None:
        """Enter one event's lateness into its frequency's histogram."""
        lane = frequency - 1
        # In this order, and read in the other, so that nobody finds an event later than the latest.
        self._largest_ns[lane] = max(int(self._largest_ns[lane]), lateness_ns)
        self._counts[lane, bucket_of(lateness_ns)] += 1


def _whole(checkpoint: npt.NDArray[np.uint8]) -> np.void | None:
    """Return a copy of a checkpoint, or None if it is not whole."""
    raw = checkpoint.tobytes()
    row: np.void = np.frombuffer(raw, _CHECKPOINT_DTYPE)[0]
    if not row["serial"] or zlib.crc32(raw[_CHECKSUMMED:]) != row["checksum"]:
        return None
    return row

"""Files of a recording: their names and metadata, and how one comes into being. Knows no ring.

A file is written under a name that nobody takes for a recording's, and gets its own when it is complete and on the
disk. So whatever ends in ``.parquet`` is whole, however the recorder ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chronostream._extras import require
from chronostream.errors import InvalidTypeError, RecordingError
from chronostream.tables import arrow_schema, to_arrow

__all__ = ["Metadata", "RecordedFile", "UnfinishedFile", "digest", "locked", "recorded_files"]

_ARROW = "chronostream[arrow]"
_KEY = b"chronostream"
_FORMAT = 1
_UNFINISHED = ".unfinished"
_ROW_GROUP_BYTES = 1 << 23


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A finished file, as its name tells.

    Attributes:
        path: where it is.
        stream: the stream's name.
        era: which life of the stream's ring, from 1.
        first: ring position of its first record.
        last: ring position of its last record; all those between are there.
        date: the day of its first record, ``YYYY-MM-DD``.
    """

    path: Path
    stream: str
    era: int
    first: int
    last: int
    date: str

    def __len__(self) -> int:
        return self.last - self.first + 1

    def metadata(self) -> Metadata:
        """Read the file's metadata.

        Raises:
            MissingDependencyError: pyarrow is not installed.
            RecordingError: it is no file of a recording, or not the one that its name says.
        """
        parquet = require("pyarrow.parquet", _ARROW)
        try:
            fields = json.loads((parquet.read_metadata(self.path).metadata or {})[_KEY])
            if fields.pop("format") != _FORMAT:
                raise ValueError("another version's format")
            metadata = Metadata(**fields)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecordingError(
                f"{self.path} cannot be read as a file of a recording ({error}): move it out of the directory"
            ) from error
        if any(getattr(metadata, what) != getattr(self, what) for what in ("stream", "era", "first", "last")):
            raise RecordingError(
                f"{self.path} holds positions {metadata.first} to {metadata.last} of era {metadata.era} of stream "
                f"{metadata.stream!r}, which is not what its name says: give it its name back, or move it away"
            )
        return metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a file says of itself, as JSON under the key ``chronostream`` of its key-value metadata.

    Attributes:
        stream: the stream's name.
        era: which life of the stream's ring, from 1.
        first: ring position of the first record.
        last: ring position of the last record.
        lost_before: how many records right before `first` were overwritten before they could be recorded.
        generation: of the stream, when the file was finished.
        producer_started_ns: when that generation's producer opened it, Unix time.
        producer_version: its version text.
        instance_id: its name.
        timezone: IANA zone of the days by which files are cut.
        dtype: the records' dtype, in the words of the ring's header.
        last_record: SHA-256 of the last record's bytes, by which the ring is known again.
    """

    stream: str
    era: int
    first: int
    last: int
    lost_before: int
    generation: int
    producer_started_ns: int
    producer_version: str
    instance_id: str
    timezone: str
    dtype: str
    last_record: str


def recorded_files(directory: Path | str, stream: str) -> list[RecordedFile]:
    """Return the finished files of a stream's recording, in its order.

    Where a file does not begin right behind the one before it, in the same era, records are absent.

    Raises:
        InvalidTypeError: the directory is no path, or the stream no name.
    """
    if not isinstance(directory, Path | str) or not isinstance(stream, str):
        raise InvalidTypeError(f"expected a directory and the name of a stream, found {directory!r} and {stream!r}")
    pattern = re.compile(re.escape(stream) + r"\.(\d{4,})\.(\d{16,})-(\d{16,})\.(\d{4}-\d\d-\d\d)\.parquet", re.ASCII)
    found = (
        RecordedFile(path, stream, int(match[1]), int(match[2]), int(match[3]), match[4])
        for path in Path(directory).glob("*.parquet")
        if (match := pattern.fullmatch(path.name))
    )
    return sorted(found, key=lambda file: (file.era, file.first))


class UnfinishedFile:
    """A file on its way: `add` records, then `finish` or `discard` it.

    Args:
        directory: where it will be.
        stream: the stream's name.
        era: which life of its ring.
        first: ring position of the first record to come.
        dtype: the records' dtype.
        max_bytes: when it `is_full`; None for never.
    """

    def __init__(
        self, directory: Path, stream: str, era: int, first: int, dtype: np.dtype[Any], max_bytes: int | None
    ) -> None:
        parquet = require("pyarrow.parquet", _ARROW)
        self.first = first
        self._directory = directory
        self._stem = f"{stream}.{era:04}.{first:016}"
        self._temporary = directory / f".{self._stem}{_UNFINISHED}"
        self._max_bytes = max_bytes
        # Before it is compressed: a file gets a little larger than it should be, not twice as large.
        self._row_group_bytes = _ROW_GROUP_BYTES if max_bytes is None else min(_ROW_GROUP_BYTES, max_bytes)
        self._buffered: list[npt.NDArray[Any]] = []
        self._buffered_bytes = 0
        self._file = self._temporary.open("wb")
        self._writer = parquet.ParquetWriter(self._file, arrow_schema(dtype), compression="zstd")

    @property
    def is_full(self) -> bool:
        """Whether it has reached its size; what is still in memory does not count."""
        return self._max_bytes is not None and self._file.tell() >= self._max_bytes

    def add(self, records: npt.NDArray[Any]) -> None:
        """Add records, at least one, that come right behind those before."""
        self._last = records[-1:]
        self._buffered.append(records)
        self._buffered_bytes += records.nbytes
        if self._buffered_bytes >= self._row_group_bytes:
            self._write_row_group()

    def digest_of_last(self) -> str:
        """Return what `Metadata.last_record` is to be."""
        return digest(self._last)

    def finish(self, metadata: Metadata, date: str) -> RecordedFile:
        """Write what is left, have it on the disk, and give the complete file its name."""
        self._write_row_group()
        self._writer.add_key_value_metadata({_KEY: json.dumps({"format": _FORMAT} | asdict(metadata))})
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        path = self._directory / f"{self._stem}-{metadata.last:016}.{date}.parquet"
        self._temporary.rename(path)
        _sync_directory(self._directory)
        return RecordedFile(path, metadata.stream, metadata.era, metadata.first, metadata.last, date)

    def discard(self) -> None:
        """Leave nothing of it; twice is fine."""
        # Closing writes the end of the file, which may fail for the very reason that it is given up for.
        for part in (self._writer, self._file):
            with contextlib.suppress(Exception):
                part.close()
        self._temporary.unlink(missing_ok=True)

    def _write_row_group(self) -> None:
        if self._buffered:
            records = np.concatenate(self._buffered)
            self._writer.write_batch(to_arrow(records), row_group_size=len(records))
            self._buffered = []
            self._buffered_bytes = 0


def digest(record: npt.NDArray[Any]) -> str:
    """Return the SHA-256 of a record's bytes, as hexadecimal digits."""
    return hashlib.sha256(record.tobytes()).hexdigest()


@contextlib.contextmanager
def locked(directory: Path, stream: str) -> Iterator[None]:
    """Be the only recorder of a stream into a directory; clear away what one that died left unfinished.

    Raises:
        RecordingError: another one is at it, or the directory cannot be made or written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / f".{stream}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RecordingError(f"cannot record into {directory}: {error.strerror or error}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(lock, 32, 0).decode(errors="replace").strip() or "another"
            raise RecordingError(
                f"process {pid} is recording stream {stream!r} into {directory} already: stop it, or use another one"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        for leftover in directory.glob(f".{stream}.*{_UNFINISHED}"):
            if re.fullmatch(re.escape(f".{stream}.") + r"\d+\.\d+" + re.escape(_UNFINISHED), leftover.name):
                leftover.unlink()
        yield
    finally:
        os.close(lock)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

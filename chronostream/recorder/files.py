"""The files of a recording: names, metadata and writing. This module knows no ring.

A file is written under a temporary name and renamed once it is complete and on the disk. So every file that ends in
``.parquet`` is whole, whatever ended the recorder.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import glob
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chronostream._extras import require
from chronostream.errors import InvalidTypeError, InvalidValueError, RecordingError
from chronostream.event import event_ids
from chronostream.recorder.encodings import encoding_options
from chronostream.tables import arrow_schema, find_rejected, to_arrow

__all__ = ["Metadata", "RecordedFile", "UnfinishedFile", "digest", "locked", "recorded_files"]

_ARROW = "chronostream[arrow]"
_KEY = b"chronostream"
_FORMAT = 1
_UNFINISHED = ".unfinished"
_ROW_GROUP_BYTES = 1 << 23
_MAX_REJECTED_BYTES = 1 << 23  # in one file: every reader of a file reads all of its metadata
_MAX_METADATA_BYTES = (1 << 31) - 1  # pyarrow's own limit is lower, and a single record may be larger


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A finished file, as described by its name. Its length is its number of ring positions.

    It has a row for each position but those of `Metadata.rejected`.

    Attributes:
        path: of the file.
        stream: the stream's name.
        era: which life of the stream's ring, from 1.
        first: ring position of the first record.
        last: ring position of the last record.
        date: the day of the first record, ``YYYY-MM-DD``.
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
            RecordingError: this is no file of a recording, or its name does not match its metadata.
        """
        parquet = require("pyarrow.parquet", _ARROW)
        try:
            with parquet.ParquetFile(self.path, thrift_string_size_limit=_MAX_METADATA_BYTES) as file:
                fields = json.loads((file.metadata.metadata or {})[_KEY])
            if fields.pop("format") != _FORMAT:
                raise ValueError(f"its format is not {_FORMAT}")
            rejected = {int(position): base64.b64decode(raw) for position, raw in fields.pop("rejected", {}).items()}
            metadata = Metadata(**fields, rejected=rejected)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RecordingError(
                f"{self.path} is not a readable file of a recording ({error}): move it out of the directory"
            ) from error
        if any(getattr(metadata, key) != getattr(self, key) for key in ("stream", "era", "first", "last")):
            raise RecordingError(
                f"{self.path} holds positions {metadata.first} to {metadata.last} of era {metadata.era} of stream "
                f"{metadata.stream!r}, which does not match its name: rename it back, or move it out of the directory"
            )
        return metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The metadata of a file: JSON under the key ``chronostream`` of Parquet's key-value metadata.

    `stream`, `era`, `first` and `last` must match the file's name.

    Attributes:
        lost_before: how many records directly before `first` were overwritten before they could be recorded.
        generation: of the stream when the file was finished.
        producer_started_ns: when the producer of that generation started, Unix nanoseconds.
        producer_version: version of that producer.
        instance_id: name of that producer.
        timezone: IANA zone whose days separate files.
        dtype: of the records, as the ring's header writes it.
        last_record: SHA-256 of the last record's bytes. It tells this ring from a new one of the same name.
        rejected: the bytes of each record that no table can hold, by its ring position; in JSON they are in Base64.
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
    rejected: dict[int, bytes] = field(default_factory=dict)


def recorded_files(directory: Path | str, stream: str) -> list[RecordedFile]:
    """Return the finished files of a stream's recording, in the order of its records, in folders of partitions or not.

    Records are missing where a file does not begin directly after the previous one of its era.
    """
    if not isinstance(directory, Path | str) or not isinstance(stream, str):
        raise InvalidTypeError(f"directory and stream are {directory!r} and {stream!r}, expected a path and a name")
    pattern = re.compile(re.escape(stream) + r"\.(\d{4,})\.(\d{16,})-(\d{16,})\.(\d{4}-\d\d-\d\d)\.parquet", re.ASCII)
    places = ("*.parquet", f"stream={glob.escape(stream)}/date=*/*.parquet")
    files = (
        RecordedFile(path, stream, int(match[1]), int(match[2]), int(match[3]), match[4])
        for path in chain.from_iterable(map(Path(directory).glob, places))
        if (match := pattern.fullmatch(path.name))
    )
    return sorted(files, key=lambda file: (file.era, file.first))


class UnfinishedFile:
    """A file that is being written: `add` records, then `finish` or `discard` it.

    With `max_bytes`, `is_full` becomes true at that size on the disk; records still in memory do not count. With `hive`
    it goes into the folder of its stream and date; with `ids` its events get a column ``id``.

    Attributes:
        first: ring position of the first record.
        rejected: of the records written so far, the bytes of those that no table can hold, by position.
        reason: why the first of them is rejected.
    """

    def __init__(
        self,
        directory: Path,
        stream: str,
        era: int,
        first: int,
        dtype: np.dtype[Any],
        max_bytes: int | None,
        *,
        hive: bool = False,
        ids: bool = False,
    ) -> None:
        parquet = require("pyarrow.parquet", _ARROW)
        self.first = first
        self.rejected: dict[int, bytes] = {}
        self.reason = ""
        self._next = first
        self._dtype = dtype
        self._directory = directory
        self._hive = hive
        self._ids = ids
        self._stem = f"{stream}.{era:04}.{first:016}"
        self._temporary = directory / f".{self._stem}{_UNFINISHED}"
        self._max_bytes = max_bytes
        # Small row groups keep a small file from growing far beyond max_bytes.
        self._row_group_bytes = _ROW_GROUP_BYTES if max_bytes is None else min(_ROW_GROUP_BYTES, max_bytes)
        self._buffered: list[npt.NDArray[Any]] = []
        self._buffered_bytes = 0
        self._file = self._temporary.open("wb")
        schema = arrow_schema(dtype)
        if ids:
            schema = schema.append(require("pyarrow", _ARROW).field("id", "string"))
        self._writer = parquet.ParquetWriter(self._file, schema, compression="zstd", **encoding_options(dtype, ids=ids))

    @property
    def is_full(self) -> bool:
        """Whether the file has reached `max_bytes`, or holds all the rejected records that it may."""
        rejected_bytes = len(self.rejected) * self._dtype.itemsize
        return rejected_bytes >= _MAX_REJECTED_BYTES or (
            self._max_bytes is not None and self._file.tell() + rejected_bytes >= self._max_bytes
        )

    def add(self, records: npt.NDArray[Any]) -> None:
        """Add the next records, shape ``(n,)``, at least one."""
        self.last_record = records[-1:]
        self._buffered.append(records)
        self._buffered_bytes += records.nbytes
        if self._buffered_bytes >= self._row_group_bytes:
            self._write_row_group()

    def finish(self, metadata: Metadata, date: str) -> RecordedFile:
        """Write the rest and the rejected records, flush the file to the disk, and rename it to its final name."""
        self._write_row_group()
        fields = {"format": _FORMAT} | asdict(replace(metadata, rejected=self.rejected))
        as_text = json.dumps(fields, default=lambda raw: base64.b64encode(raw).decode())
        self._writer.add_key_value_metadata({_KEY: as_text})
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        folders = [self._directory]
        if self._hive:
            for name in (f"stream={metadata.stream}", f"date={date}"):
                folders.append(folders[-1] / name)
                folders[-1].mkdir(exist_ok=True)
        path = folders[-1] / f"{self._stem}-{metadata.last:016}.{date}.parquet"
        self._temporary.rename(path)
        for folder in folders:
            _sync_directory(folder)
        return RecordedFile(path, metadata.stream, metadata.era, metadata.first, metadata.last, date)

    def discard(self) -> None:
        """Delete the file. A second call does nothing."""
        # Closing writes to the file, which fails for example when the disk is full.
        for part in (self._writer, self._file):
            with contextlib.suppress(Exception):
                part.close()
        self._temporary.unlink(missing_ok=True)

    def _write_row_group(self) -> None:
        if not self._buffered:
            return
        # As bytes: numpy would copy structures field by field, and leave what is between the fields undefined.
        records = np.concatenate([part.view(np.uint8) for part in self._buffered]).view(self._dtype)
        count = len(records)
        try:
            batch = to_arrow(records)
        except InvalidValueError as error:
            self.reason = self.reason or str(error)
            records = self._set_aside(records)
            batch = to_arrow(records)
        if self._ids:
            batch = batch.append_column("id", require("pyarrow", _ARROW).array(event_ids(records).tolist(), "string"))
        if batch.num_rows:
            self._writer.write_batch(batch, row_group_size=batch.num_rows)
        self._next += count
        self._buffered = []
        self._buffered_bytes = 0

    def _set_aside(self, records: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Keep the bytes of the records that no table can hold, and return the other records."""
        rejected = find_rejected(records)
        for place in np.flatnonzero(rejected).tolist():
            # A slice of one record, because numpy cannot take out a text that is no Unicode.
            self.rejected[self._next + place] = records[place : place + 1].tobytes()
        return records[~rejected]


def digest(record: npt.NDArray[Any]) -> str:
    """Return the SHA-256 of a record's bytes, as hexadecimal digits."""
    return hashlib.sha256(record.tobytes()).hexdigest()


@contextlib.contextmanager
def locked(directory: Path, stream: str) -> Iterator[None]:
    """Hold the lock of a stream's recording in a directory; delete the unfinished files of a recorder that died.

    Raises:
        RecordingError: another recorder holds the lock, or the directory cannot be made or written to.
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
                f"process {pid} already records stream {stream!r} into {directory}: stop it, or use another directory"
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

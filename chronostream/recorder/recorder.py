"""The recorder: what it reads next, and when it finishes a file."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from chronostream._extras import require
from chronostream._values import SECOND_NS, check_positive, checked_seconds
from chronostream.boundaries import local_days
from chronostream.calendar.zones import check_zone
from chronostream.clock import StopFlag
from chronostream.errors import InvalidTypeError, InvalidValueError, RecordingError
from chronostream.event import EVENT_DTYPE
from chronostream.recorder.files import (
    Metadata,
    RecordedFile,
    UnfinishedFile,
    digest,
    locked,
    recorded_files,
)
from chronostream.recorder.report import RecordingReport, position_ranges, ranges_text
from chronostream.recorder.resume import find_end
from chronostream.ring import Consumer, segment_name
from chronostream.ring.dtypes import dtype_to_text
from chronostream.stream.events import wait_for_stream
from chronostream.stream.state import description_of
from chronostream.tables import arrow_schema

__all__ = ["Recorder"]

_log = logging.getLogger(__name__)

_ARROW = "chronostream[arrow]"
_READ_BYTES = 1 << 20
_STOP_CHECK_S = 0.25
_DAY_NS = 86_400 * SECOND_NS
_EPOCH_DAY = date(1970, 1, 1).toordinal()
# A killed recorder needs this long to restart. If half a ring lasts less, finishing files early saves no records.
_RESTART_S = 10.0


class Recorder:
    """Records a ring of any dtype into Parquet files. A stream and a directory have at most one recorder.

    A recording resumes after the last file in the directory. A file is finished when its day is over, when it is
    `every_s` old, when it has `max_bytes`, when it holds half a ring (so a crash loses nothing), when records were
    lost, and at the end.

    Args:
        name: the stream's name.
        directory: of the files; created if it does not exist.
        every_s: the maximum age of an unfinished file in seconds; None for no limit.
        max_bytes: the approximate size of a file; None for no limit.
        daily: begin a new file with each day of the stream's time zone. An event belongs to the day of its boundary,
            any other record to the UTC day on which it is read.
        hive: put the files into the folders ``stream=NAME/date=YYYY-MM-DD``, in which readers see two more columns. It
            needs `daily`. A recording may change between this and one directory.
        ids: give events a column ``id``.
        start: where a first recording begins: at the ``"oldest"`` record in the ring, or at the ``"next"`` one. Records
            that are older than the oldest count as lost.
        wait_s: how long to wait for the stream to exist.
        any_owner: also trust a stream of another user.
        now_ns: reads the wall clock in Unix nanoseconds.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        RecordingError: the directory cannot be used, has another recorder, or holds records of another dtype.
        StreamNotFoundError: the stream does not exist, even after `wait_s`.
        InvalidTypeError: Arrow or Parquet has no type for a field of the ring.
        InvalidValueError: this machine does not know the stream's time zone; the ring carries no events that could have
            ids; a field has the name of a partition.
        ChronoStreamError: as for `chronostream.ring.Consumer.attach`.
    """

    def __init__(
        self,
        name: str,
        directory: Path | str,
        *,
        every_s: float | None = 3600,
        max_bytes: int | None = None,
        daily: bool = True,
        hive: bool = False,
        ids: bool = False,
        start: Literal["oldest", "next"] = "oldest",
        wait_s: float = 0,
        any_owner: bool = False,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        require("pyarrow", _ARROW)
        segment_name(name)
        if not isinstance(directory, Path | str):
            raise InvalidTypeError(f"directory is {type(directory).__name__}, expected a path")
        if start not in ("oldest", "next"):
            raise InvalidValueError(f"start is {start!r}, expected one of 'oldest', 'next'")
        if hive and not daily:
            raise InvalidValueError("hive needs daily, since a folder is for one day: leave one of both out")
        check_positive("every_s", every_s)
        check_positive("max_bytes", max_bytes)
        self.name = name
        self.directory = Path(directory)
        self.report = RecordingReport()
        self._every_s = math.inf if every_s is None else every_s
        self._max_bytes = max_bytes
        self._daily = daily
        self._hive = hive
        self._ids = ids
        self._now_ns = now_ns
        self._file: UnfinishedFile | None = None
        self._due_s = math.inf  # The monotonic time at which the file is `every_s` old.
        self._lost_before = 0
        with contextlib.ExitStack() as opened:
            opened.enter_context(locked(self.directory, name))
            files = recorded_files(self.directory, name)
            first: Literal["oldest", "next"] = "oldest" if files else start
            attached = wait_for_stream(lambda: Consumer.attach(name, first, any_owner=any_owner), wait_s)
            self._consumer = opened.enter_context(attached)
            self._has_events = self._consumer.dtype == EVENT_DTYPE
            read_bytes = min(_READ_BYTES, max_bytes or _READ_BYTES)  # A batch must not be larger than a file.
            self._batch = max(1, int(read_bytes) // self._consumer.dtype.itemsize)
            self._check_columns()
            description = description_of(self._consumer)
            self._timezone = "UTC" if description is None else check_zone(description.timezone)
            self._era, self._next = 1, 0 if first == "oldest" else self._consumer.start
            if files:
                self._resume(files[-1], any_owner)
            self._opened = opened.pop_all()

    @property
    def position(self) -> int:
        """The next ring position to record."""
        return self._next

    def run(
        self,
        stop: StopFlag | None = None,
        *,
        for_s: float | None = None,
        on_progress: Callable[[int], object] | None = None,
    ) -> RecordingReport:
        """Record until the stream is closed and drained, then finish the last file.

        Args:
            stop: stops the recording when it is set; checked every quarter of a second.
            for_s: stop after this many seconds.
            on_progress: called with the number of records after each read.

        Raises:
            StreamRemovedError: the stream was removed; all records read before are in finished files.
            RecordingError: a file could not be written. It was deleted, and this recorder is closed.
            ClosedError: the recorder is closed.
        """
        end_s = math.inf if for_s is None else time.monotonic() + checked_seconds("for_s", for_s)
        try:
            while (stop is None or not stop.is_set()) and (now_s := time.monotonic()) < end_s:
                if self._consumer.wait(max(0.0, min(_STOP_CHECK_S, end_s - now_s, self._due_s - now_s))):
                    taken = self.take()
                    if on_progress is not None:
                        on_progress(taken)
                elif self._consumer.closed and not self._consumer.lag:
                    break
                else:
                    self._finish_due_file()
        finally:
            self.finish_file()
        return self.report

    def take(self) -> int:
        """Read a batch of records without waiting and add them to one or more files; return their number.

        Raises:
            RecordingError: a file could not be written. It was deleted, and this recorder is closed.
        """
        records = self._consumer.read(self._batch)
        first = self._consumer.position - len(records)
        recorded = min(len(records), max(0, self._next - first))
        records, first = records[recorded:], first + recorded
        taken = len(records)
        with self._writing():
            if first > self._next:
                self._lose(range(self._next, first))
            while len(records):
                self._finish_due_file()
                file = self._file or self._begin_file(records)
                if count := self._count_in_day(records):
                    file.add(records[:count])
                    self._next += count
                records = records[count:]
                if len(records):
                    self.finish_file()
            self._finish_due_file()
        return taken

    def finish_file(self) -> None:
        """Finish the file that is being written, if any.

        Raises:
            RecordingError: the file could not be written. It was deleted, and this recorder is closed.
        """
        file = self._file
        if file is None:
            return
        header = self._consumer.header
        with self._writing():
            finished = file.finish(
                Metadata(
                    stream=self.name,
                    era=self._era,
                    first=file.first,
                    last=self._next - 1,
                    lost_before=self._lost_before,
                    generation=int(header["generation"]),
                    producer_started_ns=int(header["started_ns"]),
                    producer_version=header["version"].decode(errors="replace"),
                    instance_id=header["instance"].decode(errors="replace"),
                    timezone=self._timezone,
                    dtype=dtype_to_text(self._consumer.dtype).decode(),
                    last_record=digest(file.last_record),
                ),
                date.fromordinal(self._day).isoformat(),
            )
            self._file, self._due_s = None, math.inf
        self._lost_before = 0
        self.report.files.append(finished)
        rows = len(finished) - len(file.rejected)
        self.report.records += rows
        _log.info("%s: %d records in %s", self.name, rows, finished.path.name)
        if file.rejected:
            rejected = position_ranges(file.rejected)
            self.report.rejected += rejected
            message = "%s: %d records that no table can hold are in the metadata of %s, positions %s: %s"
            _log.warning(message, self.name, len(file.rejected), finished.path.name, ranges_text(rejected), file.reason)

    def close(self) -> None:
        """Release the stream and the directory. A second call does nothing.

        An unfinished file is deleted: the next recorder reads its records again.
        """
        if self._file is not None:
            self._file.discard()
            self._file = None
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_columns(self) -> None:
        """Refuse now what would fail at the first record."""
        schema = arrow_schema(self._consumer.dtype)
        if self._ids and not self._has_events:
            raise InvalidValueError(
                f"stream {self.name!r} carries no events, and nothing else has ids: record it without"
            )
        if taken := {"stream", "date"} & set(schema.names if self._hive else ()):
            raise InvalidValueError(
                f"field {taken.pop()!r} has the name of a partition's column: record it without hive"
            )

    def _resume(self, last: RecordedFile, any_owner: bool) -> None:
        self.report.resumed = last
        position = find_end(self._consumer, last, any_owner=any_owner)
        if position is not None:
            self._era, self._next = last.era, position
            return
        self.report.recreated = True
        self._era, self._next = last.era + 1, 0
        message = "%s: the stream was recreated; records of the old one after position %d are lost"
        _log.warning(message, self.name, last.last)

    def _lose(self, lost: range) -> None:
        """Record a loss: the file ends before it, and the metadata of the next file has its length."""
        self.finish_file()
        self._next = lost.stop
        self._lost_before += len(lost)
        self.report.lost.append(lost)
        message = "%s: %d records lost, positions %d to %d: overwritten before they could be recorded"
        _log.warning(message, self.name, len(lost), lost[0], lost[-1])

    def _begin_file(self, records: npt.NDArray[Any]) -> UnfinishedFile:
        if self._has_events:
            self._day = int(local_days(records["timestamp"][:1], self._timezone)[0])
        else:
            self._day = self._today()
        self._file = file = UnfinishedFile(
            self.directory,
            self.name,
            self._era,
            self._next,
            self._consumer.dtype,
            self._max_bytes,
            hive=self._hive,
            ids=self._ids,
        )
        self._began_s = time.monotonic()
        self._due_s = self._began_s + self._every_s
        return file

    def _count_in_day(self, records: npt.NDArray[Any]) -> int:
        """Return how many of the first records belong to the day of the current file."""
        if not self._has_events or not self._daily:
            return len(records)
        others = np.flatnonzero(local_days(records["timestamp"], self._timezone) != self._day)
        return int(others[0]) if len(others) else len(records)

    def _today(self) -> int:
        """Return the number of the UTC day."""
        return _EPOCH_DAY + self._now_ns() // _DAY_NS

    def _finish_due_file(self) -> None:
        if self._file is None:
            return
        now_s = time.monotonic()
        has_half_a_ring = self._next - self._file.first >= self._consumer.capacity // 2
        if (
            now_s >= self._due_s
            or self._file.is_full
            or (has_half_a_ring and now_s >= self._began_s + _RESTART_S)
            or (self._daily and not self._has_events and self._today() != self._day)
        ):
            self.finish_file()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Close the recorder, which deletes the unfinished file, if writing it fails."""
        try:
            yield
        except BaseException as error:
            self.close()
            if not isinstance(error, OSError | require("pyarrow", _ARROW).ArrowException):
                raise
            reason = getattr(error, "strerror", None) or error
            raise RecordingError(
                f"cannot write to {self.directory}: {reason}; the ring still holds the records that are in no file: "
                "solve this, then record again"
            ) from error

"""The recorder itself: what it reads next, and when a file is due."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from chronostream._extras import require
from chronostream._values import checked_seconds
from chronostream.calendar.boundaries import next_boundary
from chronostream.clock import StopFlag
from chronostream.errors import ChronoStreamError, InvalidTypeError, InvalidValueError, RecordingError
from chronostream.event import EVENT_DTYPE
from chronostream.recorder.files import Metadata, RecordedFile, UnfinishedFile, locked, recorded_files
from chronostream.recorder.resume import find_end
from chronostream.ring import Consumer, segment_name
from chronostream.ring.dtypes import dtype_to_text
from chronostream.stream.events import wait_for_stream
from chronostream.stream.status import description_of
from chronostream.tables import arrow_schema

__all__ = ["Recorder", "Report"]

_log = logging.getLogger(__name__)

_ARROW = "chronostream[arrow]"
_READ_BYTES = 1 << 20
_LOOK_S = 0.25  # how soon a stop flag is noticed
# A ring that turns over faster than this leaves a recorder that was killed no time to come back.
_RESTART_S = 10.0


@dataclass(slots=True)
class Report:
    """What a recorder has done so far.

    Attributes:
        records: how many records are in finished files.
        files: those files, in order.
        lost: ranges of ring positions that were overwritten before they could be recorded.
        resumed: the file that this recording goes on behind; None if it is the first.
        made_anew: whether the stream was made anew since that file, so that positions began at 0 again. What the old
            one still had behind it, if anything, is gone with it.
    """

    records: int = 0
    files: list[RecordedFile] = field(default_factory=list)
    lost: list[range] = field(default_factory=list)
    resumed: RecordedFile | None = None
    made_anew: bool = False

    @property
    def lost_records(self) -> int:
        """How many records were lost."""
        return sum(map(len, self.lost))


class Recorder:
    """Records a ring of any dtype into Parquet files of one directory; one for each stream and directory.

    It goes on where the files that are there end. A file is finished when its day is over, when it is `every_s` old or
    has `max_bytes`, when half a ring is unfinished (so that a crash costs nothing), when records were lost, and at the
    end.

    Args:
        name: the stream's name.
        directory: where the files go; made if it is not there.
        every_s: how long at most records wait for their file, in seconds; None for no limit.
        max_bytes: about how large a file gets; None for no limit.
        daily: begin a new file at each midnight of the stream's time zone. Events belong to the day of their boundary,
            other records to the day on which they are read, in UTC.
        start: the first recording begins with the ``"oldest"`` record that the ring holds, or with the ``"next"``.
        wait_s: how long to wait for a stream that is not there yet.
        any_owner: also trust a stream that another user's process made.
        now_ns: the wall clock, Unix nanoseconds.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        RecordingError: the directory cannot be used, another recorder is at it, or it holds other records.
        StreamNotFoundError: there is no such stream, not even after `wait_s`.
        InvalidTypeError: Arrow or Parquet has no place for the ring's dtype, or an argument is of the wrong kind.
        InvalidValueError: an argument is out of its range.
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
        _check_positive("every_s", every_s)
        _check_positive("max_bytes", max_bytes)
        self.name = name
        self.directory = Path(directory)
        self.report = Report()
        self._every_s = math.inf if every_s is None else every_s
        self._max_bytes = max_bytes
        self._daily = daily
        self._now_ns = now_ns
        self._file: UnfinishedFile | None = None
        self._lost_before = 0
        with contextlib.ExitStack() as opened:
            opened.enter_context(locked(self.directory, name))
            files = recorded_files(self.directory, name)
            where: Literal["oldest", "next"] = "oldest" if files else start
            attached = wait_for_stream(lambda: Consumer.attach(name, where, any_owner=any_owner), wait_s)
            self._consumer = opened.enter_context(attached)
            self._of_events = self._consumer.dtype == EVENT_DTYPE
            read_bytes = min(_READ_BYTES, max_bytes or _READ_BYTES)  # or one batch would make more than a file
            self._read_at_once = max(1, int(read_bytes) // self._consumer.dtype.itemsize)
            arrow_schema(self._consumer.dtype)  # An error now, not at the first record.
            said = description_of(self._consumer)
            self._timezone = "UTC" if said is None else said.timezone
            self._era, self._next = 1, self._consumer.start
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
    ) -> Report:
        """Record until the stream is closed and drained, then finish the last file.

        Args:
            stop: set it to stop earlier; looked at every quarter of a second.
            for_s: stop by itself after this many seconds.
            on_progress: called with the number of records, each time that some were read.

        Raises:
            StreamRemovedError: the stream was removed; what was read before is in a finished file.
            RecordingError: a file could not be written; nothing of it is left, and this recorder is closed.
            ClosedError: it is closed.
            InvalidValueError: `for_s` is negative.
            InvalidTypeError: it is not a number.
        """
        end_s = math.inf if for_s is None else time.monotonic() + checked_seconds("for_s", for_s)
        while (stop is None or not stop.is_set()) and (now_s := time.monotonic()) < end_s:
            try:
                ready = self._consumer.wait(max(0.0, min(_LOOK_S, end_s - now_s, self._due_s() - now_s)))
            except (ChronoStreamError, KeyboardInterrupt):
                self.finish_file()
                raise
            if ready:
                taken = self.take()
                if on_progress is not None:
                    on_progress(taken)
            elif self._consumer.closed and not self._consumer.lag:
                break
            elif self._is_due():
                self.finish_file()
        self.finish_file()
        return self.report

    def take(self) -> int:
        """Read a batch of what is there and add it to the file, or to several; return how many records it was.

        Raises:
            RecordingError: a file could not be written; nothing of it is left, and this recorder is closed.
        """
        records = self._consumer.read(self._read_at_once)
        first = self._consumer.position - len(records)
        known = min(len(records), max(0, self._next - first))  # in the files that this recorder found
        records, first = records[known:], first + known
        if first > self._next:
            self._lose(range(self._next, first))
        taken = len(records)
        while len(records):
            if self._is_due():
                self.finish_file()
            if self._file is None:
                self._begin_file(records)
            count = self._count_of_day(records)
            if count:
                with self._writing() as file:
                    file.add(records[:count])
                self._next += count
            records = records[count:]
            if len(records):
                self.finish_file()
        if self._is_due():
            self.finish_file()
        return taken

    def finish_file(self) -> None:
        """Finish the file that is being written, if there is one.

        Raises:
            RecordingError: it could not be written; nothing of it is left, and this recorder is closed.
        """
        if self._file is None:
            return
        header = self._consumer.header
        with self._writing() as file:
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
                    last_record=file.digest_of_last(),
                ),
                self._date,
            )
        self._file = None
        self._lost_before = 0
        self.report.files.append(finished)
        self.report.records += len(finished)
        _log.info("%s: %d records in %s", self.name, len(finished), finished.path.name)

    def close(self) -> None:
        """Let go of the stream and of the directory; what is unfinished is left to the next recorder. Twice is fine."""
        if self._file is not None:
            self._file.discard()
            self._file = None
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _resume(self, last: RecordedFile, any_owner: bool) -> None:
        self.report.resumed = last
        position = find_end(self._consumer, last, any_owner=any_owner)
        if position is not None:
            self._era, self._next = last.era, position
            return
        self.report.made_anew = True
        self._era, self._next = last.era + 1, 0
        _log.warning(
            "%s: the stream was made anew; what the old one still had behind position %d is gone", self.name, last.last
        )

    def _lose(self, lost: range) -> None:
        """Note a loss: a file ends before it, and the next one says so."""
        self.finish_file()
        self._next = lost.stop
        self._lost_before += len(lost)
        self.report.lost.append(lost)
        _log.warning(
            "%s: %d records lost, positions %d to %d: overwritten before they could be recorded",
            self.name,
            len(lost),
            lost[0],
            lost[-1],
        )

    def _begin_file(self, records: npt.NDArray[Any]) -> None:
        begins_ns = int(records["timestamp"][0]) if self._of_events else self._now_ns()
        self._began_s = time.monotonic()
        self._date = f"{datetime.fromtimestamp(begins_ns // 1_000_000_000, ZoneInfo(self._timezone)):%Y-%m-%d}"
        self._day_ends_ns = next_boundary(begins_ns, "day", self._timezone) if self._daily else math.inf
        try:
            self._file = UnfinishedFile(
                self.directory, self.name, self._era, self._next, self._consumer.dtype, self._max_bytes
            )
        except OSError as error:
            self.close()
            raise self._unwritable(error) from error

    def _count_of_day(self, records: npt.NDArray[Any]) -> int:
        """Return how many of the records, from the first on, belong to the file's day."""
        if not self._of_events:
            return len(records)
        later = np.flatnonzero(records["timestamp"] >= self._day_ends_ns)
        return int(later[0]) if len(later) else len(records)

    def _due_s(self) -> float:
        """Return until when the file may wait, on the monotonic clock."""
        return math.inf if self._file is None else self._began_s + self._every_s

    def _is_due(self) -> bool:
        if self._file is None:
            return False
        now_s = time.monotonic()
        half_a_ring = self._next - self._file.first >= self._consumer.capacity // 2
        return (
            now_s >= self._due_s()
            or self._file.is_full
            or (half_a_ring and now_s >= self._began_s + _RESTART_S)
            or (not self._of_events and self._now_ns() >= self._day_ends_ns)
        )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[UnfinishedFile]:
        """Give the file; if something is wrong with it, nothing of it is left and the recorder is closed."""
        assert self._file is not None
        try:
            yield self._file
        except BaseException as error:
            self.close()
            if isinstance(error, OSError | require("pyarrow", _ARROW).ArrowException):
                raise self._unwritable(error) from error
            raise

    def _unwritable(self, error: BaseException) -> RecordingError:
        why = getattr(error, "strerror", None) or error
        return RecordingError(
            f"cannot write to {self.directory}: {why}; the ring still has what is in no file yet: mend it, and go on"
        )


def _check_positive(what: str, value: float | None) -> None:
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidTypeError(f"{what} is {type(value).__name__}, expected a number or None")
    if not value > 0:
        raise InvalidValueError(f"{what} is {value}, expected more than 0, or None for no limit")

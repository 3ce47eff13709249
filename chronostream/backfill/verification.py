"""Compare events with what they must be, and name each that is absent, foreign, duplicate, altered or out of order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from sys import maxsize
from typing import get_args

import numpy as np
import numpy.typing as npt

from chronostream._values import SECOND_NS, checked_ns
from chronostream.backfill.expectation import CHUNK
from chronostream.backfill.lane import Gap, Lane
from chronostream.backfill.report import Fault, FaultKind, Report
from chronostream.calendar.boundaries import check_zone, count_boundaries
from chronostream.calendar.sequencer import BoundarySequencer
from chronostream.errors import InvalidTypeError, InvalidValueError
from chronostream.event import EVENT_DTYPE, Frequency, build_events, checked_records, encode_text, event_ids
from chronostream.ring.records import checked_limit
from chronostream.stream.config import SequencerKind

__all__ = ["Records", "verify"]

Records = npt.NDArray[np.void]

_FREQUENCIES = frozenset(Frequency)


def verify(
    records: Records | Iterable[Records],
    frequencies: Iterable[Frequency | str | int],
    start_ns: int | None = None,
    end_ns: int | None = None,
    *,
    tz: str = "UTC",
    sequencer: SequencerKind = "boundary",
    version: str | None = None,
    instance: str | None = None,
    missed: Mapping[Frequency, int] | None = None,
    limit: int = 1000,
) -> Report:
    """Compare the events of a range with what they must be.

    With the boundary sequencer everything about an event follows from its boundary. With a counting one its sequence
    follows from the event before; there, a boundary that was passed without using up a number is known to be missed,
    and one whose number is used up is absent.

    Args:
        records: the events in the order of the stream, an array of `EVENT_DTYPE` of shape ``(n,)`` or any number of
            such; only one at a time is held.
        frequencies: of which there must be events.
        start_ns: where the range begins, Unix nanoseconds; with the first event by default.
        end_ns: where it ends, itself not part of it; behind the last event by default.
        tz: IANA time zone of hours and days.
        sequencer: ``"boundary"``, or ``"counting"``.
        version: the version text that each event must carry; any by default.
        instance: the instance that each event must carry; any by default.
        missed: per frequency, how many boundaries the producer says that it never emitted. As many as that may be
            without an event.
        limit: how many faults to describe; all are counted.

    Raises:
        UnknownFrequencyError: not a frequency that events have.
        InvalidValueError: no frequency, an unknown time zone or sequencer, a range that ends before it starts or, for
            a boundary sequencer, begins before 1970; or a text that no event can carry.
        InvalidTypeError: the records are no arrays of `EVENT_DTYPE`, or another argument is of the wrong kind.
    """
    chosen = Frequency.parse_all(frequencies)
    check_zone(tz)
    if not isinstance(records, Iterable):
        raise InvalidTypeError(f"records are {type(records).__name__}, expected arrays of EVENT_DTYPE")
    if missed is not None and not isinstance(missed, Mapping):
        raise InvalidTypeError(f"missed is {type(missed).__name__}, expected a number for each frequency")
    if sequencer not in get_args(SequencerKind):
        raise InvalidValueError(f"sequencer is {sequencer!r}, expected one of {', '.join(get_args(SequencerKind))}")
    numbers = BoundarySequencer(tz) if sequencer == "boundary" else None
    if start_ns is not None:
        count_boundaries(chosen[0], start_ns, start_ns if end_ns is None else end_ns, tz)
        if numbers is not None:
            numbers.peek(chosen[0], start_ns)
    elif end_ns is not None:
        checked_ns("end_ns", end_ns)
    texts = {"producer_version": version, "instance_id": instance}
    for field, text in texts.items():
        if text is not None:
            encode_text(field, text)
    verifier = _Verifier(chosen, (start_ns, end_ns), tz, numbers, texts, missed, checked_limit(limit, maxsize))
    for part in (records,) if isinstance(records, np.ndarray) else records:
        verifier.feed(part)
    return verifier.report()


class _Verifier:
    """The events of all frequencies in the order of the stream, and what is wrong with them so far."""

    def __init__(
        self,
        frequencies: tuple[Frequency, ...],
        span_ns: tuple[int | None, int | None],
        tz: str,
        sequencer: BoundarySequencer | None,
        texts: dict[str, str | None],
        missed: Mapping[Frequency, int] | None,
        limit: int,
    ) -> None:
        self._frequencies = frequencies
        self._start_ns, self._end_ns = span_ns
        self._tz = tz
        self._sequencer = sequencer
        self._texts = texts
        # Which words of a record to compare: a text that may be any is left out.
        self._words = np.repeat([True, *(text is not None for text in texts.values())], [4, 4, 8])
        self._missed = missed
        self._limit = limit
        self._lanes: dict[Frequency, Lane] = {}
        self._latest = self._previous = (self._start_ns or 0, 0)  # boundary and frequency: the order of a stream
        self._counts = dict.fromkeys(FaultKind, 0)
        self._faults: list[Fault] = []
        self._left = 0
        if self._start_ns is not None:
            self._begin(self._start_ns, 0)

    def feed(self, records: Records) -> None:
        """Take in the next events."""
        checked_records(records)
        for start in range(0, len(records), CHUNK):
            self._take(np.ascontiguousarray(records[start : start + CHUNK]))

    def report(self) -> Report:
        """Return what was found."""
        missed: dict[Frequency, int] = {}
        expected = found = 0
        for frequency, lane in self._lanes.items():
            expected += lane.finish(self._lane_end_ns(frequency))
            found += lane.found
            missed[frequency] = self._judge_gaps(lane)
        self._faults.sort(key=lambda fault: (fault.first_ns, fault.frequency))
        end_ns = self._end_ns
        if end_ns is None and self._lanes:
            end_ns = self._latest[0] + SECOND_NS if found else self._start_ns
        return Report(
            start_ns=self._start_ns,
            end_ns=end_ns,
            found=found,
            expected=expected,
            missed=missed,
            counts=self._counts,
            faults=tuple(self._faults[: self._limit]),
            faults_left=self._left + max(0, len(self._faults) - self._limit),
        )

    def _begin(self, start_ns: int, frequency_there: int) -> None:
        """Open a lane for each frequency, at the start of the range or at its first event."""
        for frequency in self._frequencies:
            # What falls together with the first event and stands before it is before the range.
            self._lanes[frequency] = Lane(frequency, self._tz, start_ns + (frequency < frequency_there))
        self._start_ns = start_ns

    def _lane_end_ns(self, frequency: Frequency) -> int:
        if self._end_ns is not None:
            return self._end_ns
        latest_ns, latest = self._latest
        return latest_ns + (frequency <= latest)

    def _take(self, records: Records) -> None:
        if not self._lanes:
            self._begin_with(records)
        stamps, numbers = records["timestamp"], records["frequency"]
        ranks = np.full(len(records), -1, np.int64)
        inside = np.full(len(records), bool(self._lanes))
        if self._start_ns is not None:
            inside &= stamps >= self._start_ns
        if self._end_ns is not None:
            inside &= stamps < self._end_ns
        chosen = {frequency: np.flatnonzero(inside & (numbers == frequency)) for frequency in self._lanes}
        for frequency, where in chosen.items():
            ranks[where] = self._lanes[frequency].ranks(stamps[where])
        self._report_foreign(records, ranks < 0)
        self._check_order(records, ranks >= 0)
        for frequency, where in chosen.items():
            sound = where[ranks[where] >= 0]
            if len(sound):
                self._check_lane(self._lanes[frequency], records.take(sound), ranks[sound])

    def _begin_with(self, records: Records) -> None:
        """Begin with the first event that may be one, if there is any."""
        for stamp, number in zip(records["timestamp"].tolist(), records["frequency"].tolist(), strict=True):
            inside = (self._sequencer is None or stamp >= 0) and (self._end_ns is None or stamp < self._end_ns)
            if inside and number in self._frequencies and count_boundaries(number, stamp, stamp + 1, self._tz):
                self._begin(stamp, number)
                return

    def _report_foreign(self, records: Records, foreign: npt.NDArray[np.bool_]) -> None:
        texts = ", ".join(frequency.label for frequency in self._frequencies)
        for _, record, event_id in self._named(FaultKind.FOREIGN, records, foreign):
            number, stamp = int(record["frequency"]), int(record["timestamp"])
            if number not in self._frequencies:
                detail = f"event {event_id}, expected only {texts}"
            elif not (self._start_ns or stamp) <= stamp < (stamp + 1 if self._end_ns is None else self._end_ns):
                detail = f"event {event_id} is outside the range"
            else:
                detail = f"event {event_id} is on no boundary in {self._tz}"
            self._add(FaultKind.FOREIGN, record, detail)

    def _check_order(self, records: Records, sound: npt.NDArray[np.bool_]) -> None:
        where = np.flatnonzero(sound)
        if not len(where):
            return
        # Boundaries are whole seconds: a frequency added to one sorts those that fall together.
        stamps, numbers = records["timestamp"][where], records["frequency"][where]
        keys = np.concatenate([[sum(self._previous)], stamps + numbers])
        late = np.zeros(len(records), np.bool_)
        late[where] = keys[1:] < keys[:-1]
        for _, record, event_id in self._named(FaultKind.DISORDERED, records, late):
            self._add(FaultKind.DISORDERED, record, f"event {event_id} comes after a later one")
        greatest = int(np.argmax(keys[1:]))
        self._previous = int(stamps[-1]), int(numbers[-1])
        self._latest = max(self._latest, (int(stamps[greatest]), int(numbers[greatest])))

    def _check_lane(self, lane: Lane, records: Records, ranks: npt.NDArray[np.int64]) -> None:
        stamps, sequences = (np.ascontiguousarray(records[field]) for field in ("timestamp", "sequence"))
        duplicate, unfit = lane.take(stamps, ranks, sequences)
        for _, record, event_id in self._named(FaultKind.DUPLICATE, records, duplicate):
            self._add(FaultKind.DUPLICATE, record, f"event {event_id}, but its boundary was there before")
        if self._sequencer is not None:
            sequences = self._sequencer.sequences(lane.frequency, stamps)
            unfit[:] = False
        texts = [text or "" for text in self._texts.values()]
        wanted = build_events(lane.frequency, stamps, sequences, *texts)
        shape = len(records), len(self._words)
        differs = (records.view("<u8").reshape(shape) != wanted.view("<u8").reshape(shape))[:, self._words].any(axis=1)
        altered = (differs | unfit) & ~duplicate
        for at, record, event_id in self._named(FaultKind.ALTERED, records, altered):
            wrong = "; ".join(self._differences(record, wanted[at]))
            detail = wrong or f"sequence {record['sequence']} does not fit between its neighbours'"
            self._add(FaultKind.ALTERED, record, f"event {event_id} has {detail}")

    def _differences(self, found: np.void, wanted: np.void) -> list[str]:
        fields = [field for field in EVENT_DTYPE.names or () if self._texts.get(field, "") is not None]
        different = [field for field in fields if found[field] != wanted[field]]
        if not different:
            return [] if found.tobytes() == wanted.tobytes() else ["bytes behind the end of a text"]
        return [f"{field} {found[field]}, expected {wanted[field]}" for field in different]

    def _judge_gaps(self, lane: Lane) -> int:
        """Report the gaps of a frequency that nothing explains; return how many boundaries are known to be missed."""
        told = None
        if self._missed is not None:
            told = sum(count for each, count in self._missed.items() if Frequency.parse(each) is lane.frequency)
        missed, unexplained = 0, list[Gap]()
        for gap in lane.gaps:
            if self._sequencer is not None or gap.before is None or gap.after is None:
                unexplained.append(gap)
                continue
            used = min(max(gap.after - gap.before - 1, 0), gap.count)
            missed += gap.count - used
            if used:
                others = f"; the other {gap.count - used} were never emitted" if used < gap.count else ""
                self._add_gap(lane, gap, used, f"not there, though numbered{others}")
        rest = sum(gap.count for gap in unexplained)
        if told is not None and missed + rest <= told:
            return missed + rest
        for gap in unexplained:
            self._add_gap(lane, gap, gap.count, "nothing there")
        if told is not None and missed > told and lane.gaps:
            whole = Gap(0, missed - told, lane.gaps[0].first_ns, lane.gaps[-1].last_ns, None, None)
            detail = f"never emitted were {missed}, but the producer counted only {told} as missed"
            self._add_gap(lane, whole, missed - told, detail)
        return missed

    def _add_gap(self, lane: Lane, gap: Gap, count: int, detail: str) -> None:
        if self._sequencer is not None:
            stamps = np.array([gap.first_ns, gap.last_ns][: gap.count], np.int64)
            sequences = self._sequencer.sequences(lane.frequency, stamps)
            detail = " to ".join(event_ids(build_events(lane.frequency, stamps, sequences, "", "")).tolist())
        self._counts[FaultKind.ABSENT] += count
        self._faults.append(Fault(FaultKind.ABSENT, lane.frequency, gap.first_ns, gap.last_ns, count, detail))

    def _named(
        self, kind: FaultKind, records: Records, wrong: npt.NDArray[np.bool_]
    ) -> Iterable[tuple[int, np.void, str]]:
        """Count the wrong ones, and return as many of them as there is room for, each with its place and its id."""
        where = np.flatnonzero(wrong)
        if not len(where):
            return ()
        self._counts[kind] += len(where)
        room = max(0, self._limit - len(self._faults))
        self._left += max(0, len(where) - room)
        where = where[:room]
        chosen = records[where]
        return zip(where.tolist(), chosen, event_ids(chosen).tolist(), strict=True)

    def _add(self, kind: FaultKind, record: np.void, detail: str) -> None:
        stamp, number = int(record["timestamp"]), int(record["frequency"])
        frequency = Frequency(number) if number in _FREQUENCIES else Frequency.UNKNOWN
        self._faults.append(Fault(kind, frequency, stamp, stamp, 1, detail))

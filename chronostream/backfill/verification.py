"""Compare events with what they must be, and name each that is absent, foreign, duplicate, altered or out of order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from sys import maxsize
from typing import get_args

import numpy as np
import numpy.typing as npt

from chronostream._renamed import renamed
from chronostream._values import SECOND_NS, Instant, open_range
from chronostream.backfill.expectation import CHUNK
from chronostream.backfill.report import Fault, FaultKind, Report
from chronostream.calendar.calendar import Calendar
from chronostream.calendar.gaps import Coverage, Gap
from chronostream.calendar.order import in_range, key_before, order_keys, upto_ns
from chronostream.errors import InvalidTypeError, InvalidValueError
from chronostream.event import EVENT_DTYPE, Frequency, build_events, checked_records, encode_text, event_ids
from chronostream.ring.records import checked_limit
from chronostream.stream.config import SequencerKind

__all__ = ["Records", "verify"]

Records = npt.NDArray[np.void]

_FREQUENCIES = frozenset(Frequency)
_NOT_ASCII = 0x80


@renamed(tz="timezone", version="producer_version", instance="instance_id")
def verify(
    records: Records | Iterable[Records],
    frequencies: Iterable[Frequency | str | int],
    start_ns: Instant | None = None,
    end_ns: Instant | None = None,
    *,
    timezone: str = "UTC",
    sequencer: SequencerKind = "boundary",
    producer_version: str | None = None,
    instance_id: str | None = None,
    missed: Mapping[Frequency, int] | None = None,
    limit: int = 1000,
) -> Report:
    """Compare the events of a range with what they must be.

    With the boundary sequencer, everything in an event follows from its boundary. With a counting one, its sequence
    follows from the event before. There, a boundary without an event was missed if no number was used for it, and is
    absent otherwise.

    Args:
        records: the events in the order of the stream: an array of `EVENT_DTYPE`, shape ``(n,)``, or an iterable of
            such, of which one at a time is held.
        frequencies: of which there must be events.
        start_ns: start of the range, from 1970 on for a boundary sequencer; the first event by default.
        end_ns: end of the range (exclusive); just behind the last event by default.
        timezone: IANA time zone of hours and days.
        sequencer: ``"boundary"``, or ``"counting"``.
        producer_version: the version text that each event must carry; any by default.
        instance_id: the instance that each event must carry; any by default.
        missed: per frequency, how many boundaries the producer counted as missed: so many may be without an event.
        limit: how many faults to describe; all are counted.
    """
    chosen = Frequency.parse_all(frequencies)
    calendar = Calendar.for_zone(timezone)
    if not isinstance(records, Iterable):
        raise InvalidTypeError(f"records are {type(records).__name__}, expected arrays of EVENT_DTYPE")
    if missed is not None and not isinstance(missed, Mapping):
        raise InvalidTypeError(f"missed is {type(missed).__name__}, expected a number for each frequency")
    if sequencer not in get_args(SequencerKind):
        raise InvalidValueError(f"sequencer is {sequencer!r}, expected one of {', '.join(get_args(SequencerKind))}")
    computed = sequencer == "boundary"
    low_ns, high_ns = open_range(start_ns, end_ns)
    if low_ns is not None and computed:
        calendar.sequence(chosen[0], low_ns)  # It refuses what lies before 1970.
    texts = {"producer_version": producer_version, "instance_id": instance_id}
    for field, text in texts.items():
        if text is not None:
            encode_text(field, text)
    verifier = _Verifier(calendar, chosen, (low_ns, high_ns), texts, checked_limit(limit, maxsize), computed=computed)
    for part in (records,) if isinstance(records, np.ndarray) else records:
        verifier.feed(part)
    # Last, because `verify_stream` fills it while the records are read.
    allowed = None if missed is None else {Frequency.parse(each): count for each, count in missed.items()}
    return verifier.report(allowed)


class _Verifier:
    """Takes in the events of a stream in its order, and collects what is wrong with them."""

    def __init__(
        self,
        calendar: Calendar,
        frequencies: tuple[Frequency, ...],
        range_ns: tuple[int | None, int | None],
        texts: dict[str, str | None],
        limit: int,
        *,
        computed: bool,
    ) -> None:
        self._calendar = calendar
        self._frequencies = frequencies
        self._start_ns, self._end_ns = range_ns
        self._texts = texts
        # Which words of a record to compare: not those of a text that the caller leaves open.
        self._words = np.repeat([True, *(text is not None for text in texts.values())], [4, 4, 8])
        self._limit = limit
        self._computed = computed  # whether sequences follow from boundaries
        self._coverages: dict[Frequency, Coverage] = {}
        self._previous_key = self._latest_key = 0
        self._counts = dict.fromkeys(FaultKind, 0)
        self._faults: list[Fault] = []
        self._left = 0
        if self._start_ns is not None:
            self._begin(key_before(self._start_ns))

    def feed(self, records: Records) -> None:
        """Take in the next events."""
        checked_records(records)
        for start in range(0, len(records), CHUNK):
            self._take(np.ascontiguousarray(records[start : start + CHUNK]))

    def report(self, allowed: Mapping[Frequency, int] | None) -> Report:
        """Return what was found, if `allowed` boundaries of each frequency may be without an event."""
        missed: dict[Frequency, int] = {}
        expected = found = 0
        for frequency, coverage in self._coverages.items():
            behind_ns = upto_ns(self._latest_key, frequency) + 1 if self._end_ns is None else self._end_ns
            expected += coverage.count(behind_ns)
            found += coverage.found
            own_allowed = None if allowed is None else allowed.get(frequency, 0)
            missed[frequency] = self._judge_gaps(coverage.gaps(behind_ns), own_allowed)
        self._faults.sort(key=lambda fault: (fault.first_ns, fault.frequency))
        end_ns = self._end_ns
        if end_ns is None and self._coverages:
            end_ns = self._latest_key // SECOND_NS * SECOND_NS + SECOND_NS if found else self._start_ns
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

    def _begin(self, first_key: int) -> None:
        """Begin the range of each frequency with the first event at or behind an order key."""
        self._previous_key = self._latest_key = first_key
        for frequency in self._frequencies:
            start_ns = upto_ns(first_key - 1, frequency) + 1
            self._coverages[frequency] = Coverage(self._calendar, frequency, start_ns, counted=not self._computed)

    def _take(self, records: Records) -> None:
        if not self._coverages:
            self._begin_with(records)
        stamps, numbers = records["timestamp"], records["frequency"]
        ranks = np.full(len(records), -1, np.int64)
        inside = in_range(records, self._start_ns, self._end_ns)
        chosen = {frequency: np.flatnonzero(inside & (numbers == frequency)) for frequency in self._coverages}
        for frequency, where in chosen.items():
            ranks[where] = self._coverages[frequency].ranks(stamps[where])
        self._report(FaultKind.FOREIGN, records, ranks < 0, lambda at: self._describe_foreign(records[at]))
        self._check_order(records, ranks >= 0)
        for frequency, where in chosen.items():
            sound = where[ranks[where] >= 0]
            if len(sound):
                self._check_sound(self._coverages[frequency], records.take(sound), ranks[sound])

    def _begin_with(self, records: Records) -> None:
        """Begin with the first event that is on a boundary of the range, if there is one."""
        for stamp, number in zip(records["timestamp"].tolist(), records["frequency"].tolist(), strict=True):
            inside = (stamp >= 0 or not self._computed) and (self._end_ns is None or stamp < self._end_ns)
            if inside and number in self._frequencies and self._is_boundary(number, stamp):
                self._start_ns = stamp
                self._begin(stamp + number)
                return

    def _is_boundary(self, number: int, stamp: int) -> bool:
        return self._calendar.count(Frequency(number), stamp, stamp + 1) > 0

    def _check_order(self, records: Records, sound: npt.NDArray[np.bool_]) -> None:
        keys = np.concatenate([[self._previous_key], order_keys(records)[sound]])
        late = np.zeros(len(records), np.bool_)
        late[sound] = keys[1:] < keys[:-1]
        self._report(FaultKind.DISORDERED, records, late, lambda _: " comes after a later one")
        self._previous_key = int(keys[-1])
        self._latest_key = max(self._latest_key, int(keys.max()))

    def _check_sound(self, coverage: Coverage, records: Records, ranks: npt.NDArray[np.int64]) -> None:
        """Check events of one frequency that are on boundaries of the range."""
        stamps, sequences = (np.ascontiguousarray(records[field]) for field in ("timestamp", "sequence"))
        duplicate, unfit = coverage.add(stamps, ranks, sequences)
        self._report(FaultKind.DUPLICATE, records, duplicate, lambda _: ", but its boundary was there before")
        if self._computed:
            sequences = self._calendar.sequences(coverage.frequency, stamps)
        texts = [text or "" for text in self._texts.values()]
        expected = build_events(coverage.frequency, stamps, sequences, *texts)
        shape = len(records), len(self._words)
        words, expected_words = (each.view("<u8").reshape(shape) for each in (records, expected))
        differs = (words != expected_words)[:, self._words].any(axis=1)
        malformed = {field: _malformed(records, field) for field, text in self._texts.items() if text is None}
        altered = np.logical_or.reduce([differs, unfit, *malformed.values()]) & ~duplicate
        compared = [field for field in EVENT_DTYPE.names or () if field not in malformed]

        def describe(at: int) -> str:
            found = records[at]
            reasons = [f"sequence {sequences[at]}, which does not fit between its neighbours'"] if unfit[at] else []
            # The seed follows from the sequence, so it is no reason of its own.
            reasons += [
                f"{field} {found[field]}, expected {expected[at][field]}"
                for field in compared
                if found[field] != expected[at][field] and (field != "seed" or not unfit[at])
            ]
            reasons += [
                f"{field} {found[field]}, not UTF-8 padded with NUL" for field, wrong in malformed.items() if wrong[at]
            ]
            return f" has {'; '.join(reasons) or 'bytes behind the end of a text'}"

        self._report(FaultKind.ALTERED, records, altered, describe)

    def _describe_foreign(self, record: np.void) -> str:
        number, stamp = int(record["frequency"]), int(record["timestamp"])
        if number not in self._frequencies:
            return f", expected only {', '.join(frequency.label for frequency in self._frequencies)}"
        if self._is_boundary(number, stamp):
            return " is outside the range"
        if number in (Frequency.SECOND, Frequency.MINUTE):
            return " is on no boundary"
        return f" is on no boundary in {self._calendar.timezone} by this host's zone data, {self._calendar.zone_data}"

    def _report(
        self, kind: FaultKind, records: Records, wrong: npt.NDArray[np.bool_], describe: Callable[[int], str]
    ) -> None:
        """Count the wrong records, and describe them up to the limit."""
        where = np.flatnonzero(wrong)
        room = max(0, self._limit - len(self._faults))
        self._counts[kind] += len(where)
        self._left += max(0, len(where) - room)
        where = where[:room]
        for at, event_id in zip(where.tolist(), event_ids(records[where]).tolist(), strict=True):
            stamp, number = int(records["timestamp"][at]), int(records["frequency"][at])
            frequency = Frequency(number) if number in _FREQUENCIES else Frequency.UNKNOWN
            self._faults.append(Fault(kind, frequency, stamp, stamp, 1, f"event {event_id}{describe(at)}"))

    def _judge_gaps(self, gaps: list[Gap], allowed: int | None) -> int:
        """Report the gaps of a frequency that are not explained; return how many boundaries were missed."""
        missed, unexplained = 0, list[Gap]()
        for gap in gaps:
            if self._computed or gap.sequences is None:
                unexplained.append(gap)
                continue
            used = min(len(gap.sequences), gap.boundaries)
            missed += gap.boundaries - used
            if used:
                others = f"; the other {gap.boundaries - used} were never emitted" if used < gap.boundaries else ""
                self._add_gap(gap, used, f"not there, though numbered{others}")
        rest = sum(gap.boundaries for gap in unexplained)
        if allowed is not None and missed + rest <= allowed:
            return missed + rest
        for gap in unexplained:
            self._add_gap(gap, gap.boundaries, "nothing there")
        if allowed is not None and missed > allowed and gaps:
            whole = replace(gaps[0], last_ns=gaps[-1].last_ns)
            detail = f"never emitted were {missed}, but the producer counted only {allowed} as missed"
            self._add_gap(whole, missed - allowed, detail)
        return missed

    def _add_gap(self, gap: Gap, count: int, detail: str) -> None:
        if self._computed:
            stamps = np.array([gap.first_ns, gap.last_ns][: gap.boundaries], np.int64)
            sequences = self._calendar.sequences(gap.frequency, stamps)
            detail = " to ".join(event_ids(build_events(gap.frequency, stamps, sequences, "", "")).tolist())
        self._counts[FaultKind.ABSENT] += count
        self._faults.append(Fault(FaultKind.ABSENT, gap.frequency, gap.first_ns, gap.last_ns, count, detail))


def _malformed(records: Records, field: str) -> npt.NDArray[np.bool_]:
    """Return which records have a text that `build_events` could not have written: bool, shape ``(n,)``."""
    dtype, start = EVENT_DTYPE.fields[field][:2]  # type: ignore[index]
    text = records.view(np.uint8).reshape(len(records), -1)[:, start : start + dtype.itemsize]
    malformed: npt.NDArray[np.bool_] = ((text[:, 1:] != 0) & (text[:, :-1] == 0)).any(axis=1)
    for at in np.flatnonzero((text >= _NOT_ASCII).any(axis=1)).tolist():
        try:
            text[at].tobytes().decode()
        except UnicodeDecodeError:
            malformed[at] = True
    return malformed

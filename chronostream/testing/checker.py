"""What must hold whatever happens, checked from outside: by the events, and by what the engine keeps with them.

It applies the rules of docs/time.md by itself, with the boundaries of `chronostream.calendar`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt

from chronostream._values import SECOND_NS
from chronostream.calendar.calendar import Calendar
from chronostream.calendar.order import order_keys
from chronostream.event import EVENT_DTYPE, Frequency, build_mixed_events
from chronostream.scheduler import Condition, FrequencyState
from chronostream.stream.state import StateReader
from chronostream.testing.host import Emitted, SimulatedHost

__all__ = ["Checker", "Violation", "check_agreement"]


class Violation(Exception):  # noqa: N818 - it never leaves this package
    """Something that must hold does not; the message says what."""


class Checker:
    """Checks one host, again and again."""

    def __init__(self, host: SimulatedHost) -> None:
        self._host = host
        self._own = host.calendar
        self._seen = {Frequency.parse(frequency): _Seen() for frequency in host.config.frequencies}
        self._last_key = 0

    @property
    def events(self) -> dict[Frequency, int]:
        """How many events of each frequency it saw."""
        return {frequency: seen.count for frequency, seen in self._seen.items()}

    def check(self) -> None:
        """Check what was emitted since the last call, and the engine's state now; raise a `Violation`."""
        emitted = self._host.emitted()
        if len(emitted.records):
            self._check_whole(emitted)
            for calendar, records in emitted.by_calendar():
                for frequency in self._seen:
                    self._check_events(frequency, records[records["frequency"] == frequency], calendar)
        self._check_ring(emitted)
        self._check_state()

    def identities(self, frequency: Frequency) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """Return timestamps and sequences of a frequency's events, shape ``(n,)``; none with other zone data."""
        seen = self._seen[frequency]
        return (
            np.concatenate([np.empty(0, np.int64), *seen.stamps]),
            np.concatenate([np.empty(0, np.uint64), *seen.sequences]),
        )

    def _check_whole(self, emitted: Emitted) -> None:
        """Check the events of all frequencies together: punctuality, order, and every byte."""
        records = emitted.records
        _check_no_event(records["timestamp"] > emitted.seen_ns, records, "early")
        keys = np.concatenate([[self._last_key], order_keys(records)])
        _check_no_event(keys[1:] <= keys[:-1], records, "not behind the event before it")
        self._last_key = int(keys[-1])
        texts = self._host.config.producer_version, self._host.config.instance_id
        expected = build_mixed_events(records["frequency"], records["timestamp"], records["sequence"], *texts)
        known = np.isin(records["frequency"], list(self._seen))
        _check_no_event((records != expected) | ~known, records, "not what its boundary makes it")

    def _check_events(self, frequency: Frequency, records: npt.NDArray[np.void], calendar: Calendar) -> None:
        """Check the events of one frequency that were made with one calendar."""
        if not len(records):
            return
        seen, stamps, sequences = self._seen[frequency], records["timestamp"].copy(), records["sequence"].copy()
        ranks = calendar.ranks(frequency, stamps, int(stamps.min()))
        _check_none(ranks < 0, stamps, f"{frequency.label} event on no boundary of {calendar.timezone}")
        before = np.concatenate([[np.uint64(seen.last_sequence)], sequences[:-1]])
        if self._host.config.sequencer == "counting":
            _check_none(sequences != before + np.uint64(1), sequences, f"{frequency.label} sequence does not follow")
        else:
            right = calendar.sequences(frequency, stamps)
            _check_none(sequences != right, sequences, f"{frequency.label} sequence is not its boundary's")
            _check_none(sequences <= before, sequences, f"{frequency.label} sequence does not increase")
        if calendar is self._own:
            seen.stamps.append(stamps)
            seen.sequences.append(sequences)
        seen.last_sequence = int(sequences[-1])
        seen.count += len(stamps)

    def _check_ring(self, emitted: Emitted) -> None:
        """Check that a consumer finds what was published, across takeovers, as far as the ring holds it."""
        found = self._host.read()
        expected = emitted.records[max(0, len(emitted.records) - len(found)) :]
        if found.tobytes() != expected.tobytes():
            raise Violation(f"the ring holds {len(found)} events that are not the last ones published")
        room = self._host.engine.ring.capacity
        if len(found) < min(len(emitted.records), room):
            raise Violation(f"the ring holds {len(found)} of {len(emitted.records)} events, but has room for {room}")

    def _check_state(self) -> None:
        state = StateReader(self._host.engine.ring.application)
        checkpoint, (condition, _) = state.checkpoint(), state.condition()
        if self._host.clock.is_doubted and any(self.events.values()):
            raise Violation("there are events of a clock that was in doubt from the start")
        if self._host.clock.is_doubted and condition is Condition.QUARANTINED:
            return
        if checkpoint is None:
            raise Violation("there is no whole checkpoint")
        for known in checkpoint.scheduler.frequencies:
            self._check_count(known)
            if condition is not Condition.QUARANTINED:
                self._check_progress(known)
        now_ns = self._host.clock.realtime_ns()
        if self._host.deadline_ns <= now_ns:
            raise Violation(f"the engine wants to look again at {self._host.deadline_ns}, and it is {now_ns} already")
        if condition is Condition.QUARANTINED:
            self._check_quarantine()

    def _check_count(self, known: FrequencyState) -> None:
        since_ns, accounted = self._host.accounts[known.frequency]
        passed = accounted + self._host.calendar.count(known.frequency, since_ns + 1, known.floor_ns + 1)
        count = self._seen[known.frequency].count
        if count + known.missed != passed:
            raise Violation(
                f"of {passed} {known.frequency.label} boundaries {count} were emitted and {known.missed} counted as "
                f"missed: {passed - count - known.missed} are unaccounted for"
            )

    def _check_progress(self, known: FrequencyState) -> None:
        due_ns = self._host.calendar.next(known.frequency, known.floor_ns)
        now_ns = self._host.clock.realtime_ns()
        if due_ns <= now_ns:
            raise Violation(f"{known.frequency.label} {due_ns} is neither emitted nor missed at {now_ns}")

    def _check_quarantine(self) -> None:
        since_ns = self._host.calm_since_ns
        limit_ns = round(self._host.config.settle_s * SECOND_NS)
        if since_ns is not None and self._host.clock.boottime_ns() - since_ns > limit_ns:
            raise Violation(f"still in quarantine, though the clock was not set for {self._host.config.settle_s} s")


@dataclass(slots=True)
class _Seen:
    """The events of one frequency so far."""

    count: int = 0
    last_sequence: int = 0
    stamps: list[npt.NDArray[np.int64]] = field(default_factory=list)
    sequences: list[npt.NDArray[np.uint64]] = field(default_factory=list)


def check_agreement(checkers: Iterable[Checker]) -> None:
    """Check that hosts give the events of the same boundaries the same identity; raise a `Violation`."""
    for one, other in combinations(checkers, 2):
        for frequency in one.events:
            stamps, sequences = one.identities(frequency)
            others, their_sequences = other.identities(frequency)
            shared, here, there = np.intersect1d(stamps, others, assume_unique=True, return_indices=True)
            differs = sequences[here] != their_sequences[there]
            _check_none(differs, shared, f"hosts disagree on the id of the {frequency.label} event")


def _check_no_event(wrong: npt.NDArray[np.bool_], records: npt.NDArray[np.void], what: str) -> None:
    if wrong.any():
        row = records[int(np.argmax(wrong))]
        fields = ", ".join(f"{name} {row[name]}" for name in EVENT_DTYPE.names or ())
        raise Violation(f"{int(wrong.sum())} events are {what}, the first: {fields}")


def _check_none(wrong: npt.NDArray[np.bool_], numbers: npt.NDArray[np.generic], what: str) -> None:
    if wrong.any():
        raise Violation(f"{what}: {numbers[int(np.argmax(wrong))]}, and {int(wrong.sum()) - 1} more")

"""What a verification found, as plain values and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

from chronostream._values import instant_text
from chronostream.event import Frequency

__all__ = ["Fault", "FaultKind", "Report"]


class FaultKind(Enum):
    """What can be wrong with an event."""

    ABSENT = "absent"
    """It should be there, and is not."""
    FOREIGN = "foreign"
    """It should not be there: it is on no boundary of these frequencies, or outside the range."""
    DUPLICATE = "duplicate"
    """An event of its boundary came before."""
    ALTERED = "altered"
    """Its boundary is right, but another field is not."""
    DISORDERED = "disordered"
    """It comes after a later one."""
    UNREADABLE = "unreadable"
    """A message in JetStream is no event at all; its time is when JetStream stored it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One event that is wrong, or a run of consecutive boundaries without one.

    Attributes:
        frequency: of the event; ``UNKNOWN`` for a number that no `Frequency` has.
        first_ns: its timestamp, or that of the first boundary of the run, Unix nanoseconds.
        last_ns: likewise, or that of the last boundary of the run.
        count: how many events: 1, or those that are absent within the run.
        detail: what was found and expected.
    """

    kind: FaultKind
    frequency: Frequency
    first_ns: int
    last_ns: int
    count: int
    detail: str

    def __str__(self) -> str:
        span = instant_text(self.first_ns)
        if self.last_ns != self.first_ns:
            span = f"{self.count} events, {span} to {instant_text(self.last_ns)}"
        return f"{self.kind.value} {self.frequency.label} {span}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found.

    Attributes:
        start_ns: start of the range, Unix nanoseconds; None if neither the caller nor an event gives it.
        end_ns: end of the range (exclusive), likewise.
        found: boundaries that have their event.
        expected: boundaries of the range.
        missed: per frequency, boundaries that the producer knows it never emitted; no fault.
        counts: how many events each kind of fault concerns.
        faults: the first ones by time, up to the limit.
        faults_left: how many more there are.
    """

    start_ns: int | None
    end_ns: int | None
    found: int
    expected: int
    missed: dict[Frequency, int]
    counts: dict[FaultKind, int]
    faults: tuple[Fault, ...]
    faults_left: int

    def with_unreadable(self, faults: Sequence[Fault], limit: int) -> Report:
        """Return the report with more faults, of kind ``UNREADABLE``; at most `limit` are described in all."""
        described = sorted((*self.faults, *faults), key=lambda fault: fault.first_ns)
        return replace(
            self,
            counts=self.counts | {FaultKind.UNREADABLE: len(faults)},
            faults=tuple(described[:limit]),
            faults_left=self.faults_left + len(described[limit:]),
        )

    @property
    def ok(self) -> bool:
        """Whether every event is there, once, in order, and what it must be."""
        return not any(self.counts.values())

    def lines(self) -> Iterator[str]:
        """Yield the report as text: each fault, and a summary."""
        yield from map(str, self.faults)
        if self.faults_left:
            yield f"… and {self.faults_left} more"
        wrong = [f"{count} {kind.value}" for kind, count in self.counts.items() if count]
        wrong += [f"{count} {frequency.label} missed" for frequency, count in self.missed.items() if count]
        span = "nothing"
        if self.start_ns is not None:
            span = f"{instant_text(self.start_ns)} to {instant_text(self.end_ns or 0)}"
        verdict = "ok" if self.ok else "FAILED"
        yield f"{verdict}: {span}, {self.found} of {self.expected} events{''.join(f', {text}' for text in wrong)}"

    def as_dict(self) -> dict[str, Any]:
        """Return the same as plain values for JSON."""
        plain = {"ok": self.ok, **asdict(self)}
        plain["missed"] = {frequency.label: count for frequency, count in self.missed.items()}
        plain["counts"] = {kind.value: count for kind, count in self.counts.items()}
        plain["faults"] = [
            each | {"kind": each["kind"].value, "frequency": each["frequency"].label} for each in plain["faults"]
        ]
        return plain

"""What a stream must hold: the events of a range, computed from the boundaries alone.

It rests on the boundary sequencer, which numbers alike on every host: so these are, byte for byte, the events that a
live producer with that sequencer emits when it misses none, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from chronostream._values import checked_int
from chronostream.calendar.boundaries import PERIOD_NS, boundaries, count_boundaries
from chronostream.calendar.sequencer import BoundarySequencer
from chronostream.errors import InvalidValueError
from chronostream.event import EVENT_DTYPE, Frequency, build_events, build_mixed_events
from chronostream.stream.config import default_instance
from chronostream.version import __version__

__all__ = ["CHUNK", "MAX_EVENTS", "count_expected", "expected", "expected_chunks"]

CHUNK = 1 << 14
"""Events made at once: 2 MiB, which a processor's cache still holds when they are copied into a ring."""

MAX_EVENTS = 1 << 26
"""The most that `expected` returns at once, two years of seconds: 8 GiB."""

# Records as bytes: an assignment between structured arrays goes field by field and takes several times as long.
_RAW = np.dtype(("V", EVENT_DTYPE.itemsize))


def expected(
    frequencies: Iterable[Frequency | str | int],
    start_ns: int,
    end_ns: int,
    tz: str = "UTC",
    version: str = __version__,
    instance: str | None = None,
) -> npt.NDArray[np.void]:
    """Return the events of the boundaries ``start_ns <= b < end_ns``.

    Args:
        frequencies: one or more of `Frequency`, as such, by name or by number.
        start_ns: Unix nanoseconds, from 1970 on.
        end_ns: Unix nanoseconds, not before `start_ns`; equal means an empty range.
        tz: IANA time zone of hours and days.
        version: the producer's version text, at most 32 bytes of UTF-8.
        instance: the producer's name, at most 64 bytes of UTF-8; this host's by default.

    Returns:
        An array of `EVENT_DTYPE`, shape ``(n,)``, by boundary, and those that fall together shortest first.

    Raises:
        UnknownFrequencyError: not a frequency that events have.
        InvalidValueError: no frequency, an unknown time zone, a range that ends before it starts, begins before 1970
            or holds more than `MAX_EVENTS`, or a text that does not fit.
        InvalidTypeError: an argument is of the wrong kind.
    """
    chosen = Frequency.parse_all(frequencies)
    count = count_expected(chosen, start_ns, end_ns, tz)
    if count > MAX_EVENTS:
        raise InvalidValueError(
            f"{count} events between {start_ns} and {end_ns}, at most {MAX_EVENTS} fit one array: "
            "take the range in parts, or expected_chunks()"
        )
    events = np.empty(count, EVENT_DTYPE)
    raw, at = events.view(_RAW), 0
    for part in expected_chunks(chosen, start_ns, end_ns, tz, version, instance):
        raw[at : at + len(part)] = part.view(_RAW)
        at += len(part)
    return events


def expected_chunks(
    frequencies: Iterable[Frequency | str | int],
    start_ns: int,
    end_ns: int,
    tz: str = "UTC",
    version: str = __version__,
    instance: str | None = None,
    *,
    size: int = CHUNK,
) -> Iterator[npt.NDArray[np.void]]:
    """Yield what `expected` returns in parts of about `size` events, however long the range is.

    Arguments and errors are those of `expected`, with a size of at least 1; the errors come before the first part.
    """
    size = checked_int("size", size, 1)
    chosen = Frequency.parse_all(frequencies)
    sequencer = BoundarySequencer(tz)
    instance = default_instance() if instance is None else instance
    # Everything that could fail later on, now; the sequencer knows where its numbers begin.
    count_expected(chosen, start_ns, end_ns, tz)
    sequencer.peek(chosen[0], start_ns)
    build_events(chosen[0], [], [], version, instance)
    # Two hours of a zone may be closer than an hour: then a part is a little larger.
    stride_ns = max(1, int(size / sum(1 / PERIOD_NS[frequency] for frequency in chosen)))
    return _chunks(chosen, range(start_ns, end_ns, stride_ns), tz, sequencer, version, instance)


def count_expected(frequencies: Iterable[Frequency | str | int], start_ns: int, end_ns: int, tz: str = "UTC") -> int:
    """Return how many events `expected` would return, without making them; arguments and errors are its own."""
    chosen = Frequency.parse_all(frequencies)
    return sum(count_boundaries(frequency, start_ns, end_ns, tz) for frequency in chosen)


def _chunks(
    frequencies: tuple[Frequency, ...],
    starts: range,
    tz: str,
    sequencer: BoundarySequencer,
    version: str,
    instance: str,
) -> Iterator[npt.NDArray[np.void]]:
    for start_ns in starts:
        end_ns = min(start_ns + starts.step, starts.stop)
        stamps = [boundaries(frequency, start_ns, end_ns, tz) for frequency in frequencies]
        numbers = [sequencer.sequences(frequency, of) for frequency, of in zip(frequencies, stamps, strict=True)]
        if len(frequencies) == 1:
            if len(stamps[0]):
                yield build_events(frequencies[0], stamps[0], numbers[0], version, instance)
            continue
        every = np.concatenate(stamps)
        # Stable, and the shortest frequencies stand first: so do they where boundaries fall together.
        order = np.argsort(every, kind="stable")
        kinds = np.repeat(np.array(frequencies, np.uint8), [len(of) for of in stamps])[order]
        events = build_mixed_events(kinds, every[order], np.concatenate(numbers)[order], version, instance)
        if len(events):
            yield events

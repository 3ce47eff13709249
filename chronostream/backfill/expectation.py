"""What a stream must hold: the events of a range, computed from the boundaries alone.

The boundary sequencer numbers alike on every host. So these are, byte for byte and in the same order, the events that a
live producer with that sequencer emits when it misses none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from chronostream._renamed import renamed
from chronostream._values import Instant, checked_int, instant_range
from chronostream.calendar.calendar import PERIOD_NS, Calendar
from chronostream.errors import InvalidValueError
from chronostream.event import EVENT_DTYPE, Frequency, build_events, build_mixed_events
from chronostream.stream.config import default_instance
from chronostream.version import __version__

__all__ = ["CHUNK", "MAX_EVENTS", "count_expected", "expected", "expected_chunks"]

CHUNK = 1 << 14
"""Events made at once: 2 MiB, which stay in the processor's cache until they are copied into a ring."""

MAX_EVENTS = 1 << 26
"""The most that `expected` returns at once, two years of seconds: 8 GiB."""

# Records as bytes: an assignment between structured arrays goes field by field and takes several times as long.
_RAW = np.dtype(("V", EVENT_DTYPE.itemsize))


@renamed(tz="timezone", version="producer_version", instance="instance_id")
def expected(
    frequencies: Iterable[Frequency | str | int],
    start_ns: Instant,
    end_ns: Instant,
    timezone: str = "UTC",
    producer_version: str = __version__,
    instance_id: str | None = None,
) -> npt.NDArray[np.void]:
    """Return the events of the boundaries ``start_ns <= b < end_ns``.

    Args:
        frequencies: one or more of `Frequency`, as such, by name or by number.
        start_ns: start of the range, from 1970 on.
        end_ns: end of the range (exclusive).
        timezone: IANA time zone of hours and days.
        producer_version: the producer's version text, at most 32 bytes of UTF-8.
        instance_id: the producer's name, at most 64 bytes of UTF-8; this host's by default.

    Returns:
        An array of `EVENT_DTYPE`, shape ``(n,)``, at most `MAX_EVENTS`, in the order of a stream.
    """
    chosen = Frequency.parse_all(frequencies)
    count = count_expected(chosen, start_ns, end_ns, timezone)
    if count > MAX_EVENTS:
        raise InvalidValueError(
            f"{count} events between {start_ns} and {end_ns}, at most {MAX_EVENTS} fit one array: "
            "take the range in parts, or expected_chunks()"
        )
    events = np.empty(count, EVENT_DTYPE)
    raw, at = events.view(_RAW), 0
    for part in expected_chunks(chosen, start_ns, end_ns, timezone, producer_version, instance_id):
        raw[at : at + len(part)] = part.view(_RAW)
        at += len(part)
    return events


@renamed(tz="timezone", version="producer_version", instance="instance_id")
def expected_chunks(
    frequencies: Iterable[Frequency | str | int],
    start_ns: Instant,
    end_ns: Instant,
    timezone: str = "UTC",
    producer_version: str = __version__,
    instance_id: str | None = None,
    *,
    size: int = CHUNK,
) -> Iterator[npt.NDArray[np.void]]:
    """Yield what `expected` returns in parts of about `size` events, however long the range is.

    Arguments and errors are those of `expected`; the errors come before the first part.
    """
    size = checked_int("size", size, 1)
    chosen = Frequency.parse_all(frequencies)
    calendar = Calendar.for_zone(timezone)
    low_ns, high_ns = instant_range(start_ns, end_ns)
    texts = producer_version, default_instance() if instance_id is None else instance_id
    # Check now everything that could fail later.
    calendar.sequence(chosen[0], low_ns)
    build_events(chosen[0], [], [], *texts)
    # In some zones, two hour boundaries are closer than an hour: then a part is a little larger.
    stride_ns = max(1, int(size / sum(1 / PERIOD_NS[frequency] for frequency in chosen)))
    return _chunks(calendar, chosen, range(low_ns, high_ns, stride_ns), texts)


@renamed(tz="timezone")
def count_expected(
    frequencies: Iterable[Frequency | str | int], start_ns: Instant, end_ns: Instant, timezone: str = "UTC"
) -> int:
    """Return how many events `expected` would return, without making them; arguments and errors are its own."""
    calendar = Calendar.for_zone(timezone)
    low_ns, high_ns = instant_range(start_ns, end_ns)
    return sum(calendar.count(frequency, low_ns, high_ns) for frequency in Frequency.parse_all(frequencies))


def _chunks(
    calendar: Calendar, frequencies: tuple[Frequency, ...], starts: range, texts: tuple[str, str]
) -> Iterator[npt.NDArray[np.void]]:
    for start_ns in starts:
        end_ns = min(start_ns + starts.step, starts.stop)
        stamps = [calendar.between(frequency, start_ns, end_ns) for frequency in frequencies]
        numbers = list(map(calendar.sequences, frequencies, stamps))
        if len(frequencies) == 1:
            events = build_events(frequencies[0], stamps[0], numbers[0], *texts)
        else:
            together = np.concatenate(stamps)
            # A stable sort: events of one boundary stay in the order of the frequencies, the shortest first.
            order = np.argsort(together, kind="stable")
            kinds = np.repeat(np.array(frequencies, np.uint8), [len(each) for each in stamps])[order]
            events = build_mixed_events(kinds, together[order], np.concatenate(numbers)[order], *texts)
        if len(events):
            yield events

"""Common uses of a stream, each in one line: loop once a minute, look back, find what is missing.

::

    for event in cs.every("minute", "market-clock"): ...

    records = cs.history("market-clock", {"minute"}, start_ns=opened_ns, end_ns=closed_ns)
    for gap in cs.find_gaps(records): print(gap)

To follow a stream from some instant on, begin with the oldest event and drop those before::

    with cs.subscribe("market-clock", start="oldest") as events:
        for event in itertools.dropwhile(lambda event: event.timestamp < since_ns, events): ...
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

from chronostream._values import Instant, open_range
from chronostream.calendar.order import in_range
from chronostream.errors import InvalidTypeError, InvalidValueError, StreamMismatchError
from chronostream.event import EVENT_DTYPE, Event, Frequency, to_events
from chronostream.ring import Consumer
from chronostream.stream.events import EventStream, require_events, subscribe
from chronostream.stream.state import description_of

__all__ = ["LatestStream", "every", "history"]

_BATCH = 1 << 16


class LatestStream(EventStream):
    """A stream that catches up at once: of several events that wait, a loop gets the newest.

    Attributes:
        skipped: how many events the loop did not get, because a newer one was there.
    """

    skipped = 0

    def __next__(self) -> Event:
        """Return the newest event; block until there is one."""
        event = super().__next__()
        newer = self.read()
        if not len(newer):
            return event
        self.skipped += len(newer)
        return to_events(newer[-1:])[0]


@overload
def every(
    frequency: Frequency | str | int,
    name: str,
    *,
    coalesce: Literal["latest"],
    wait_s: float = ...,
    on_gone: Literal["wait", "raise"] = ...,
    label: str | None = ...,
    any_owner: bool = ...,
) -> LatestStream: ...
@overload
def every(
    frequency: Frequency | str | int,
    name: str,
    *,
    coalesce: Literal["all", "latest"] = ...,
    wait_s: float = ...,
    on_gone: Literal["wait", "raise"] = ...,
    label: str | None = ...,
    any_owner: bool = ...,
) -> EventStream: ...
def every(
    frequency: Frequency | str | int,
    name: str,
    *,
    coalesce: Literal["all", "latest"] = "all",
    wait_s: float = 0,
    on_gone: Literal["wait", "raise"] = "wait",
    label: str | None = None,
    any_owner: bool = False,
) -> EventStream:
    """Return the events to come of one frequency, to loop over: one turn for each boundary.

    With ``coalesce="all"``, a loop whose body took longer than a period gets all events in order; with ``"latest"``, it
    gets the last one only, and `LatestStream.skipped` counts the others. The other arguments are those of `subscribe`.

    Raises:
        StreamMismatchError: the stream does not emit this frequency, so that the loop would wait for ever.
        ChronoStreamError: as for `subscribe`.
    """
    frequency = Frequency.parse(frequency)
    if coalesce not in ("all", "latest"):
        raise InvalidValueError(f"coalesce is {coalesce!r}, expected one of 'all', 'latest'")
    stream = subscribe(name, {frequency}, wait_s=wait_s, on_gone=on_gone, label=label, any_owner=any_owner)
    try:
        description = description_of(stream.consumer)
        if description is not None and frequency not in description.frequencies:
            raise StreamMismatchError(
                f"stream {name!r} emits {description.labels}, requested was {frequency}: use one of those, or start a "
                f"stream with `--frequency {frequency}`"
            )
    except BaseException:
        stream.close()
        raise
    if coalesce == "latest":
        return LatestStream(stream.consumer, stream.frequencies, on_lost="count")
    return stream


def history(
    name: str,
    frequencies: Iterable[Frequency | str | int] | None = None,
    *,
    start_ns: Instant | None = None,
    end_ns: Instant | None = None,
    sequences: range | None = None,
    any_owner: bool = False,
) -> npt.NDArray[np.void]:
    """Return the events that a stream still holds, without registering as a consumer.

    Args:
        name: the stream's name.
        frequencies: which events; all of them if None.
        start_ns: start of the range; the oldest event that the ring holds if None.
        end_ns: end of the range (exclusive); up to now if None.
        sequences: only these sequences, of the one frequency that is given.
        any_owner: also trust a stream that another user's process made.

    Returns:
        An array of `EVENT_DTYPE` in the order of the stream. Events that the ring no longer holds are absent; if some
        are overwritten during the call, the array begins behind them. `find_gaps` lists what is absent.

    Raises:
        ChronoStreamError: as for `subscribe`.
    """
    chosen = None if frequencies is None else Frequency.parse_all(frequencies)
    if sequences is not None:
        if not isinstance(sequences, range):
            raise InvalidTypeError(f"sequences are {type(sequences).__name__}, expected a range")
        if sequences.step != 1:
            raise InvalidValueError(f"sequences are {sequences}, expected a range without a step")
        if chosen is None or len(chosen) != 1:
            raise InvalidValueError("sequences are numbered within a frequency: name the one that they belong to")
    low_ns, high_ns = open_range(start_ns, end_ns)
    parts: list[npt.NDArray[np.void]] = [np.empty(0, EVENT_DTYPE)]
    with require_events(Consumer.attach(name, register=False, any_owner=any_owner)) as consumer:
        end = consumer.position + consumer.lag
        while consumer.position < end:
            lost = consumer.lost
            records = consumer.read(min(_BATCH, end - consumer.position))
            if consumer.lost != lost:
                del parts[1:]  # Those before the loss are overwritten, too; to keep them would leave a gap.
            parts.append(records[_selected(records, chosen, low_ns, high_ns, sequences)])
    return np.concatenate(parts)


def _selected(
    records: npt.NDArray[np.void],
    frequencies: tuple[Frequency, ...] | None,
    start_ns: int | None,
    end_ns: int | None,
    sequences: range | None,
) -> npt.NDArray[np.bool_]:
    mask = in_range(records, start_ns, end_ns)
    if frequencies is not None:
        mask &= np.isin(records["frequency"], frequencies)
    if sequences is not None:
        mask &= (records["sequence"] >= max(sequences.start, 0)) & (records["sequence"] < max(sequences.stop, 0))
    return mask

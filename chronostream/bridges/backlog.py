"""The ring's side of a relay: the events that are still to be delivered, kept until it is known that they were."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chronostream.bridges.jetstream import Origin
from chronostream.calendar.calendar import Calendar
from chronostream.calendar.order import order_keys
from chronostream.errors import StreamMismatchError
from chronostream.event import EVENT_DTYPE, event_ids
from chronostream.stream.description import Description
from chronostream.stream.events import EventStream, subscribe
from chronostream.stream.state import open_state

__all__ = ["Backlog"]

_KEPT = 8192
_NOTHING = np.empty(0, EVENT_DTYPE)


class Backlog:
    """Reads a stream ahead, from the oldest event that the ring holds, and goes back when it must.

    Args:
        name: the stream's name.
        any_owner: also trust a stream that another user's process made.

    Attributes:
        stream: the subscription.
        description: what the stream is.
        sent: how many of the events that are kept were handed out and not confirmed yet.

    Raises:
        StreamMismatchError: neither an engine nor a mirror keeps with the stream what it is.
        ChronoStreamError: as for `chronostream.subscribe`.
    """

    def __init__(self, name: str, *, any_owner: bool = False) -> None:
        self._name = name
        self._any_owner = any_owner
        self._floor: int | None = None  # order key; what is not above it was delivered; None: nothing was
        self._floor_id: str | None = None  # of the event with this key, as far as it is known
        self.sent = 0
        self.stream = self._attach()
        self._kept = _NOTHING
        try:
            self.description = _describe(self.stream)
        except BaseException:
            self.close()
            raise

    def origin(self, name: str) -> Origin:
        """Return what the events are, for JetStream, where the stream is called `name`."""
        counting = self.description.sequencer == "counting"
        state = open_state(self.stream.consumer)
        kept = None if state is None else state.zone_data()
        return Origin(
            name=name,
            frequencies=self.description.frequencies,
            sequencer=self.description.sequencer,
            zone=Calendar.for_zone(self.description.timezone).zone_data if kept is None else kept.current,
            instance=self.stream.consumer.status().instance if counting else None,
        )

    @property
    def pending(self) -> int:
        """How many events are not confirmed."""
        return self.stream.lag + len(self._kept)

    @property
    def drained(self) -> bool:
        """Whether the stream is closed, and everything that was in it confirmed."""
        return self.stream.closed and not self.pending

    def rewind(self, key: int | None, event_id: str | None) -> int:
        """Go on behind the order key of an event that was delivered, by whoever; from the oldest if it is None.

        Returns:
            How many events that were kept had been delivered.

        Raises:
            StreamMismatchError: the same boundary has another id here.
        """
        self.sent = 0
        if self._floor is not None and (key is None or key < self._floor):
            # What was delivered is there no more: the ring may still have it.
            self.close()
            self.stream = self._attach()
            self._kept = _NOTHING
        self._floor, self._floor_id = key, event_id
        before = len(self._kept)
        self._kept = self._news(self._kept)
        return before - len(self._kept)

    def unsent(self, limit: int) -> npt.NDArray[np.void]:
        """Return events that were not handed out yet, at most `limit`, in order; never blocks."""
        while len(self._kept) < min(self.sent + limit, _KEPT):
            found = self.stream.read(limit)
            if not len(found):
                break
            self._kept = np.concatenate([self._kept, self._news(found)])
        return self._kept[self.sent : self.sent + limit]

    def confirm(self, count: int) -> None:
        """Forget the first `count` events: they were delivered."""
        self._floor, self._floor_id = int(order_keys(self._kept[count - 1 : count])[0]), None
        self._kept = self._kept[count:]
        self.sent -= count

    def wait(self, timeout_s: float) -> None:
        """Wait for an event to hand out, or for the stream's end."""
        if not len(self._kept) and not self.stream.closed:
            self.stream.wait(timeout_s)

    def close(self) -> None:
        """Let go of the stream."""
        self.stream.close()

    def _attach(self) -> EventStream:
        return subscribe(self._name, start="oldest", label="chronostream relay", any_owner=self._any_owner)

    def _news(self, records: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
        """Return the records that were not delivered."""
        if self._floor is None or not len(records):
            return records
        keys = order_keys(records)
        same = records[keys == self._floor]
        if self._floor_id is not None and len(same) and (own := str(event_ids(same)[0])) != self._floor_id:
            raise StreamMismatchError(
                f"JetStream holds event {self._floor_id}, and stream {self._name!r} has {own} for the same "
                "boundary: another producer numbers differently; relay only one of them, or use --sequencer boundary"
            )
        return records[keys > self._floor]


def _describe(stream: EventStream) -> Description:
    state = open_state(stream.consumer)
    description = None if state is None else state.description()
    if description is None:
        raise StreamMismatchError(
            f"stream {stream.consumer.name!r} is neither an engine's nor a mirror's, so that nothing says which events "
            "must follow which: relay the stream of a producer"
        )
    return description

"""``chronostream tail``: print the events of a stream as they come."""

from __future__ import annotations

import json
import select
import signal
import sys
from typing import Literal

from chronostream._log import print_error
from chronostream._stdio import discard_unwritten, print_lines
from chronostream._values import utc_text
from chronostream.errors import LostError
from chronostream.event import Event, to_events
from chronostream.stream.events import EventStream, subscribe

__all__ = ["tail"]

_BATCH = 1024
# How soon a closed pipe is noticed while nothing comes.
_LOOK_S = 0.5


def tail(
    name: str,
    start: Literal["next", "oldest"],
    format_: str,
    frequencies: tuple[str, ...] | None = None,
    count: int | None = None,
    wait_s: float = 0,
    any_owner: bool = False,
) -> None:
    """Print events until the stream is closed, or until nobody wants more."""
    try:
        with subscribe(
            name,
            frequencies,
            start,
            wait_s=wait_s,
            on_lost="raise",
            label="chronostream tail",
            any_owner=any_owner,
        ) as events:
            _print_all(events, count, format_)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Once is enough, and twice is no traceback.
    except BrokenPipeError:
        discard_unwritten(1)  # Whoever read has enough.


def _print_all(events: EventStream, count: int | None, format_: str) -> None:
    left = count
    while left is None or left > 0:
        try:
            if not events.wait(_LOOK_S):
                if (events.closed and not events.lag) or _nobody_reads():
                    return
                continue
            records = events.read(_BATCH if left is None else min(left, _BATCH))
        except LostError as lost:
            print_error(f"chronostream: {lost}")
            continue
        for event in to_events(records):
            print_lines(_json(event) if format_ == "json" else _text(event))
        if left is not None:
            left -= len(records)


def _json(event: Event) -> str:
    fields = {name: getattr(event, name) for name in Event.__slots__}
    return json.dumps(fields | {"frequency": event.frequency.label})


def _text(event: Event) -> str:
    return f"{utc_text(event.timestamp)}  {event.frequency.label:<6}  {event.id}  seed {event.seed}"


def _nobody_reads() -> bool:
    """Return whether stdout is a pipe whose reader has gone."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(found & select.POLLERR for _, found in poll.poll(0))

"""``chronostream tail``: print the events of a stream as they come."""

from __future__ import annotations

import json
import select
import signal
import sys
from typing import Any

from chronostream._log import print_error
from chronostream._stdio import discard_unwritten, print_lines
from chronostream._values import utc_text
from chronostream.errors import LostError
from chronostream.event import Event, plain_fields, to_events
from chronostream.stream.events import EventStream, subscribe

__all__ = ["tail"]

_BATCH = 1024
# How soon a closed pipe is noticed while nothing comes.
_LOOK_S = 0.5


def tail(
    name: str, format_: str, frequencies: tuple[str, ...] | None = None, count: int | None = None, **options: Any
) -> None:
    """Print events until the stream is closed or the reader of stdout has gone; `options` are of `subscribe`."""
    try:
        with subscribe(name, frequencies, on_lost="raise", label="chronostream tail", **options) as events:
            _print_all(events, count, format_)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # A second Ctrl-C causes no traceback.
    except BrokenPipeError:
        discard_unwritten(sys.stdout)


def _print_all(events: EventStream, count: int | None, format_: str) -> None:
    left = count
    while left is None or left > 0:
        try:
            if not events.wait(_LOOK_S):
                if (events.closed and not events.lag) or _reader_has_gone():
                    return
                continue
            records = events.read(_BATCH if left is None else min(left, _BATCH))
        except LostError as lost:
            print_error(f"chronostream: {lost}")
            continue
        for event in to_events(records):
            print_lines(json.dumps(plain_fields(event)) if format_ == "json" else _text(event))
        if left is not None:
            left -= len(records)


def _text(event: Event) -> str:
    return f"{utc_text(event.timestamp)}  {event.frequency.label:<6}  {event.id}  seed {event.seed}"


def _reader_has_gone() -> bool:
    """Return whether stdout is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(found & select.POLLERR for _, found in poll.poll(0))

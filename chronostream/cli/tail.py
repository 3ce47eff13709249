"""``chronostream tail``: print the events of a stream as they come."""

from __future__ import annotations

import json
import select
import signal
import sys
from typing import Annotated

import typer

from chronostream._stdio import silence
from chronostream._values import utc_text
from chronostream.cli.options import AnyOwner, Format, FormatOption, Frequencies, Name, Start, Wait, seconds_of
from chronostream.errors import LostError
from chronostream.event import Event, to_events
from chronostream.stream.events import EventStream, subscribe

__all__ = ["tail"]

_BATCH = 1024
# How soon a closed pipe is noticed while nothing comes.
_LOOK_S = 0.5

_From = Annotated[
    Start, typer.Option("--from", help="next: what comes from now on; oldest: also what the ring still holds.")
]
_Count = Annotated[int | None, typer.Option(help="End after so many events.", min=1, show_default=False)]


def tail(
    name: Name,
    from_: _From = Start.NEXT,
    frequency: Frequencies = None,
    count: _Count = None,
    wait: Wait = "0s",
    format_: FormatOption = Format.TEXT,
    any_owner: AnyOwner = False,
) -> None:
    """Print the events of a stream as they come.

    It ends when the stream is closed, or by Ctrl-C; one that is closed already is drained first. Losses are reported on
    stderr.
    """
    try:
        with subscribe(
            name,
            frequency or None,
            from_,  # type: ignore[arg-type]  # one of its values
            wait_s=seconds_of("--wait", wait),
            on_lost="raise",
            label="chronostream tail",
            any_owner=any_owner,
        ) as events:
            _print_all(events, count, format_)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Once is enough, and twice is no traceback.
    except BrokenPipeError:
        silence(1)  # Whoever read has enough.


def _print_all(events: EventStream, count: int | None, form: Format) -> None:
    left = count
    while left is None or left > 0:
        try:
            if not events.wait(_LOOK_S):
                if (events.closed and not events.lag) or _nobody_reads():
                    return
                continue
            records = events.read(_BATCH if left is None else min(left, _BATCH))
        except LostError as lost:
            print(f"chronostream: {lost}", file=sys.stderr, flush=True)
            continue
        for event in to_events(records):
            print(_json(event) if form is Format.JSON else _text(event), flush=True)
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

"""``chronostream replay``: a past range as events into a ring."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from chronostream.backfill import count_expected, instant_ns
from chronostream.backfill import replay as replay_range
from chronostream.cli.options import Frequencies, Name, octal
from chronostream.cli.progress import progress
from chronostream.clock import Stop

__all__ = ["replay"]

_From = Annotated[str, typer.Option("--from", help="ISO 8601 such as 2024-01-31T12:00Z, or Unix nanoseconds.")]
_To = Annotated[str, typer.Option("--to", help="Likewise; itself not part of the range.")]
_Timezone = Annotated[str, typer.Option(help="IANA time zone of hours and days.")]
_Speed = Annotated[str, typer.Option(help="max: as fast as memory is; or such as 1x, 60x: so much faster than time.")]
_Capacity = Annotated[int, typer.Option(help="Events that the ring holds, a power of two.")]
_InstanceId = Annotated[
    str | None, typer.Option(help="Who emits, in every event; the host's name by default.", show_default=False)
]
_Mode = Annotated[str, typer.Option(help="Permissions of the segment, octal.")]
_Group = Annotated[str | None, typer.Option(help="Group of the segment.", show_default=False)]
_Remove = Annotated[bool, typer.Option("--remove", help="Delete the stream at the end instead of keeping it.")]
_INTERRUPTED = 1


def replay(
    name: Name,
    from_: _From,
    to: _To,
    frequency: Frequencies = None,
    timezone: _Timezone = "UTC",
    speed: _Speed = "max",
    capacity: _Capacity = 65536,
    instance_id: _InstanceId = None,
    mode: _Mode = "600",
    group: _Group = None,
    remove: _Remove = False,
) -> int:
    """Publish the events of a past range into a new stream, and close it.

    They are, to the last bit, what `chronostream run --sequence boundary` would have emitted then; and that command
    goes on with the stream where the range ends. No consumer is waited for.
    """
    chosen = frequency or ["second"]
    start_ns, end_ns = instant_ns("--from", from_), instant_ns("--to", to)
    total = count_expected(chosen, start_ns, end_ns, timezone)
    with Stop() as stop, progress(name, total) as on_progress:
        before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            count = replay_range(
                name,
                start_ns,
                end_ns,
                chosen,
                timezone,
                speed=speed,
                capacity=capacity,
                instance_id=instance_id,
                mode=octal(mode),
                group=group,
                remove=remove,
                stop=stop,
                on_progress=on_progress,
            )
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    typer.echo(f"stream {name!r}: {count} of {total} events, {'removed' if remove else 'closed and kept'}")
    return 0 if count == total else _INTERRUPTED

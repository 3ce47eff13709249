"""``chronostream replay``: a past range as events into a ring, computed or out of NATS JetStream."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from chronostream.backfill import count_expected, fill, instant_ns
from chronostream.backfill import replay as replay_range
from chronostream.cli.nats import Connect, FromNats, JetStream, NatsName, takes_connection
from chronostream.cli.options import Capacity, Frequencies, Group, Mode, Name, RangeEnd, RangeStart, octal
from chronostream.cli.progress import progress
from chronostream.errors import InvalidValueError, StreamMismatchError
from chronostream.event import Frequency
from chronostream.producer.life import stopped_by_signals
from chronostream.stream.config import StreamConfig

if TYPE_CHECKING:
    from chronostream.bridges.connection import ConnectionOptions

__all__ = ["replay"]

_Timezone = Annotated[
    str | None,
    typer.Option(help="IANA time zone of hours and days; UTC by default, from NATS the source's.", show_default=False),
]
_Speed = Annotated[str, typer.Option(help="max: as fast as memory is; or such as 1x, 60x: so much faster than time.")]
_InstanceId = Annotated[
    str | None, typer.Option(help="Who emits, in every event; the host's name by default.", show_default=False)
]
_Remove = Annotated[bool, typer.Option("--remove", help="Delete the stream at the end instead of keeping it.")]
_INTERRUPTED = 1


@takes_connection
def replay(
    name: Name,
    connect: Connect,
    from_: RangeStart = None,
    to: RangeEnd = None,
    frequency: Frequencies = None,
    timezone: _Timezone = None,
    speed: _Speed = "max",
    capacity: Capacity = 65536,
    instance_id: _InstanceId = None,
    mode: Mode = "600",
    group: Group = None,
    remove: _Remove = False,
    from_nats: FromNats = None,
    nats_name: NatsName = None,
    stream: JetStream = None,
) -> int:
    """Publish the events of a past range into a new stream.

    They are, to the last bit, what `chronostream run --sequence boundary` would have emitted then; and that command
    goes on with the stream where the range ends. No consumer is waited for. With --from-nats they are not computed, but
    those that JetStream holds, and --from and --to may be left out.
    """
    start_ns = None if from_ is None else instant_ns("--from", from_)
    end_ns = None if to is None else instant_ns("--to", to)
    if from_nats is not None:
        if timezone is not None or speed != "max" or instance_id is not None:
            raise InvalidValueError("--timezone, --speed and --instance-id do not go with --from-nats: it has them all")
        config = StreamConfig(name=name, capacity=capacity, mode=octal("--mode", mode), group=group, remove=remove)
        source = nats_name or name
        return _from_nats(connect(from_nats), source, stream, config, frequency, start_ns, end_ns)
    if start_ns is None or end_ns is None:
        absent = "--from" if start_ns is None else "--to"
        raise InvalidValueError(f"Missing option '{absent}': a range has a start and an end, unless it is --from-nats")
    chosen, zone = frequency or ["second"], timezone or "UTC"
    total = count_expected(chosen, start_ns, end_ns, zone)
    with stopped_by_signals() as stop, progress(name, total) as on_progress:
        count = replay_range(
            name,
            start_ns,
            end_ns,
            chosen,
            zone,
            speed=speed,
            capacity=capacity,
            instance_id=instance_id,
            mode=octal("--mode", mode),
            group=group,
            remove=remove,
            stop=stop,
            on_progress=on_progress,
        )
    typer.echo(f"stream {name!r}: {count} of {total} events, {'removed' if remove else 'closed and kept'}")
    return 0 if count == total else _INTERRUPTED


def _from_nats(
    connection: ConnectionOptions,
    source: str,
    stream: str | None,
    config: StreamConfig,
    frequencies: list[str] | None,
    start_ns: int | None,
    end_ns: int | None,
) -> int:
    from chronostream.bridges.history import fetch, fetch_origin

    origin = fetch_origin(connection, source, stream=stream)
    chosen = tuple(map(Frequency.parse, frequencies)) if frequencies else origin.frequencies
    if foreign := [frequency.label for frequency in chosen if frequency not in origin.frequencies]:
        raise StreamMismatchError(f"the stream {source!r} has no events of frequency {', '.join(foreign)}")
    config = replace(
        config,
        frequencies=chosen,
        timezone=origin.zone.tz,
        sequencer=origin.sequencer,  # type: ignore[arg-type]  # checked by it
    )
    parts = fetch(connection, source, stream=stream, frequencies=chosen, start_ns=start_ns, end_ns=end_ns)
    with stopped_by_signals() as stop, progress(config.name, None) as on_progress:
        count = fill(config, parts, stop=stop, on_progress=on_progress)
        ended = not stop.is_set()
    typer.echo(f"stream {config.name!r}: {count} events, {'removed' if config.remove else 'closed and kept'}")
    return 0 if ended else _INTERRUPTED

"""``chronostream verify``: compare a stream with what it must be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
import typer

from chronostream.backfill import Report, instant_ns, verify_stream
from chronostream.backfill import verify as verify_records
from chronostream.cli.nats import Connect, FromNats, JetStream, NatsName, takes_connection
from chronostream.cli.options import AnyOwner, Format, FormatOption, Frequencies, Name, RangeEnd, RangeStart
from chronostream.cli.progress import progress
from chronostream.errors import InvalidValueError
from chronostream.ring import inspect

if TYPE_CHECKING:
    from chronostream.bridges.connection import ConnectionOptions

__all__ = ["verify"]

_Timezone = Annotated[
    str | None,
    typer.Option(help="IANA time zone of hours and days; as the stream says by default.", show_default=False),
]
_Sequence = Annotated[
    str | None, typer.Option(help="boundary or counting; as the stream says by default.", show_default=False)
]
_AllowMissed = Annotated[
    bool, typer.Option("--allow-missed", help="Let as many be absent as the producer says that it missed.")
]
_Limit = Annotated[int, typer.Option(help="How many faults to print; all are counted.", min=0)]
_FAILED = 1


@takes_connection
def verify(
    name: Name,
    connect: Connect,
    from_: RangeStart = None,
    to: RangeEnd = None,
    frequency: Frequencies = None,
    timezone: _Timezone = None,
    sequence: _Sequence = None,
    allow_missed: _AllowMissed = False,
    limit: _Limit = 1000,
    format_: FormatOption = Format.TEXT,
    any_owner: AnyOwner = False,
    from_nats: FromNats = None,
    nats_name: NatsName = None,
    stream: JetStream = None,
) -> int:
    """Compare a stream with what it must be.

    What the ring, or JetStream, holds is compared. Absent, foreign, duplicate, altered and misplaced events are faults:
    each is named, and the exit status is 1 then. Of counted sequences, what can be checked: that they follow each
    other, and that what is absent was counted as missed.
    """
    start_ns = None if from_ is None else instant_ns("--from", from_)
    end_ns = None if to is None else instant_ns("--to", to)
    if from_nats is not None:
        if allow_missed:
            raise InvalidValueError("--allow-missed does not go with --from-nats: what a producer missed is not there")
        report = _verify_nats(
            connect(from_nats), nats_name or name, stream, frequency, start_ns, end_ns, timezone, sequence, limit
        )
    else:
        found = inspect(name, any_owner=any_owner)
        with progress(name, min(found.head, found.capacity)) as on_progress:
            report = verify_stream(
                name,
                start_ns,
                end_ns,
                frequencies=frequency or None,
                tz=timezone,
                sequencer=sequence,  # type: ignore[arg-type]  # checked by it
                allow_missed=allow_missed,
                limit=limit,
                any_owner=any_owner,
                on_progress=on_progress,
            )
    if format_ is Format.JSON:
        typer.echo(json.dumps(report.as_dict()))
    else:
        typer.echo("\n".join(report.lines()))
    return 0 if report.ok else _FAILED


def _verify_nats(
    connection: ConnectionOptions,
    source: str,
    stream: str | None,
    frequencies: list[str] | None,
    start_ns: int | None,
    end_ns: int | None,
    timezone: str | None,
    sequence: str | None,
    limit: int,
) -> Report:
    from chronostream.bridges.history import fetch, fetch_origin

    origin = fetch_origin(connection, source, stream=stream)
    with progress(source, None) as on_progress:

        def records() -> Iterator[npt.NDArray[np.void]]:
            for part in fetch(
                connection, source, stream=stream, frequencies=frequencies, start_ns=start_ns, end_ns=end_ns
            ):
                yield part
                on_progress(len(part))

        return verify_records(
            records(),
            frequencies or origin.frequencies,
            start_ns,
            end_ns,
            tz=timezone or origin.zone.tz,
            sequencer=sequence or origin.sequencer,  # type: ignore[arg-type]  # checked by it
            limit=limit,
        )

"""``chronostream relay``: deliver a stream to other hosts through NATS JetStream."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from chronostream.cli.nats import Connect, JetStream, run_until_signal, takes_connection
from chronostream.cli.options import AnyOwner, Name, Wait, seconds_of

__all__ = ["relay"]

_log = logging.getLogger("chronostream")

_To = Annotated[str, typer.Option(help="URL of a NATS server, nats://HOST:PORT; of more with commas in between.")]
_As = Annotated[
    str | None, typer.Option("--as", help="The stream's name there; the same by default.", show_default=False)
]
_Encoding = Annotated[str, typer.Option(help="Payload: json, or record for the 128 bytes as they stand.")]
_Replicas = Annotated[int | None, typer.Option(help="Servers that hold each event; 1 by default.", show_default=False)]
_MaxAge = Annotated[str | None, typer.Option(help="How long JetStream holds an event, such as 7d.", show_default=False)]
_MaxMessages = Annotated[int | None, typer.Option(help="How many events it holds.", show_default=False)]
_MaxBytes = Annotated[int | None, typer.Option(help="How many bytes they may take.", show_default=False)]
_Patience = Annotated[str, typer.Option(help="How long another relay is given to fill a gap of this one.")]
_AcceptZoneData = Annotated[
    bool, typer.Option("--accept-zone-data", help="Take this host's zone data for right from now on.")
]


@takes_connection
def relay(
    name: Name,
    to: _To,
    connect: Connect,
    as_: _As = None,
    stream: JetStream = None,
    encoding: _Encoding = "json",
    replicas: _Replicas = None,
    max_age: _MaxAge = None,
    max_messages: _MaxMessages = None,
    max_bytes: _MaxBytes = None,
    patience: _Patience = "5s",
    accept_zone_data: _AcceptZoneData = False,
    wait: Wait = "0s",
    any_owner: AnyOwner = False,
) -> int:
    """Deliver the events of a stream to NATS JetStream, each once.

    It begins where JetStream ends, and goes on until the stream is closed, or until SIGTERM or Ctrl-C. The exit status
    is 1 if there were events that it could not deliver.
    """
    connection = connect(to)
    from chronostream.bridges.jetstream import Limits
    from chronostream.bridges.relay import Relay

    relay = Relay(
        name,
        connection,
        to_name=as_,
        to_stream=stream,
        limits=Limits(
            replicas=replicas,
            max_age_s=None if max_age is None else seconds_of("--max-age", max_age),
            max_messages=max_messages,
            max_bytes=max_bytes,
        ),
        encoding=encoding,
        patience_s=seconds_of("--patience", patience),
        accept_zone_data=accept_zone_data,
        any_owner=any_owner,
        wait_s=seconds_of("--wait", wait),
    )
    report = run_until_signal(relay.run)
    lost = sum(report.lost.values())
    _log.info("stopped: %d events delivered, %d could not be", report.delivered, lost)
    for loss in report.losses:
        _log.warning("not delivered: %s", loss)
    return 1 if lost else 0

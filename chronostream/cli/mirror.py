"""``chronostream mirror``: a stream of other hosts as a ring on this one."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from chronostream.cli.nats import Connect, JetStream, run_until_signal, takes_connection
from chronostream.cli.options import Capacity, Group, Mode, Name, octal, seconds_of

__all__ = ["mirror"]

_log = logging.getLogger("chronostream")

_Url = Annotated[
    str,
    typer.Argument(help="URL of a NATS server, nats://HOST:PORT; of more with commas in between.", show_default=False),
]
_As = Annotated[
    str | None, typer.Option("--as", help="The ring's name on this host; the same by default.", show_default=False)
]
_StaleAfter = Annotated[str, typer.Option(help="How late an event may come before the stream is marked stale.")]


@takes_connection
def mirror(
    url: _Url,
    name: Name,
    connect: Connect,
    as_: _As = None,
    stream: JetStream = None,
    capacity: Capacity = 65536,
    stale_after: _StaleAfter = "5s",
    mode: Mode = "600",
    group: Group = None,
) -> None:
    """Fill a ring with what a relay delivers to NATS JetStream.

    It goes on until SIGTERM or Ctrl-C. The ring is kept, and the next run goes on behind its last event. A name that is
    live is refused with exit status 3.
    """
    connection = connect(url)
    from chronostream.bridges.mirror import Mirror

    mirror = Mirror(
        name,
        connection,
        local_name=as_,
        stream=stream,
        capacity=capacity,
        stale_after_s=seconds_of("--stale-after", stale_after),
        mode=octal("--mode", mode),
        group=group,
    )
    if run_until_signal(mirror.run):
        _log.info("stopped: stream %r closed, and kept for the next run", as_ or name)
    else:
        _log.info("stopped: nothing was there to mirror")

"""``chronostream metrics``: the streams of this machine for Prometheus."""

from __future__ import annotations

import logging
import select
from typing import Annotated

import typer

from chronostream._extras import require
from chronostream.cli.log import log_to_stderr
from chronostream.cli.options import AnyOwner
from chronostream.errors import InvalidValueError
from chronostream.producer.life import stopped_by_signals

__all__ = ["metrics"]

_log = logging.getLogger("chronostream")

_Port = Annotated[int, typer.Option(help="TCP port to answer on; 0 takes a free one.", min=0, max=65535)]
_Address = Annotated[str, typer.Option(help="Address to answer on; 0.0.0.0 for all of this machine's.")]


def metrics(port: _Port = 9464, address: _Address = "127.0.0.1", any_owner: AnyOwner = False) -> None:
    """Answer Prometheus at /metrics until SIGTERM or Ctrl-C.

    All streams of this machine as they are when it asks: events, missed boundaries, lateness, state, and consumers' lag
    and losses. A stream that is broken fails no scrape. Needs prometheus-client: pip install 'chronostream[metrics]'.
    """
    client = require("prometheus_client", "chronostream[metrics]")
    from chronostream.observe.metrics import StreamCollector

    registry = client.CollectorRegistry()
    registry.register(StreamCollector(any_owner=any_owner))
    with stopped_by_signals() as stop:
        try:
            server, thread = client.start_http_server(port, address, registry)
        except OSError as error:
            raise InvalidValueError(f"cannot answer on {address}, port {port}: {error.strerror or error}") from error
        try:
            log_to_stderr()
            host = f"[{address}]" if ":" in address else address
            _log.info("ready: http://%s:%d/metrics", host, server.server_port)
            select.select([stop], [], [])
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
    _log.info("stopped")

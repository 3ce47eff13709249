"""``chronostream metrics``: the streams of this machine for Prometheus."""

from __future__ import annotations

import logging
import select

from chronostream._extras import require
from chronostream._log import log_to_stderr
from chronostream.producer.life import stopped_by_signals

__all__ = ["metrics"]

_log = logging.getLogger("chronostream")


def metrics(port: int, address: str, any_owner: bool = False) -> None:
    """Answer until a signal ends it."""
    client = require("prometheus_client", "chronostream[metrics]")
    from chronostream.observe.metrics import StreamCollector
    from chronostream.observe.server import listen

    registry = client.CollectorRegistry()
    registry.register(StreamCollector(any_owner=any_owner))
    with stopped_by_signals() as stop, listen(address, port, client.make_wsgi_app(registry)) as server:
        log_to_stderr()
        host = f"[{address}]" if ":" in address else address
        _log.info("ready: http://%s:%d/metrics", host, server.server_port)
        while not stop.is_set():
            select.select([stop.fileno(), server.fileno()], [], [])
            server.handle_request()
    _log.info("stopped")

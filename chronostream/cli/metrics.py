"""``chronostream metrics``: the streams of this machine for Prometheus."""

from __future__ import annotations

import logging
import select

from chronostream._extras import require
from chronostream._log import log_to_stderr
from chronostream.errors import InvalidValueError
from chronostream.producer.life import stopped_by_signals

__all__ = ["metrics"]

_log = logging.getLogger("chronostream")


def metrics(port: int, address: str, any_owner: bool = False) -> None:
    """Answer until a signal ends it."""
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

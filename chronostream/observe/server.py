"""The HTTP server of the metrics: /metrics, /healthz and nothing else. It knows nothing of streams."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from chronostream.errors import ChronoStreamError, InvalidValueError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Server", "listen"]

_log = logging.getLogger(__name__)


class Server(ThreadingMixIn, WSGIServer):
    """Answers each request in a thread of its own; `handle_request` takes one once its descriptor is readable."""

    daemon_threads = True
    timeout = 0

    def handle_error(self, _request: object, client_address: object) -> None:
        """Log that a client got no answer."""
        _log.warning("no answer to %s", client_address, exc_info=True)


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log no request."""


def listen(address: str, port: int, metrics: WSGIApplication) -> Server:
    """Return a server that listens already; close it when done.

    Raises:
        InvalidValueError: there is no such address.
        ChronoStreamError: the port is in use, or this user may not use it.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            return metrics(environ, start_response)
        status, text = "404 Not Found", b"there are /metrics and /healthz\n"
        if environ["PATH_INFO"] == "/healthz":
            status, text = "200 OK", b"ok\n"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [text]

    try:
        family, _, _, _, (host, *_) = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise InvalidValueError(f"there is no address {address!r} to answer on: {error.strerror}") from error

    server_class = type("Server", (Server,), {"address_family": family})
    try:
        return make_server(str(host), port, answer, server_class, _Handler)
    except OSError as error:
        raise ChronoStreamError(f"cannot answer on {address}, port {port}: {error.strerror or error}") from error

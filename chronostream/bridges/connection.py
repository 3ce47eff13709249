"""A connection to NATS that reconnects, and whose texts hold no secrets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from chronostream._values import checked_seconds
from chronostream.bridges.running import first_of
from chronostream.errors import BridgeError, InvalidTypeError, InvalidValueError

__all__ = ["TRANSIENT_ERRORS", "Connection", "ConnectionOptions", "redact"]

_log = logging.getLogger(__name__)

TRANSIENT_ERRORS = (nats.errors.Error, OSError)
"""Errors of a connection or a server after which a later attempt may succeed."""

_SCHEMES = ("nats", "tls", "ws", "wss")
_USERINFO = re.compile(r"(?<=//)[^/\s]*@")
_HIDDEN = "***"
_RECONNECT_WAIT_S = 0.25
_CONNECT_TIMEOUT_S = 2
_PING_INTERVAL_S = 5
_REQUEST_TIMEOUT_S = 2.0
_CLOSE_TIMEOUT_S = 1.0
_RENEW_S = 10.0  # If nats-py has not reconnected after this time, a new connection replaces the old one.
_POLL_S = 0.02


def redact(text: str, *secrets: str | None) -> str:
    """Return the text with the secrets and the user part of each URL replaced by ``***``."""
    for secret in filter(None, secrets):
        text = text.replace(secret, _HIDDEN)
    return _USERINFO.sub(f"{_HIDDEN}@", text)


@dataclass(frozen=True, kw_only=True)
class ConnectionOptions:
    """The addresses of NATS servers and the credentials for them. `repr` shows no secrets.

    Attributes:
        servers: URLs of the servers of one cluster, ``nats://`` or ``tls://``.
        user: name; it and `password` may be in the URLs instead.
        password: of the user.
        token: instead of a user.
        credentials: file with a JWT and the seed of its key.
        nkey_seed: file with the seed of a key.
        tls_ca: file with the certificates to trust instead of the system's.
        tls_certificate: file with the client's certificate; needs `tls_key`.
        tls_key: file with the key of the client's certificate.
        tls_first: start TLS before the server's first message; the server must do the same. Without it, the connection
            to a server that does not request TLS is unencrypted.
    """

    servers: tuple[str, ...] = field(repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    credentials: Path | None = None
    nkey_seed: Path | None = None
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_first: bool = False

    def __post_init__(self) -> None:
        """Check everything that needs no connection."""
        if not isinstance(self.servers, tuple | list) or not all(isinstance(each, str) for each in self.servers):
            raise InvalidTypeError("servers is not a tuple of URLs, expected for example ('nats://localhost:4222',)")
        if not self.servers:
            raise InvalidValueError("servers has no NATS server: give a URL such as nats://localhost:4222")
        for server in self.servers:
            _check_url(server)
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise InvalidValueError("only one of tls_certificate and tls_key is given: give both, or neither")
        for file in (self.credentials, self.nkey_seed):
            if file is not None and not Path(file).is_file():
                raise InvalidValueError(f"{file} is not a file, expected a file with credentials for NATS")
        self._tls()

    @property
    def label(self) -> str:
        """The hosts and ports of the servers, without secrets."""
        return ",".join(f"{url.hostname}:{url.port or 4222}" for url in map(urlsplit, self.servers))

    def redact(self, text: object) -> str:
        """Return a text without the secrets of these options."""
        return redact(str(text), self.password, self.token, *(urlsplit(server).password for server in self.servers))

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of nats-py's `connect`."""
        return {
            "servers": list(self.servers),
            "user": self.user,
            "password": self.password,
            "token": self.token,
            "user_credentials": None if self.credentials is None else str(self.credentials),
            "nkeys_seed": None if self.nkey_seed is None else str(self.nkey_seed),
            "tls": self._tls(),
            "tls_handshake_first": self.tls_first,
        }

    def _tls(self) -> ssl.SSLContext | None:
        schemes = {urlsplit(server).scheme for server in self.servers}
        if not (self.tls_first or self.tls_ca or self.tls_certificate or schemes & {"tls", "wss"}):
            return None
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
            if self.tls_certificate is not None:
                context.load_cert_chain(self.tls_certificate, self.tls_key)
        except OSError as error:  # ssl.SSLError is a subclass.
            files = ", ".join(str(file) for file in (self.tls_ca, self.tls_certificate, self.tls_key) if file)
            raise InvalidValueError(f"TLS cannot use {files}: {error}") from None
        return context


class Connection:
    """A connection to NATS, opened when it is needed and reopened whenever it breaks.

    Args:
        options: addresses and credentials.
        name: of this client, as the server shows it.
        timeout_s: how long `ready` waits for a server; None for no limit.
    """

    def __init__(self, options: ConnectionOptions, name: str, *, timeout_s: float | None = None) -> None:
        if not isinstance(options, ConnectionOptions):
            raise InvalidTypeError(
                f"the connection is {type(options).__name__}, expected ConnectionOptions(servers=('nats://HOST:PORT',))"
            )
        self.options = options
        self.timeout_s = None if timeout_s is None else checked_seconds("timeout_s", timeout_s)
        self._name = name
        self._client: Client | None = None
        self._last_error = ""

    @property
    def connected(self) -> bool:
        """Whether the connection is open at this moment."""
        return self._client is not None and self._client.is_connected

    @property
    def client(self) -> Client:
        """The client of nats-py; call `ready` first."""
        assert self._client is not None, "ready() comes first"
        return self._client

    def describe(self, error: BaseException) -> str:
        """Return the text of an error, without secrets."""
        default = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
        return self.options.redact(error) or default

    async def ready(self) -> JetStreamContext:
        """Wait for the connection and return its JetStream.

        Raises:
            BridgeError: the server refuses access, or no server answers within `timeout_s`.
        """
        try:
            async with asyncio.timeout(self.timeout_s) as timeout:
                renew_s = time.monotonic() + _RENEW_S
                while self._client is None or not self._client.is_connected:
                    if self._client is None or self._client.is_closed or time.monotonic() > renew_s:
                        await self._open()
                    else:
                        await asyncio.sleep(_POLL_S)
        except TimeoutError:
            if not timeout.expired():
                raise
            reason = f" ({self._last_error})" if self._last_error else ""
            raise BridgeError(
                f"no NATS server at {self.options.label} within {self.timeout_s} s{reason}: check that it is running"
            ) from None
        return self._client.jetstream(timeout=_REQUEST_TIMEOUT_S)

    async def close(self) -> None:
        """Close the connection. A second call does nothing."""
        client, self._client = self._client, None
        if client is not None:
            await _close(client)

    async def _open(self) -> None:
        await self.close()
        client = Client()
        try:
            await client.connect(
                name=self._name,
                error_cb=self._on_error,
                disconnected_cb=self._on_disconnected,
                reconnected_cb=self._on_reconnected,
                connect_timeout=_CONNECT_TIMEOUT_S,
                reconnect_time_wait=_RECONNECT_WAIT_S,  # type: ignore[arg-type]  # A fraction of a second works too.
                max_reconnect_attempts=-1,
                ping_interval=_PING_INTERVAL_S,
                **self.options.arguments(),
            )
        except BaseException:
            await _close(client)
            raise
        self._client = client
        self._last_error = ""
        _log.info("connected to NATS at %s", self._server())

    async def _on_error(self, error: Exception) -> None:
        """Log each new error once; raise errors that a later attempt cannot solve."""
        text = self.describe(error)
        if isinstance(error, nats.errors.AuthorizationError) or "authorization" in text.lower():
            raise BridgeError(
                f"the NATS server at {self.options.label} refuses access: {text}; check the credentials"
            ) from None
        if isinstance(error, ssl.SSLCertVerificationError):
            raise BridgeError(
                f"the certificate of the NATS server at {self.options.label} is not trusted: {text}; check tls_ca"
            ) from None
        if text != self._last_error:
            self._last_error = text
            _log.warning("NATS at %s: %s", self.options.label, text)

    async def _on_disconnected(self) -> None:
        if self._client is not None:
            _log.warning("disconnected from NATS")

    async def _on_reconnected(self) -> None:
        self._last_error = ""
        _log.info("reconnected to NATS at %s", self._server())

    def _server(self) -> str:
        url = None if self._client is None else self._client.connected_url
        return self.options.label if url is None else f"{url.hostname}:{url.port}"


async def _close(client: Client) -> None:
    # After a failed handshake, nats-py waits forever for the end of TLS.
    with contextlib.suppress(*TRANSIENT_ERRORS):
        await first_of(client.close(), asyncio.sleep(_CLOSE_TIMEOUT_S))


def _check_url(server: str) -> None:
    try:
        parts = urlsplit(server)
        is_valid = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise InvalidValueError(f"{redact(server)!r} is not the URL of a NATS server, expected nats://HOST:PORT")

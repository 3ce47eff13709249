"""A connection to NATS that comes back by itself, and says nothing secret."""

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

__all__ = ["TROUBLE", "ConnectionOptions", "Link", "redact"]

_log = logging.getLogger(__name__)

TROUBLE = (nats.errors.Error, OSError, asyncio.TimeoutError)
"""What a connection raises when it, or a server, is not up to it at the moment."""

_SCHEMES = ("nats", "tls", "ws", "wss")
_USERINFO = re.compile(r"(?<=//)[^/\s]*@")
_HIDDEN = "***"
_RECONNECT_WAIT_S = 0.25
_CONNECT_TIMEOUT_S = 2
_PING_INTERVAL_S = 5
_REQUEST_TIMEOUT_S = 2.0
_CLOSE_TIMEOUT_S = 1.0
_RENEW_S = 10.0  # so long nats-py may try to get a connection back, before it is given up for a new one
_LOOK_S = 0.02


def redact(text: str, *secrets: str | None) -> str:
    """Return the text without the user part of any URL in it, and without the secrets."""
    for secret in filter(None, secrets):
        text = text.replace(secret, _HIDDEN)
    return _USERINFO.sub(f"{_HIDDEN}@", text)


@dataclass(frozen=True, kw_only=True)
class ConnectionOptions:
    """Where NATS is, and how to be let in; the options of nats-py. What is secret is in no text made of it.

    Attributes:
        servers: URLs, ``nats://`` or ``tls://``, of one cluster.
        user: name, with `password`; they may be part of the URLs instead.
        password: likewise.
        token: instead of a user.
        credentials: file with a JWT and the seed of its key.
        nkey_seed: file with the seed of a key.
        tls_ca: file with the certificates to trust instead of the system's.
        tls_certificate: file with this side's certificate, with `tls_key`.
        tls_key: file with its key.
        tls_first: begin with TLS, before the server has said anything; it must do the same. Without it, a server that
            does not ask for TLS is talked to in the clear.

    Raises:
        InvalidValueError: no server, a URL that is none, or a file that cannot be read.
        InvalidTypeError: `servers` is something else than a tuple of texts.
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
        """Check what can be checked without a connection."""
        if not isinstance(self.servers, tuple | list) or not all(isinstance(each, str) for each in self.servers):
            raise InvalidTypeError("the servers are no tuple of URLs, such as ('nats://localhost:4222',)")
        if not self.servers:
            raise InvalidValueError("no NATS server is named: give a URL such as nats://localhost:4222")
        for server in self.servers:
            _check_url(server)
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise InvalidValueError("a TLS certificate goes with its key: give both, or neither")
        for file in (self.credentials, self.nkey_seed):
            if file is not None and not Path(file).is_file():
                raise InvalidValueError(f"{file} is no file: expected one with credentials for NATS")
        self._tls()

    @property
    def label(self) -> str:
        """The servers as they may be shown: hosts and ports."""
        return ",".join(f"{urlsplit(server).hostname}:{urlsplit(server).port or 4222}" for server in self.servers)

    def redact(self, text: object) -> str:
        """Return a text without anything secret of these options."""
        parts = [urlsplit(server) for server in self.servers]
        return redact(str(text), self.password, self.token, *(part.password for part in parts))

    def arguments(self) -> dict[str, Any]:
        """Return what nats-py takes."""
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
        wanted = self.tls_first or any(urlsplit(server).scheme in ("tls", "wss") for server in self.servers)
        if not wanted and self.tls_ca is None and self.tls_certificate is None:
            return None
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
            if self.tls_certificate is not None:
                context.load_cert_chain(self.tls_certificate, self.tls_key)
        except OSError as error:  # ssl.SSLError is one
            files = ", ".join(str(file) for file in (self.tls_ca, self.tls_certificate, self.tls_key) if file)
            raise InvalidValueError(f"TLS cannot use {files}: {error}") from None
        return context


class Link:
    """A connection that is made when it is wanted, and made again whenever it breaks.

    Args:
        options: where to, and how.
        name: what this end calls itself there.
        patience_s: how long `ready` waits for a server; for ever if None.

    Attributes:
        options: where to, and how.
        patience_s: how long to wait.

    Raises:
        InvalidTypeError: an argument is of the wrong kind.
        InvalidValueError: the patience is negative.
    """

    def __init__(self, options: ConnectionOptions, name: str, *, patience_s: float | None = None) -> None:
        if not isinstance(options, ConnectionOptions):
            raise InvalidTypeError(
                f"the connection is {type(options).__name__}, expected ConnectionOptions(servers=('nats://HOST:PORT',))"
            )
        self.options = options
        self.patience_s = None if patience_s is None else checked_seconds("patience_s", patience_s)
        self._name = name
        self._client: Client | None = None
        self._said = ""

    @property
    def connected(self) -> bool:
        """Whether there is a connection at this moment."""
        return self._client is not None and self._client.is_connected

    @property
    def client(self) -> Client:
        """The connection itself, once `ready` has returned."""
        assert self._client is not None, "ready() comes first"
        return self._client

    async def ready(self) -> JetStreamContext:
        """Wait for the connection and return its JetStream.

        Raises:
            BridgeError: the server does not let us in, or there is none for `patience_s`.
        """
        try:
            async with asyncio.timeout(self.patience_s) as patience:
                tired_s = time.monotonic() + _RENEW_S
                while self._client is None or not self._client.is_connected:
                    if self._client is None or self._client.is_closed or time.monotonic() > tired_s:
                        await self._open()
                    else:
                        await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            if not patience.expired():
                raise
            why = f" ({self._said})" if self._said else ""
            raise BridgeError(
                f"no NATS server at {self.options.label} within {self.patience_s} s{why}: is it running?"
            ) from None
        return self._client.jetstream(timeout=_REQUEST_TIMEOUT_S)

    async def close(self) -> None:
        """Let go of the connection; twice is fine."""
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
                reconnect_time_wait=_RECONNECT_WAIT_S,  # type: ignore[arg-type]  # seconds; a part of one will do
                max_reconnect_attempts=-1,
                ping_interval=_PING_INTERVAL_S,
                **self.options.arguments(),
            )
        except BaseException:
            await _close(client)
            raise
        self._client = client
        self._said = ""
        _log.info("connected to NATS at %s", self._server())

    async def _on_error(self, error: Exception) -> None:
        """Say each trouble once, and end at once if waiting will not help."""
        text = self.options.redact(error) or type(error).__name__
        if isinstance(error, nats.errors.AuthorizationError) or "authorization" in text.lower():
            raise BridgeError(f"the NATS server at {self.options.label} does not let us in: {text}") from None
        if isinstance(error, ssl.SSLCertVerificationError):
            raise BridgeError(f"the NATS server at {self.options.label} is not to be trusted: {text}") from None
        if text != self._said:
            self._said = text
            _log.warning("NATS at %s: %s", self.options.label, text)

    async def _on_disconnected(self) -> None:
        if self._client is not None:
            _log.warning("disconnected from NATS")

    async def _on_reconnected(self) -> None:
        self._said = ""
        _log.info("connected again to NATS at %s", self._server())

    def _server(self) -> str:
        url = None if self._client is None else self._client.connected_url
        return self.options.label if url is None else f"{url.hostname}:{url.port}"


async def _close(client: Client) -> None:
    # After a failed handshake, nats-py waits for ever for the end of TLS.
    with contextlib.suppress(*TROUBLE):
        await first_of(client.close(), asyncio.sleep(_CLOSE_TIMEOUT_S))


def _check_url(server: str) -> None:
    try:
        parts = urlsplit(server)
        sound = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise InvalidValueError(f"{redact(server)!r} is no URL of a NATS server, expected nats://HOST:PORT")

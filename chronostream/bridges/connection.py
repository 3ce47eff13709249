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
from urllib.parse import unquote, urlsplit

import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import APIError, ServiceUnavailableError

from chronostream._values import checked_seconds
from chronostream.bridges.running import Troubles, first_of
from chronostream.errors import BridgeError, InvalidTypeError, InvalidValueError

__all__ = ["TRANSIENT_ERRORS", "Connection", "ConnectionOptions", "redact"]

_log = logging.getLogger(__name__)

TRANSIENT_ERRORS = (nats.errors.Error, OSError)
"""Errors of a connection or a server after which a later attempt may succeed."""

_WEB_SCHEMES = {"ws", "wss"}
_SCHEMES = {"nats", "tls"} | _WEB_SCHEMES
_SEED = re.compile(rb"SU[A-Z2-7]{56}")
_CREDENTIALS = re.compile(rb".*BEGIN NATS USER JWT.*\n\s*SU[A-Z2-7]{56}\b.*", re.DOTALL)
_DOMAIN = re.compile(r"[^\s.*>]+")
_NO_TLS = "it offers no tls"
_REFUSALS = {
    "authorization": "refuses access: check the credentials",
    "permissions violation": "denies a subject: check the permissions of this user",
    "certificate verify failed": "has a certificate that is not trusted: check tls_ca",
    "certificate required": "expects a certificate of this side: give tls_certificate and tls_key",
    _NO_TLS: "is not asked in the clear: tls:// or an option about TLS is given",
}
# A message or its headers are too large, or JetStream is not enabled for the account or at all.
_PERMANENT = {10054, 10097, 10039, 10076}
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
        servers: URLs of the servers of one cluster, ``nats://`` or ``tls://``; or ``ws://`` or ``wss://``.
        user: name; it and `password`, or `token`, may be in the URLs instead, percent-encoded.
        password: of the user.
        token: instead of a user.
        credentials: file with a JWT and the seed of its key.
        nkey_seed: file with the seed of a key.
        tls_ca: file with the certificates to trust instead of the system's.
        tls_certificate: file with the client's certificate; needs `tls_key`.
        tls_key: file with the key of the client's certificate.
        tls_first: start TLS before the server's first message; the server must do the same.
        domain: the JetStream domain; that of the server by default.

    With ``tls://``, or any option about TLS, nothing is sent to a server that has no TLS.
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
    domain: str | None = None

    def __post_init__(self) -> None:
        """Check everything that needs no connection."""
        if not isinstance(self.servers, tuple | list) or not all(isinstance(each, str) for each in self.servers):
            raise InvalidTypeError("servers is not a tuple of URLs, expected for example ('nats://localhost:4222',)")
        if not self.servers:
            raise InvalidValueError("servers has no NATS server: give a URL such as nats://localhost:4222")
        for server in self.servers:
            _check_url(server)
        if self._schemes & _WEB_SCHEMES and not self._schemes <= _WEB_SCHEMES:
            raise InvalidValueError("servers has ws:// or wss:// beside nats:// or tls://: give all by one kind of URL")
        if len({(url.username, url.password) for url in map(urlsplit, self.servers) if url.username}) > 1:
            raise InvalidValueError("servers has different users, expected one that all servers of the cluster know")
        if not isinstance(self.domain, str | None):
            raise InvalidTypeError(f"domain is {type(self.domain).__name__}, expected the name of a JetStream domain")
        if self.domain is not None and not _DOMAIN.fullmatch(self.domain):
            raise InvalidValueError(f"domain is {self.domain!r}, expected the name of a JetStream domain, such as hub")
        if "ws" in self._schemes and self._asks_for_tls:
            raise InvalidValueError("ws:// has no TLS, but an option about TLS is given: use wss://")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise InvalidValueError("only one of tls_certificate and tls_key is given: give both, or neither")
        self._check_credentials()
        self._tls()

    @property
    def label(self) -> str:
        """The hosts and ports of the servers, without secrets."""
        return ",".join(f"{url.hostname}:{url.port or 4222}" for url in map(urlsplit, self.servers))

    @property
    def needs_tls(self) -> bool:
        """Whether the server must turn TLS on; ``wss`` begins with it, and ``ws`` never has it."""
        return not self._schemes & _WEB_SCHEMES and (self._asks_for_tls or "tls" in self._schemes)

    @property
    def _asks_for_tls(self) -> bool:
        return self.tls_first or self.tls_ca is not None or self.tls_certificate is not None

    @property
    def _schemes(self) -> set[str]:
        return {urlsplit(server).scheme for server in self.servers}

    def redact(self, text: object) -> str:
        """Return a text without the secrets of these options."""
        return redact(str(text), *self._login()[1:])

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of nats-py's `connect`."""
        return {
            "servers": [_USERINFO.sub("", server) for server in self.servers],
            **dict(zip(("user", "password", "token"), self._login(), strict=True)),
            "user_credentials": None if self.credentials is None else str(self.credentials),
            "nkeys_seed": None if self.nkey_seed is None else str(self.nkey_seed),
            "tls": self._tls(),
            "tls_handshake_first": self.tls_first,
        }

    def _login(self) -> tuple[str | None, str | None, str | None]:
        """Return user, password and token; nats-py would not decode those in a URL."""
        urls = [url for url in map(urlsplit, self.servers) if url.username]
        if not urls or self.user is not None or self.token is not None:
            return self.user, self.password, self.token
        name, password = unquote(urls[0].username or ""), urls[0].password
        return (None, None, name) if password is None else (name, unquote(password), None)

    def _check_credentials(self) -> None:
        for file, pattern, expected in (
            (self.credentials, _CREDENTIALS, "a JWT and the seed of a user's key, each below its BEGIN line"),
            (self.nkey_seed, _SEED, "only the seed of a user's key, 58 characters that begin with SU"),
        ):
            if file is None:
                continue
            try:
                found = pattern.fullmatch(Path(file).read_bytes().strip())
            except OSError as error:
                raise InvalidValueError(f"{file} is not a file, or cannot be read: {error}") from None
            if found is None:
                raise InvalidValueError(f"{file} holds no credentials for NATS, expected {expected}")

    def _tls(self) -> ssl.SSLContext | None:
        if not self.needs_tls and "wss" not in self._schemes:
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

    Attributes:
        answered: whether JetStream ever answered here.
    """

    def __init__(self, options: ConnectionOptions, name: str, *, timeout_s: float | None = None) -> None:
        if not isinstance(options, ConnectionOptions):
            raise InvalidTypeError(
                f"the connection is {type(options).__name__}, expected ConnectionOptions(servers=('nats://HOST:PORT',))"
            )
        self.options = options
        self.timeout_s = None if timeout_s is None else checked_seconds("timeout_s", timeout_s)
        self.answered = False
        self._name = name
        self._client: Client | None = None
        self._troubles = Troubles(_log)
        self._refusal: BridgeError | None = None  # an error that a later attempt cannot solve

    @property
    def connected(self) -> bool:
        """Whether the connection is open at this moment."""
        return self._client is not None and self._client.is_connected

    @property
    def client(self) -> Client:
        """The client of nats-py; call `ready` first."""
        assert self._client is not None, "ready() comes first"
        return self._client

    def transient(self, error: BaseException) -> str:
        """Return the text of an error after which a later attempt may succeed, without secrets.

        Raises:
            BridgeError: no later attempt can succeed, unless somebody changes something.
        """
        if self._refusal is not None:
            raise self._refusal
        text = self.describe(error)
        lacks_jetstream = (
            isinstance(error, ServiceUnavailableError)
            and not error.err_code
            and not (self.answered or self.options.domain or self.client._server_info.get("jetstream"))  # noqa: SLF001
        )
        if lacks_jetstream or (isinstance(error, APIError) and error.err_code in _PERMANENT):
            raise BridgeError(f"the NATS server at {self.options.label} cannot store or read the events: {text}")
        return text

    def describe(self, error: BaseException) -> str:
        """Return the text of an error, without secrets."""
        if isinstance(error, TimeoutError):
            return "no answer in time"
        text = self.options.redact(error.description or "" if isinstance(error, APIError) else error)
        if isinstance(error, ServiceUnavailableError) and not text:
            return "no JetStream answers; check that the server has it, and this account and domain too"
        return text or type(error).__name__

    async def ready(self) -> JetStreamContext:
        """Wait for the connection and return its JetStream.

        Raises:
            BridgeError: the server refuses access, or no server answers within `timeout_s`.
        """
        try:
            async with asyncio.timeout(self.timeout_s) as timeout:
                renew_s = time.monotonic() + _RENEW_S
                while self._client is None or not self._client.is_connected or self._refusal is not None:
                    if self._refusal is not None:
                        raise self._refusal
                    if self._client is None or self._client.is_closed or time.monotonic() > renew_s:
                        await self._open()
                    else:
                        await asyncio.sleep(_POLL_S)
        except TimeoutError:
            if not timeout.expired():
                raise
            reason = f" ({self._troubles.last})" if self._troubles.last else ""
            raise BridgeError(
                f"no NATS server at {self.options.label} within {self.timeout_s} s{reason}: check that it is running"
            ) from None
        return self._client.jetstream(timeout=_REQUEST_TIMEOUT_S, domain=self.options.domain)

    async def close(self) -> None:
        """Close the connection. A second call does nothing."""
        client, self._client = self._client, None
        if client is not None:
            await _close(client)

    async def _open(self) -> None:
        await self.close()
        client = _Client(self.options)
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
        self._troubles.end()
        _log.info("connected to NATS at %s", self._server())

    async def _on_error(self, error: Exception) -> None:
        """Log each new error once; have `ready` raise those that a later attempt cannot solve."""
        text = self.describe(error)
        for sign, meaning in _REFUSALS.items():
            if sign in text.lower().replace("_", " "):
                self._refusal = BridgeError(f"the NATS server at {self.options.label} {meaning} ({text})")
                if self._client is None:  # Otherwise a task of nats-py calls this.
                    raise self._refusal
                return
        self._troubles.log("NATS at %s: %s", self.options.label, text)

    async def _on_disconnected(self) -> None:
        if self._client is not None:
            _log.warning("disconnected from NATS")

    async def _on_reconnected(self) -> None:
        self._troubles.end()
        _log.info("reconnected to NATS at %s", self._server())

    def _server(self) -> str:
        url = None if self._client is None else self._client.connected_url
        return self.options.label if url is None else f"{url.hostname}:{url.port}"


async def _close(client: Client) -> None:
    # After a failed handshake, nats-py waits forever for the end of TLS.
    with contextlib.suppress(*TRANSIENT_ERRORS):
        await first_of(client.close(), asyncio.sleep(_CLOSE_TIMEOUT_S))


class _Client(Client):
    """A client that sends no credentials in the clear where TLS is asked for: the server alone cannot turn it off."""

    def __init__(self, options: ConnectionOptions) -> None:
        super().__init__()
        self._needs_tls = options.needs_tls

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and self._needs_tls:
            if not (info.get("tls_required") or info.get("tls_available")):
                raise nats.errors.Error(_NO_TLS)
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)


def _check_url(server: str) -> None:
    try:
        parts = urlsplit(server)
        is_valid = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise InvalidValueError(f"{redact(server)!r} is not the URL of a NATS server, expected nats://HOST:PORT")

"""What the commands that talk to NATS share: how to be let in, and how to run until told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from chronostream.errors import InvalidValueError

if TYPE_CHECKING:
    from chronostream.bridges.connection import ConnectionOptions

__all__ = [
    "Credentials",
    "JetStream",
    "NkeySeed",
    "PasswordFile",
    "TlsCa",
    "TlsCertificate",
    "TlsFirst",
    "TlsKey",
    "TokenFile",
    "User",
    "connection_options",
    "run_until_signal",
]

_T = TypeVar("_T")
_HELP = "How to reach NATS"

JetStream = Annotated[
    str | None,
    typer.Option("--stream", help="The JetStream stream. [default: CHRONOSTREAM_NAME]", show_default=False),
]
User = Annotated[
    str | None, typer.Option(help="User name, with --password-file.", show_default=False, rich_help_panel=_HELP)
]
PasswordFile = Annotated[
    Path | None, typer.Option(help="File with the user's password.", show_default=False, rich_help_panel=_HELP)
]
TokenFile = Annotated[Path | None, typer.Option(help="File with a token.", show_default=False, rich_help_panel=_HELP)]
Credentials = Annotated[
    Path | None,
    typer.Option("--creds", help="File with a JWT and its key's seed.", show_default=False, rich_help_panel=_HELP),
]
NkeySeed = Annotated[
    Path | None, typer.Option("--nkey", help="File with a key's seed.", show_default=False, rich_help_panel=_HELP)
]
TlsCa = Annotated[
    Path | None,
    typer.Option(help="Certificates to trust instead of the system's.", show_default=False, rich_help_panel=_HELP),
]
TlsCertificate = Annotated[
    Path | None,
    typer.Option("--tls-cert", help="This side's certificate.", show_default=False, rich_help_panel=_HELP),
]
TlsKey = Annotated[
    Path | None, typer.Option(help="The key of that certificate.", show_default=False, rich_help_panel=_HELP)
]
TlsFirst = Annotated[
    bool, typer.Option("--tls-first", help="Begin with TLS; the server must do the same.", rich_help_panel=_HELP)
]


def connection_options(
    url: str,
    *,
    user: str | None = None,
    password_file: Path | None = None,
    token_file: Path | None = None,
    credentials: Path | None = None,
    nkey_seed: Path | None = None,
    tls_ca: Path | None = None,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
    tls_first: bool = False,
) -> ConnectionOptions:
    """Return how to reach NATS.

    Args:
        url: one URL, or several with commas in between.
        user: as for `ConnectionOptions`, like everything that is not a file with a secret.
        password_file: what is in it, without the line's end.
        token_file: likewise.
        credentials: see `ConnectionOptions`.
        nkey_seed: see `ConnectionOptions`.
        tls_ca: see `ConnectionOptions`.
        tls_certificate: see `ConnectionOptions`.
        tls_key: see `ConnectionOptions`.
        tls_first: see `ConnectionOptions`.

    Raises:
        InvalidValueError: something is out of its range, or a file cannot be read.
        MissingDependencyError: nats-py is not installed.
    """
    from chronostream.bridges.connection import ConnectionOptions

    return ConnectionOptions(
        servers=tuple(part.strip() for part in url.split(",")),
        user=user,
        password=_secret(password_file),
        token=_secret(token_file),
        credentials=credentials,
        nkey_seed=nkey_seed,
        tls_ca=tls_ca,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        tls_first=tls_first,
    )


def run_until_signal(work: Callable[[asyncio.Event], Awaitable[_T]]) -> _T:
    """Log to stderr, and run `work` with an event that SIGTERM, SIGINT and SIGHUP set; return what it returns."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(format="%(asctime)sZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")
    logging.getLogger("chronostream").setLevel(logging.INFO)

    async def run() -> _T:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        return await work(stop)

    return asyncio.run(run())


def _secret(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(f"{file} cannot be read: {error}") from None

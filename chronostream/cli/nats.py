"""What the commands that talk to NATS share: how to be let in, and how to run until told to stop."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer

from chronostream.cli.log import log_to_stderr
from chronostream.errors import InvalidValueError

if TYPE_CHECKING:
    from chronostream.bridges.connection import ConnectionOptions
    from chronostream.clock import Stop

__all__ = ["Connect", "FromNats", "JetStream", "NatsName", "run_until_signal", "takes_connection"]

_T = TypeVar("_T")
Connect: TypeAlias = Callable[[str], "ConnectionOptions"]
"""Makes of a URL, or of several with commas in between, how to reach NATS."""

JetStream = Annotated[
    str | None,
    typer.Option("--stream", help="The JetStream stream; CHRONOSTREAM_ and the name by default.", show_default=False),
]

FromNats = Annotated[
    str | None,
    typer.Option(help="Take the events that JetStream holds: the URL of a NATS server.", show_default=False),
]
NatsName = Annotated[str | None, typer.Option(help="The stream's name there; NAME by default.", show_default=False)]


def _option(*names: str, help_: str) -> Any:
    return typer.Option(*names, help=help_, show_default=False, rich_help_panel="How to reach NATS")


_File: TypeAlias = Path | None
_OPTIONS: dict[str, Any] = {
    "user": Annotated[str | None, _option(help_="User name, with --password-file; both may be in the URL instead.")],
    "password_file": Annotated[_File, _option(help_="File with the user's password.")],
    "token_file": Annotated[_File, _option(help_="File with a token.")],
    "credentials": Annotated[_File, _option("--creds", help_="File with a JWT and its key's seed.")],
    "nkey_seed": Annotated[_File, _option("--nkey", help_="File with a key's seed.")],
    "tls_ca": Annotated[_File, _option(help_="Certificates to trust instead of the system's.")],
    "tls_certificate": Annotated[_File, _option("--tls-cert", help_="This side's certificate.")],
    "tls_key": Annotated[_File, _option(help_="The key of that certificate.")],
    "tls_first": Annotated[bool, _option("--tls-first", help_="Begin with TLS; the server must do the same.")],
}


def takes_connection(command: Callable[..., _T]) -> Callable[..., _T]:
    """Give a command the options that say how to be let in; it gets them as its argument ``connect``, a `Connect`.

    Secrets come from files, not from the command line, where everybody on the machine could read them.
    """
    own = inspect.signature(command, eval_str=True)
    parameters = [each for each in own.parameters.values() if each.name != "connect"]
    for name, annotation in _OPTIONS.items():
        default = False if name == "tls_first" else None
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)
        )

    @functools.wraps(command)
    def with_connection(**arguments: Any) -> _T:
        how = {name: arguments.pop(name) for name in _OPTIONS}
        return command(connect=functools.partial(_connection, how), **arguments)

    del with_connection.__wrapped__  # Its signature is not the one to look at.
    with_connection.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect reads it
    with_connection.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_connection


def run_until_signal(work: Callable[[asyncio.Event], Awaitable[_T]]) -> _T:
    """Log to stderr, and run `work` with an event that SIGTERM, SIGINT and SIGHUP set; return what it returns."""
    from chronostream.producer.life import stopped_by_signals

    log_to_stderr()

    async def run(signalled: Stop) -> _T:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def on_signal() -> None:
            loop.remove_reader(signalled)
            stop.set()

        loop.add_reader(signalled, on_signal)
        return await work(stop)

    with stopped_by_signals() as signalled:
        return asyncio.run(run(signalled))


def _connection(how: dict[str, Any], url: str) -> ConnectionOptions:
    from chronostream.bridges.connection import ConnectionOptions

    options = {name: value for name, value in how.items() if not name.endswith("_file")}
    return ConnectionOptions(
        servers=tuple(part.strip() for part in url.split(",")),
        password=_secret(how["password_file"]),
        token=_secret(how["token_file"]),
        **options,
    )


def _secret(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(f"{file} cannot be read: {error}") from None

"""What the commands that talk to NATS share: the connection, and running until a signal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from chronostream._log import log_to_stderr
from chronostream.cli.app import CONNECTION, FROM_NATS
from chronostream.errors import InvalidValueError

if TYPE_CHECKING:
    from chronostream.bridges.connection import ConnectionOptions
    from chronostream.clock import Stop

__all__ = ["connection_of", "nats_source", "run_until_signal", "split_options"]

_T = TypeVar("_T")


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options about NATS, and the others."""
    names = {option.name for option in (*FROM_NATS, *CONNECTION)}
    about_nats = {name: value for name, value in options.items() if name in names}
    return about_nats, {name: value for name, value in options.items() if name not in names}


def nats_source(
    name: str, from_nats: str, nats_name: str | None = None, stream: str | None = None, **connection: Any
) -> dict[str, Any]:
    """Return what `chronostream.bridges.history.fetch` needs to find a stream; `connection` is of `connection_of`."""
    return {"connection": connection_of(from_nats, **connection), "name": nats_name or name, "stream": stream}


def connection_of(
    urls: str, password_file: Path | None = None, token_file: Path | None = None, **options: Any
) -> ConnectionOptions:
    """Return how to reach NATS: commas separate the URLs, and `options` are further fields of `ConnectionOptions`."""
    from chronostream.bridges.connection import ConnectionOptions

    servers = tuple(part.strip() for part in urls.split(","))
    return ConnectionOptions(servers=servers, password=_secret(password_file), token=_secret(token_file), **options)


def run_until_signal(prepare: Callable[[], Callable[[asyncio.Event], Awaitable[_T]]]) -> _T:
    """Log to stderr, and run what `prepare` returns with an event that SIGTERM, SIGINT and SIGHUP set.

    They also end it while `prepare` imports nats-py, which takes long.

    Returns:
        The result.
    """
    from chronostream.producer.life import stopped_by_signals

    log_to_stderr()

    async def run(work: Callable[[asyncio.Event], Awaitable[_T]], signalled: Stop) -> _T:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def on_signal() -> None:
            loop.remove_reader(signalled)
            stop.set()

        loop.add_reader(signalled, on_signal)
        return await work(stop)

    with stopped_by_signals() as signalled:
        return asyncio.run(run(prepare(), signalled))


def _secret(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(f"{file} cannot be read: {error}") from None

"""``chronostream mirror``: a stream of other hosts as a ring on this one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from chronostream.cli.nats import connection_of, run_until_signal, split_options

__all__ = ["mirror"]

_log = logging.getLogger("chronostream")


def mirror(url: str, name: str, as_: str | None = None, **options: Any) -> None:
    """Mirror until a signal comes; `options` are those of `connection_of` and of `Mirror`."""
    connection_options, others = split_options(options)

    def prepare() -> Callable[[asyncio.Event], Awaitable[bool]]:
        connection = connection_of(url, **connection_options)
        from chronostream.bridges.mirror import Mirror

        return Mirror(name, connection, local_name=as_, **others).run

    if run_until_signal(prepare):
        _log.info("stopped: stream %r closed, and kept for the next run", as_ or name)
    else:
        _log.info("stopped: nothing was there to mirror")

"""``chronostream relay``: deliver a stream to other hosts through NATS JetStream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from chronostream.cli.nats import connection_of, run_until_signal, split_options

if TYPE_CHECKING:
    from chronostream.bridges.relay import RelayReport

__all__ = ["relay"]

_log = logging.getLogger("chronostream")

_LIMITS = ("replicas", "max_age_s", "max_messages", "max_bytes")


def relay(name: str, to: str, as_: str | None = None, stream: str | None = None, **options: Any) -> int:
    """Deliver until the stream is closed or a signal comes; return 1 if some events could not be delivered.

    `options` are those of `connection_of`, of `Limits` and of `Relay`.
    """
    connection_options, others = split_options(options)

    def prepare() -> Callable[[asyncio.Event], Awaitable[RelayReport]]:
        connection = connection_of(to, **connection_options)
        from chronostream.bridges.jetstream import Limits
        from chronostream.bridges.relay import Relay

        limits = Limits(**{each: others.pop(each) for each in _LIMITS if each in others})
        return Relay(name, connection, to_name=as_, to_stream=stream, limits=limits, **others).run

    report = run_until_signal(prepare)
    lost = sum(report.lost.values())
    _log.info("stopped: %d events delivered, %d could not be", report.delivered, lost)
    for loss in report.losses:
        _log.warning("not delivered: %s", loss)
    return 1 if lost else 0

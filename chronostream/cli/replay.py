"""``chronostream replay``: a past range as events into a ring, computed or out of NATS JetStream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import click

from chronostream.backfill import count_expected, fill
from chronostream.backfill import replay as replay_range
from chronostream.cli.nats import nats_source, split_options
from chronostream.cli.progress import progress
from chronostream.errors import InvalidValueError, StreamMismatchError
from chronostream.event import Frequency
from chronostream.producer.life import stopped_by_signals
from chronostream.stream.config import StreamConfig

__all__ = ["replay"]

_INTERRUPTED = 1


def replay(name: str, speed: str, start_ns: int | None = None, end_ns: int | None = None, **options: Any) -> int:
    """Publish the range; return 1 if a signal ended it early.

    `options` are those of `nats_source`, and fields of `StreamConfig`.
    """
    nats, fields = split_options(options)
    config = StreamConfig(name=name, **fields)
    if nats.get("from_nats") is not None:
        if "timezone" in fields or "instance_id" in fields or speed != "max":
            raise InvalidValueError("--timezone, --speed and --instance-id do not go with --from-nats: it has them all")
        frequencies = config.frequencies if "frequencies" in fields else None
        return _replay_nats(nats_source(name, **nats), config, frequencies, start_ns, end_ns)
    if start_ns is None or end_ns is None:
        absent = "--from" if start_ns is None else "--to"
        raise InvalidValueError(f"Missing option '{absent}': a range has a start and an end, unless it is --from-nats")
    total = count_expected(config.frequencies, start_ns, end_ns, config.timezone)
    with stopped_by_signals() as stop, progress(name, total) as on_progress:
        count = replay_range(name, start_ns, end_ns, speed=speed, stop=stop, on_progress=on_progress, **fields)
    click.echo(f"stream {name!r}: {count} of {total} events, {_end(config)}")
    return 0 if count == total else _INTERRUPTED


def _replay_nats(
    source: dict[str, Any],
    config: StreamConfig,
    frequencies: Iterable[Frequency | str | int] | None,
    start_ns: int | None,
    end_ns: int | None,
) -> int:
    from chronostream.bridges.history import fetch, fetch_origin

    origin = fetch_origin(**source)
    chosen = Frequency.parse_all(frequencies or origin.frequencies)
    if foreign := [frequency.label for frequency in chosen if frequency not in origin.frequencies]:
        raise StreamMismatchError(f"the stream {source['name']!r} has no events of frequency {', '.join(foreign)}")
    config = replace(
        config,
        frequencies=chosen,
        timezone=origin.zone.timezone,
        sequencer=origin.sequencer,  # type: ignore[arg-type]  # checked by it
    )
    parts = fetch(**source, frequencies=chosen, start_ns=start_ns, end_ns=end_ns)
    with stopped_by_signals() as stop, progress(config.name, None) as on_progress:
        count = fill(config, parts, stop=stop, on_progress=on_progress)
        ended = not stop.is_set()
    click.echo(f"stream {config.name!r}: {count} events, {_end(config)}")
    return 0 if ended else _INTERRUPTED


def _end(config: StreamConfig) -> str:
    return "removed" if config.remove else "closed and kept"

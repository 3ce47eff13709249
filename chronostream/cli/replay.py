"""``chronostream replay``: a past range as events into a ring, computed or out of NATS JetStream."""

from __future__ import annotations

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


def replay(name: str, speed: str, start_ns: int | None = None, end_ns: int | None = None, **options: Any) -> int:
    """Publish the range; return 1 if a signal ended it early.

    `options` are those of `nats_source`, and fields of `StreamConfig`.
    """
    nats, fields = split_options(options)
    config = StreamConfig(name=name, **fields)
    if "from_nats" in nats:
        if "timezone" in fields or "instance_id" in fields or speed != "max":
            raise InvalidValueError("--timezone, --speed and --instance-id do not go with --from-nats: it has them all")
        source = nats_source(name, **nats) | {"start_ns": start_ns, "end_ns": end_ns}
        return _replay_nats(source, config, all_frequencies="frequencies" not in fields)
    if start_ns is None or end_ns is None:
        absent = "--from" if start_ns is None else "--to"
        raise InvalidValueError(f"Missing option '{absent}': a range has a start and an end, unless it is --from-nats")
    total = count_expected(config.frequencies, start_ns, end_ns, config.timezone)
    with stopped_by_signals() as stop, progress(name, total) as on_progress:
        count = replay_range(name, start_ns, end_ns, speed=speed, stop=stop, on_progress=on_progress, **fields)
    return _end(config, f"{count} of {total}", early=count < total)


def _replay_nats(source: dict[str, Any], config: StreamConfig, *, all_frequencies: bool) -> int:
    from chronostream.bridges.history import fetch, fetch_origin

    origin = fetch_origin(source["connection"], source["name"], stream=source["stream"])
    chosen = Frequency.parse_all(origin.frequencies if all_frequencies else config.frequencies)
    if foreign := [frequency.label for frequency in chosen if frequency not in origin.frequencies]:
        raise StreamMismatchError(f"the stream {source['name']!r} has no events of frequency {', '.join(foreign)}")
    config = replace(
        config,
        frequencies=chosen,
        timezone=origin.zone.timezone,
        sequencer=origin.sequencer,  # type: ignore[arg-type]  # checked by it
    )
    with stopped_by_signals() as stop, progress(config.name) as on_progress:
        parts = fetch(**source, frequencies=chosen)
        count = fill(config, parts, stop=stop, on_progress=on_progress, zone_data=origin.zone)
        early = stop.is_set()
    return _end(config, str(count), early=early)


def _end(config: StreamConfig, count: str, *, early: bool) -> int:
    click.echo(f"stream {config.name!r}: {count} events, {'removed' if config.remove else 'closed and kept'}")
    return 1 if early else 0

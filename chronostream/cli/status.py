"""``chronostream status``: every stream, or one, at this moment."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from chronostream import ring
from chronostream._values import utc_text
from chronostream.cli.figures import NO_STREAMS, duration_text, printable_text, size_text
from chronostream.observe.survey import survey
from chronostream.stream.status import EngineStatus, FrequencyStatus, MirrorStatus, StreamStatus, stream_status

__all__ = ["status"]


def status(format_: str, name: str | None = None, any_owner: bool = False) -> None:
    """Print one stream, or all, in full."""
    if name is not None:
        found = stream_status(name, any_owner=any_owner)
        click.echo(json.dumps(found.as_dict()) if format_ == "json" else _text(found))
        return
    everything = survey(any_owner=any_owner)
    shown = [(each.ring.name, _text(each), each.as_dict()) for each in everything.streams]
    shown += [(each.name, f"{each.name}  {each.state}\n  {each.error}", asdict(each)) for each in everything.unreadable]
    shown.sort(key=lambda each: each[0])
    if format_ == "json":
        click.echo(json.dumps([plain for _, _, plain in shown]))
    elif not shown:
        click.echo(NO_STREAMS, err=True)
    else:
        click.echo("\n\n".join(text for _, text, _ in shown))


def _text(stream: StreamStatus) -> str:
    of = stream.ring
    lines = [
        f"{of.name}  {of.state}  pid {of.pid}  generation {of.generation}  since {utc_text(of.started_ns)}",
        f"  ring       head {of.head}  capacity {of.capacity}  {size_text(of.segment_size)}  {ring.CORE} core here",
    ]
    if stream.mirror is not None:
        lines += _mirror_lines(stream.mirror)
    elif stream.engine is None:
        lines.append(f"  records    {of.dtype}")
    else:
        lines += _engine_lines(stream.engine)
    if of.instance:
        lines.append(f"  instance   {of.instance}  version {of.version}")
    lines += [
        f"  consumer   {consumer.label}  pid {consumer.pid}  lag {consumer.lag}  lost {consumer.lost}"
        for consumer in of.consumers
    ] or ["  consumers  none registered"]
    return "\n".join(map(printable_text, lines))


def _engine_lines(engine: EngineStatus) -> list[str]:
    met = "  ".join(f"{kind} {count}" for kind, count in engine.counts.items() if count)
    return [
        f"  clock      {engine.condition}  zone {engine.timezone}  sequence {engine.sequencer}"
        + (met and f"  ({met})"),
        *map(_frequency_line, engine.frequencies),
    ]


def _mirror_lines(mirror: MirrorStatus) -> list[str]:
    of, fresh = mirror.description, mirror.freshness
    state = "current" if fresh.stale_since_ns is None else f"stale since {utc_text(fresh.stale_since_ns)}"
    link = "connected" if fresh.connected else "not connected"
    return [
        f"  mirror     of {of.source} through JetStream stream {of.stream}, up to message {fresh.sequence}",
        f"  fresh      {state}, seen {utc_text(fresh.checked_ns)}  {link}  skipped {fresh.skipped}",
        f"  clock      zone {of.timezone}  sequence {of.sequencer}  zone data {of.zone_data}",
    ]


def _frequency_line(of: FrequencyStatus) -> str:
    last = (
        "none yet" if of.last_timestamp is None else f"last {utc_text(of.last_timestamp)} sequence {of.last_sequence}"
    )
    late = ""
    if of.lateness is not None:
        figures = (of.lateness.p50_ns, of.lateness.p99_ns, of.lateness.p99_9_ns, of.lateness.max_ns)
        late = f"  late p50/p99/p99.9/max {' / '.join(map(duration_text, figures))}"
    return f"  {of.frequency.label:<10} {last}  missed {of.missed}{late}"

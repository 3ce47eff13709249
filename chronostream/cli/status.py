"""``chronostream status``: every stream, or one, at this moment."""

from __future__ import annotations

from dataclasses import asdict

from chronostream import ring
from chronostream._values import utc_text
from chronostream.cli.figures import duration_text, print_result, print_streams, size_text
from chronostream.observe.survey import survey
from chronostream.scheduler import Condition
from chronostream.stream.description import Description
from chronostream.stream.state import Freshness
from chronostream.stream.status import EngineStatus, FrequencyStatus, StreamStatus, stream_status

__all__ = ["status"]


def status(format_: str, name: str | None = None, any_owner: bool = False) -> None:
    """Print one stream, or all, in full."""
    if name is not None:
        found = stream_status(name, any_owner=any_owner)
        print_result(format_, found.as_dict(), _lines(found))
        return
    everything = survey(any_owner=any_owner)
    streams = [(each.ring.name, _lines(each), each.as_dict()) for each in everything.streams]
    streams += [
        (each.name, [f"{each.name}  {each.state}", f"  {each.error}"], asdict(each)) for each in everything.unreadable
    ]
    streams.sort(key=lambda stream: stream[0])
    lines = [line for _, lines, _ in streams for line in ("", *lines)][1:]
    print_streams(format_, [plain for _, _, plain in streams], lines)


def _lines(stream: StreamStatus) -> list[str]:
    found, description = stream.ring, stream.description
    since, size = utc_text(found.started_ns), size_text(found.segment_size)
    lines = [
        f"{found.name}  {found.state}  pid {found.pid}  generation {found.generation}  since {since}",
        f"  ring       head {found.head}  capacity {found.capacity}  {size}  {ring.CORE} core here",
    ]
    if stream.error is not None:
        lines.append(f"  state      {stream.error}")
    freshness = stream.freshness
    if stream.overdue_since_ns is not None and (freshness is None or freshness.checked_ns == stream.overdue_since_ns):
        lines.append(f"  overdue    since {utc_text(stream.overdue_since_ns)}: process {found.pid} hangs")
    if description is not None and stream.engine is not None:
        lines += _engine_lines(description, stream.engine)
    elif description is not None and stream.freshness is not None:
        lines += _mirror_lines(description, stream.freshness)
    else:
        lines.append(f"  records    {found.dtype}")
    lines += _zone_lines(stream)
    if found.instance:
        lines.append(f"  instance   {found.instance}  version {found.version}")
    consumers = [
        f"  consumer   {consumer.label}  pid {consumer.pid}  lag {consumer.lag}  lost {consumer.lost}"
        for consumer in found.consumers
    ]
    return lines + (consumers or ["  consumers  none registered"])


def _engine_lines(description: Description, engine: EngineStatus) -> list[str]:
    situations = "  ".join(f"{kind} {count}" for kind, count in engine.counts.items() if count)
    return [
        f"  clock      {engine.condition}  zone {description.timezone}  sequence {description.sequencer}"
        + (situations and f"  ({situations})"),
        *(f"  advice     {advice}" for advice in [Condition(engine.condition).advice] if advice),
        *map(_frequency_line, engine.frequencies),
    ]


def _zone_lines(stream: StreamStatus) -> list[str]:
    known, lines = stream.zone_data, list[str]()
    if stream.engine is not None:
        lines.append("unknown until a producer takes the stream over" if known is None else str(known.current))
    if known is not None and known.replaced_at_ns:
        lines.append(f"{known.replaced or 'unknown'} until {utc_text(known.replaced_at_ns)}")
    if known is not None and known.on_disk is not None:
        lines.append(f"{known.on_disk} on the producer's disk: restart it to use them")
    if stream.zone_difference is not None:
        lines.append(stream.zone_difference)
    return [f"  zone data  {line}" for line in lines]


def _mirror_lines(description: Description, freshness: Freshness) -> list[str]:
    source, since_ns = description.source, freshness.stale_since_ns
    assert source is not None
    state = "current" if since_ns is None else f"stale since {utc_text(since_ns)}"
    link = "connected" if freshness.connected else "not connected"
    return [
        f"  mirror     of {source.name} through JetStream stream {source.stream}, up to message {freshness.sequence}",
        f"  fresh      {state}, seen {utc_text(freshness.checked_ns)}  {link}  skipped {freshness.skipped}",
        f"  clock      zone {description.timezone}  sequence {description.sequencer}  zone data {source.zone_data}",
    ]


def _frequency_line(status: FrequencyStatus) -> str:
    last = "none yet"
    if status.last_timestamp is not None:
        last = f"last {utc_text(status.last_timestamp)} sequence {status.last_sequence}"
    late = ""
    if status.lateness is not None:
        figures = (status.lateness.p50_ns, status.lateness.p99_ns, status.lateness.p99_9_ns, status.lateness.max_ns)
        late = f"  late p50/p99/p99.9/max {' / '.join(map(duration_text, figures))}"
    return f"  {status.frequency:<10} {last}  missed {status.missed}{late}"

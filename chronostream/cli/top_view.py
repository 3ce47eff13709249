"""What ``chronostream top`` looks like, drawn by `rich`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import compress

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType, RenderResult
from rich.panel import Panel
from rich.segment import Segment, SegmentLines
from rich.table import Table
from rich.text import Text

from chronostream._stdio import printable_text
from chronostream._values import SECOND_NS, utc_text
from chronostream.cli.figures import NO_STREAMS, age_text, duration_text, rate_text, size_text
from chronostream.observe.change import ConsumerChange, FrequencyChange, StreamChange
from chronostream.observe.survey import Survey, Unreadable
from chronostream.stream.lateness import events_below
from chronostream.stream.status import StreamStatus

__all__ = ["Frame", "shape_text"]

_STATES = {"live": "green", "closed": "blue", "dead": "red", "broken": "red", "denied": "yellow"}
_TROUBLES = ("held", "quarantined", "overdue", "stale", "not connected")
_CONDITIONS = {"holding": "yellow"} | dict.fromkeys(_TROUBLES, "red")
# From these widths of the terminal on there is room for more columns. Those of misses and losses are always there.
_NARROW, _MEDIUM, _WIDE = 60, 80, 110
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_HEIGHTS = "▁▂▃▄▅▆▇█"
# The columns of a shape end at these powers of two nanoseconds, 1 µs to 4.3 s; one more is for what is later.
_POWERS = range(10, 33, 2)
_CAUTION, _DANGER = 0.5, 0.9
_LATE_NS = 100_000_000
_DURATION_WIDTH = len("99.9 ms")
_Column = tuple[str, JustifyMethod, int, int]
"""Title, alignment and least width of a column, and from which width of the terminal on it is there."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture. With `keys` it is cut to the height of the screen, from line `skipped` on; otherwise it is whole.

    Attributes:
        survey: the streams.
        changes: what happened to them.
        window_s: within how many seconds.
        missing: requested streams that do not exist.
        keys: the line at the bottom, which names the keys; empty for a picture on paper.
        skipped: how many lines the reader has moved down.
    """

    survey: Survey
    changes: tuple[StreamChange, ...]
    window_s: float
    missing: tuple[str, ...] = ()
    keys: str = ""
    skipped: int = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        head, body, room = self._lines(console, options)
        if not self.keys:
            yield SegmentLines(head + body, new_lines=True)
            return
        first = min(self.skipped, max(0, len(body) - room))
        visible = body[first : first + room]
        visible += [[Segment(" " * options.max_width)]] * (room - len(visible))
        foot = self.keys
        if len(body) > room:
            foot += f"   ↑ ↓ lines {first + 1} to {first + room} of {len(body)}"
        text = Text(foot, "dim", no_wrap=True, overflow="ellipsis")
        yield SegmentLines([*head, *visible, *console.render_lines(text, options.update(height=1))], new_lines=True)

    def hidden(self, console: Console) -> int:
        """Return how many lines do not fit onto the console's screen at once."""
        _, body, room = self._lines(console, console.options)
        return max(0, len(body) - room)

    def _lines(self, console: Console, options: ConsoleOptions) -> tuple[list[list[Segment]], list[list[Segment]], int]:
        """Return the lines of the head, those of the body, and how many of the latter a screen has room for."""
        now_ns, width = self.survey.realtime_ns, options.max_width
        panels = {change.now.ring.name: _stream(change, now_ns, self.window_s, width) for change in self.changes}
        panels |= {unreadable.name: _unreadable(unreadable) for unreadable in self.survey.unreadable}
        drawn: list[RenderableType] = [panels[name] for name in sorted(panels)]
        if self.missing:
            drawn.append(Text(f"\n  not on this machine: {', '.join(self.missing)}", "dim"))
        elif not drawn:
            drawn.append(Text(f"\n  {NO_STREAMS}", "dim"))
        unlimited = options.update(height=None)
        head = console.render_lines(_head(self.survey), unlimited)
        body = console.render_lines(Group(*drawn), unlimited)
        return head, body, max(1, options.size.height - len(head) - 1)


def shape_text(counts: npt.NDArray[np.uint64]) -> str:
    """Return a lateness histogram as a row of bars, below 1 µs to above 4 s, each column four times the last.

    A bar's height is the logarithm of its count, so that one late event among millions is seen.
    """
    ends = [events_below(counts, power) for power in _POWERS] + [int(counts.sum())]
    columns = [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    highest = max(columns)
    if not highest:
        return "·" * len(columns)
    steps = len(_HEIGHTS) - 1
    return "".join(
        _HEIGHTS[round(steps * np.log1p(column) / np.log1p(highest))] if column else "·" for column in columns
    )


def _head(survey: Survey) -> RenderableType:
    states = [stream.ring.state for stream in survey.streams] + [stream.state for stream in survey.unreadable]
    counts = [f"{states.count(state)} {state}" for state in _STATES if state in states]
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_column(justify="right", no_wrap=True)
    streams = "1 stream" if len(states) == 1 else f"{len(states)} streams"
    grid.add_row(
        Text.assemble((" chronostream", "bold"), f"  {streams}", (f"  {', '.join(counts)}", "dim")),
        Text(f"{utc_text(survey.realtime_ns)} ", "bold"),
    )
    return grid


def _stream(change: StreamChange, now_ns: int, window_s: float, width: int) -> Panel:
    ring = change.now.ring
    condition = _condition(change.now) if ring.state == "live" else ""
    parts: list[RenderableType] = [_facts(change, now_ns)]
    if change.now.error is not None:
        parts.append(Text(printable_text(change.now.error), "yellow"))
    if change.frequencies:
        parts.append(_frequencies(change.frequencies, now_ns, window_s, width))
    parts.append(_consumers(change.consumers, ring.capacity, width))
    rate = "" if change.rate is None or ring.state != "live" else f"  {rate_text(change.rate)}"
    colour = _CONDITIONS.get(condition, _STATES[ring.state])
    about = f"  {ring.state}{'  ' if condition else ''}{condition}{rate}"
    return _panel(Group(*parts), ring.name, about, colour, "red" if colour == "red" else "bright_black")


def _unreadable(stream: Unreadable) -> Panel:
    colour = _STATES[stream.state]
    return _panel(Text(printable_text(stream.error)), stream.name, f"  {stream.state}", colour, colour)


def _panel(content: RenderableType, name: str, about: str, colour: str, border: str) -> Panel:
    title = Text.assemble((f"● {name}", f"bold {colour}"), about)
    return Panel(content, title=title, title_align="left", border_style=border, box=box.ROUNDED, padding=(0, 1))


def _condition(stream: StreamStatus) -> str:
    """Return how the clock, or the way from another host, is; empty for a ring that knows of neither."""
    freshness = stream.freshness
    if freshness is not None and not freshness.connected:
        return "not connected"
    if freshness is not None and freshness.stale:
        return "stale"
    if stream.overdue_since_ns is not None:
        return "overdue"
    if stream.engine is not None:
        return stream.engine.condition
    return "" if freshness is None else "current"


def _facts(change: StreamChange, now_ns: int) -> Text:
    ring = change.now.ring
    age = age_text((now_ns - ring.started_ns) / SECOND_NS)
    facts = [
        f"pid {ring.pid}" + ("" if ring.same_namespace else " of another container"),
        f"generation {ring.generation}",
        f"up {age}" if ring.state == "live" else f"begun {age} ago",
        _what(change.now),
        f"{ring.head:,} published, ring of {ring.capacity:,}, {size_text(ring.segment_size)}",
    ]
    return Text(printable_text("   ".join(facts)), "dim", no_wrap=True, overflow="ellipsis")


def _what(stream: StreamStatus) -> str:
    description, dtype = stream.description, stream.ring.dtype
    if description is not None and description.source is not None:
        return f"mirror of {description.source.name}, {description.timezone}"
    if description is not None:
        return f"{description.timezone}, {description.sequencer} sequences"
    return str(dtype) if dtype.names is None else f"records of {dtype.itemsize} bytes"


def _frequencies(frequencies: Iterable[FrequencyChange], now_ns: int, window_s: float, width: int) -> Table:
    rows: list[list[RenderableType]] = []
    for frequency in frequencies:
        now, late = frequency.now, frequency.now.lateness
        missed = _count_and_news(now.missed, frequency.missed, "yellow")
        if now.last_timestamp is None or now.last_sequence is None or late is None:
            rows.append([now.frequency.label, Text("none yet", "dim"), "", missed])
            continue
        ago = age_text((now_ns - now.last_timestamp) / SECOND_NS) + (" ago" if width >= _NARROW else "")
        figures = [_late(ns) for ns in (late.p50_ns, late.p99_ns, late.p99_9_ns, late.max_ns)]
        recent = _late(frequency.recent.max_ns) if frequency.recent else Text("-", "dim")
        shape = Text(shape_text(late.counts), "cyan")
        rows.append([now.frequency.label, ago, f"{now.last_sequence:,}", missed, *figures, recent, shape])
    columns: list[_Column] = [
        ("EVENT", "left", 10 if width >= _NARROW else 0, 0),
        ("LAST", "left", 9, 0),
        ("SEQUENCE", "right", 11, _NARROW),
        ("MISSED", "right", 7, 0),
        ("LATE p50", "right", _DURATION_WIDTH, _MEDIUM),
        ("p99", "right", _DURATION_WIDTH, _MEDIUM),
        ("p99.9", "right", _DURATION_WIDTH, _WIDE),
        ("MAX", "right", _DURATION_WIDTH, _MEDIUM),
        (f"MAX {window_s:g} s", "right", _DURATION_WIDTH, _WIDE),
        ("1µs  SHAPE  4s", "left", len(_POWERS) + 1, _WIDE),
    ]
    return _table(width, columns, rows)


def _late(ns: int) -> Text:
    return Text(duration_text(ns), "yellow" if ns >= _LATE_NS else "")


def _consumers(consumers: Iterable[ConsumerChange], capacity: int, width: int) -> RenderableType:
    wide = width >= _WIDE
    label_width, cells, lag_width = (24, 20, 16) if wide else (16, 8, 10) if width >= _NARROW else (10, 0, 6)
    rows: list[list[RenderableType]] = []
    for consumer in consumers:
        label = Text(printable_text(consumer.now.label) or "unnamed", "" if consumer.now.label else "dim")
        label.truncate(label_width, overflow="ellipsis")
        rate = "" if consumer.rate is None else rate_text(consumer.rate)
        lag = f"{consumer.now.lag:,} of {capacity:,}" if wide else f"{consumer.now.lag:,}"
        lost = _count_and_news(consumer.now.lost, consumer.lost, "red")
        rows.append([label, str(consumer.now.pid), rate, _bar(consumer.fill, cells), lag, lost])
    columns: list[_Column] = [
        ("CONSUMER", "left", label_width, 0),
        ("PID", "right", 7, _MEDIUM),
        ("READS", "right", 8, _MEDIUM),
        ("LAG", "left", cells + 2, _NARROW),
        ("" if width >= _NARROW else "LAG", "right", lag_width, 0),
        ("LOST", "right", 10, 0),
    ]
    return _table(width, columns, rows) if rows else Text("no registered consumers", "dim")


def _bar(fill: float, cells: int) -> Text:
    eighths = max(round(fill * cells * 8), fill > 0)  # A little is not nothing.
    bar = ("█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")).ljust(cells)
    colour = "green" if fill < _CAUTION else "yellow" if fill < _DANGER else "red"
    return Text.assemble(("▕", "dim"), (bar, colour), ("▏", "dim"))


def _count_and_news(count: int, news: int, colour: str) -> Text:
    text = Text(f"{count:,}", colour if count else "")
    if news:
        text.append(f" +{news:,}", f"bold {colour}")
    return text


def _table(width: int, columns: Iterable[_Column], rows: Iterable[Iterable[RenderableType]]) -> Table:
    """Return a table of those columns for which the terminal is wide enough."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bright_black")
    fits = []
    for title, justify, min_width, from_width in columns:
        fits.append(width >= from_width)
        if fits[-1]:
            table.add_column(title, justify=justify, no_wrap=True, min_width=min_width)
    for row in rows:
        table.add_row(*compress(row, fits))
    return table

"""``chronostream list``: one line a stream."""

from __future__ import annotations

from typing import Any

from chronostream.cli.figures import print_streams
from chronostream.event import EVENT_DTYPE
from chronostream.observe.survey import Unreadable, survey
from chronostream.stream.status import StreamStatus

__all__ = ["list_"]

_NUMBERS = ("pid", "head", "capacity", "consumers", "lost")
_COLUMNS = ("name", "state", "pid", "carries", "head", "capacity", "consumers", "lost")


def list_(format_: str, any_owner: bool = False) -> None:
    """Print a line for each stream, and one above them."""
    found = survey(any_owner=any_owner)
    rows = sorted([*map(_row, found.streams), *map(_unreadable, found.unreadable)], key=lambda row: str(row["name"]))
    table = [{column: column.upper() for column in _COLUMNS}, *map(_cells, rows)]
    widths = {column: max(len(row[column]) for row in table) for column in _COLUMNS}
    lines = [
        "  ".join(f"{row[column]:{'>' if column in _NUMBERS else '<'}{widths[column]}}" for column in _COLUMNS).rstrip()
        for row in table
    ]
    print_streams(format_, rows, lines)


def _row(stream: StreamStatus) -> dict[str, Any]:
    ring = stream.ring
    return {
        "name": ring.name,
        "state": ring.state,
        "pid": ring.pid,
        "carries": _carries(stream),
        "head": ring.head,
        "capacity": ring.capacity,
        "consumers": len(ring.consumers),
        "lost": sum(consumer.lost for consumer in ring.consumers),
        "overdue_since_ns": stream.overdue_since_ns,
    }


def _unreadable(stream: Unreadable) -> dict[str, Any]:
    return dict.fromkeys(_COLUMNS) | {"name": stream.name, "state": stream.state, "error": stream.error}


def _carries(stream: StreamStatus) -> str:
    """Return what is in a stream as one word: spaces separate the columns."""
    if stream.description is not None:
        return ",".join(map(str, stream.description.frequencies))
    if stream.ring.dtype == EVENT_DTYPE:
        return "events"
    text = str(stream.ring.dtype)
    return "records" if " " in text else text


def _cells(row: dict[str, Any]) -> dict[str, str]:
    cells = {column: "-" if row[column] is None else str(row[column]) for column in _COLUMNS}
    return cells | ({"state": "overdue"} if row.get("overdue_since_ns") is not None else {})

"""``chronostream list``: one line a stream."""

from __future__ import annotations

import json
from typing import Any

import click

from chronostream._stdio import print_lines
from chronostream.cli.figures import NO_STREAMS
from chronostream.event import EVENT_DTYPE
from chronostream.observe.survey import Unreadable, survey
from chronostream.stream.status import StreamStatus

__all__ = ["list_"]

_COLUMNS = ("name", "state", "pid", "carries", "head", "capacity", "consumers", "lost")
_NUMBERS = ("pid", "head", "capacity", "consumers", "lost")


def list_(format_: str, any_owner: bool = False) -> None:
    """Print a line for each stream, and one above them."""
    found = survey(any_owner=any_owner)
    rows = sorted(
        [_row(stream) for stream in found.streams] + [_unreadable(stream) for stream in found.unreadable], key=_name
    )
    if format_ == "json":
        click.echo(json.dumps(rows))
    elif not rows:
        click.echo(NO_STREAMS, err=True)
    else:
        print_lines(*_table([dict(zip(_COLUMNS, map(str.upper, _COLUMNS), strict=True)), *map(_texts, rows)]))


def _row(stream: StreamStatus) -> dict[str, Any]:
    ring = stream.ring
    lost = sum(consumer.lost for consumer in ring.consumers)
    columns = (ring.name, ring.state, ring.pid, _carries(stream), ring.head, ring.capacity, len(ring.consumers), lost)
    return dict(zip(_COLUMNS, columns, strict=True)) | {"overdue_since_ns": stream.overdue_since_ns}


def _carries(stream: StreamStatus) -> str:
    """Return what is in a stream as one word, so that columns can be told apart by the spaces between them."""
    if stream.description is not None:
        return ",".join(map(str, stream.description.frequencies))
    if stream.ring.dtype == EVENT_DTYPE:
        return "events"
    text = str(stream.ring.dtype)
    return "records" if " " in text else text


def _unreadable(stream: Unreadable) -> dict[str, Any]:
    return dict.fromkeys(_COLUMNS) | {"name": stream.name, "state": stream.state, "error": stream.error}


def _name(row: dict[str, Any]) -> str:
    return str(row["name"])


def _texts(row: dict[str, Any]) -> dict[str, str]:
    texts = {column: "-" if row[column] is None else str(row[column]) for column in _COLUMNS}
    return texts | ({"state": "overdue"} if row.get("overdue_since_ns") is not None else {})


def _table(rows: list[dict[str, str]]) -> list[str]:
    widths = {column: max(len(row[column]) for row in rows) for column in _COLUMNS}
    return [
        "  ".join(
            row[column].rjust(widths[column]) if column in _NUMBERS else row[column].ljust(widths[column])
            for column in _COLUMNS
        ).rstrip()
        for row in rows
    ]

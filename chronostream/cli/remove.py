"""``chronostream remove``: delete a stream."""

from __future__ import annotations

from contextlib import suppress

import click

from chronostream import ring
from chronostream.errors import ProducerActiveError, StreamNotFoundError
from chronostream.producer.process import stop_producer

__all__ = ["remove"]


def remove(name: str, force: bool = False) -> None:
    """Delete a stream; with `force` stop its producer first."""
    try:
        ring.remove(name)
    except ProducerActiveError:
        if not force:
            raise
        stop_producer(name)
        with suppress(StreamNotFoundError):  # It may have been started with --remove.
            ring.remove(name)
    click.echo(f"stream {name!r} removed")

"""``chronostream remove``: delete a stream."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from chronostream import ring
from chronostream.cli.options import Name
from chronostream.errors import ProducerActiveError, StreamNotFoundError
from chronostream.producer.process import stop_producer

__all__ = ["remove"]

_Force = Annotated[bool, typer.Option("--force", help="Stop its producer first, if it lives.")]


def remove(name: Name, force: _Force = False) -> None:
    """Delete a stream, with its events and its sequences.

    Refused with exit status 3 while its producer lives, unless --force stops that first.
    """
    try:
        ring.remove(name)
    except ProducerActiveError:
        if not force:
            raise
        stop_producer(name)
        with suppress(StreamNotFoundError):  # It may have been started with --remove.
            ring.remove(name)
    typer.echo(f"stream {name!r} removed")

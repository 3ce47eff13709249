"""What the examples share, so that each runs as it stands: a stream to follow, and when to stop.

Without a name on the command line, an example starts a scheduler process of its own, which ends with it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import chronostream as cs


@dataclass(frozen=True)
class Demo:
    """What an example is asked to do.

    Attributes:
        name: the stream to follow.
        count: how many events to wait for.
    """

    name: str
    count: int


@contextmanager
def demo(description: str | None, *, count: int = 3) -> Iterator[Demo]:
    """Give what the command line asks for, and keep a stream running for it if it names none."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("name", nargs="?", help="the stream to follow; one of its own if not given")
    parser.add_argument("--count", type=int, default=count, help="events to wait for (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.name is not None:
        yield Demo(arguments.name, arguments.count)
        return
    config = cs.StreamConfig(name=f"example-{os.getpid()}", frequencies=("second",), capacity=1024, remove=True)
    with cs.start(config):
        yield Demo(config.name, arguments.count)

"""What a core is, and which one is in use.

A core is the part of the ring that touches shared memory: a `Writer` for the producer and a `Reader` for a consumer,
by the numbered steps of docs/ring.md. There are two on one layout: ``native`` (C11 atomics, right on every
architecture) and ``portable`` (pure Python and numpy, right where stores become visible in order, which is x86-64).
``CHRONOSTREAM_CORE=native|portable`` chooses one; asking for one that is not there is an error, never a fallback.
"""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Callable
from typing import Any, Literal, Protocol, SupportsIndex, TypeAlias

import numpy.typing as npt

from chronostream.errors import ChronoStreamError, CoreUnavailableError
from chronostream.ring.layout import Layout

__all__ = ["CORE", "CORES", "Core", "IdleStrategy", "Reader", "Writer", "load_core"]

IdleStrategy: TypeAlias = Literal["busy-spin", "yielding", "sleeping", "blocking"]
"""What a consumer does while there is nothing to read, from the quickest to the cheapest."""

CORES = ("native", "portable")


class Writer(Protocol):
    """The producer's side. Every method raises the refusal (`ClosedError`, `ForkedError`) once there is one."""

    @property
    def head(self) -> int:
        """First position not yet published."""

    def open(self) -> None:
        """Mark the stream live and wake everybody: a dead producer may have left sleepers (docs/ring.md, T3)."""

    def publish(self, record: Any, /) -> None:
        """Do what `Producer.publish` says."""

    def publish_many(self, records: Any, /) -> None:
        """Do what `Producer.publish_many` says."""

    def offer(self, record: Any, /) -> bool:
        """Publish one record unless a registered consumer is a whole ring behind; return whether it was published."""

    def claim(self, count: int, /) -> int:
        """Claim the next `count` positions for writing, with a fence that orders all later stores behind it.

        Returns:
            The first of them.
        """

    def commit(self, first: int, count: int, rows: npt.NDArray[Any] | None, /) -> bool:
        """Publish the `count` records from `first` on: those that were written in place, or else `rows`.

        Returns:
            False, and nothing is published, if `first` is no longer the head.
        """

    def slowest(self) -> tuple[int, int] | None:
        """Return the place and the tail of the registered consumer that is furthest behind, or None."""

    def close(self) -> None:
        """Mark the stream closed and wake everybody."""

    def refuse(self, error: ChronoStreamError) -> None:
        """Let go of the memory; from now on every method raises `error`."""


class Reader(Protocol):
    """A consumer's side; with a place in the table it registers when it is made (docs/ring.md, R1 to R4).

    Every method raises the refusal (`ClosedError`, `ForkedError`) once there is one.
    """

    @property
    def position(self) -> int:
        """The next position to read."""

    @property
    def lost(self) -> int:
        """How many records were passed over since the start, because they had been overwritten."""

    @property
    def lag(self) -> int:
        """How many records are published and not yet read or lost."""

    @property
    def closed(self) -> bool:
        """Whether the stream is marked closed."""

    def read(self, limit: SupportsIndex | None = None) -> npt.NDArray[Any]:
        """Do what `Consumer.read` says."""

    def read_into(self, out: npt.NDArray[Any], /) -> int:
        """Do what `Consumer.read_into` says."""

    def peek(self, limit: SupportsIndex | None, /) -> tuple[int, int]:
        """Return the position and the number of at most `limit` records that lie in one piece, to be read in place."""

    def settle(self, first: int, count: int, /) -> int | None:
        """Move past the `count` records from `first` on, which were read in place.

        Returns:
            How many of them were overwritten meanwhile; None, and nothing moves, if `first` is no longer the position.
        """

    def wait(self, timeout_s: float, /) -> bool:
        """Wait for something to read; false when the time is up or the stream is marked closed."""

    def leave(self) -> None:
        """Give the place in the table of consumers back."""

    def refuse(self, error: ChronoStreamError) -> None:
        """Let go of the memory; from now on every method raises `error`."""


class Core(Protocol):
    """A module with a name and the two sides."""

    NAME: str
    Writer: Callable[[Any, Layout, bool], Writer]
    Reader: Callable[[Any, Any, Layout, int | None, bool, str], Reader]


def load_core(name: str | None) -> Core:
    """Return the core with this name; without a name, the one in use.

    Raises:
        CoreUnavailableError: it cannot run here.
    """
    if name is None:
        name = CORE
    if not isinstance(name, str) or name not in CORES:
        raise CoreUnavailableError(f"there is no core {name!r}: CHRONOSTREAM_CORE is one of {', '.join(CORES)}")
    if name == "portable" and platform.machine() not in ("x86_64", "AMD64"):
        raise CoreUnavailableError(
            f"the portable core is right only on x86-64, this machine is {platform.machine()}: "
            "install a C compiler and reinstall with CHRONOSTREAM_BUILD_EXTENSION=yes to get the native core"
        )
    try:
        module: Any = importlib.import_module(f"chronostream.ring._{name}")
    except ModuleNotFoundError as error:
        if error.name != f"chronostream.ring._{name}":
            raise
        raise CoreUnavailableError(
            "the native core is not built: install a C compiler and reinstall with CHRONOSTREAM_BUILD_EXTENSION=yes"
        ) from None
    core: Core = module
    return core


def _default_core() -> str:
    if asked := os.environ.get("CHRONOSTREAM_CORE"):
        return load_core(asked).NAME
    try:
        return load_core("native").NAME
    except CoreUnavailableError:
        return "portable"


CORE = _default_core()
"""The core in use: ``"native"`` or ``"portable"``."""

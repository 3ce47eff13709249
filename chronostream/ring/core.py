"""What a core is, and which one is in use.

A core is the part of the ring that touches shared memory: a `Writer` for the producer and a `Reader` for a consumer.
They follow the numbered steps of docs/ring.md. Two cores share one layout: ``native`` (C11 atomics, right on every
architecture) and ``portable`` (Python and numpy, right where stores become visible in order, which is x86-64).
``CHRONOSTREAM_CORE=native|portable`` chooses one; a core that cannot run is an error, never replaced by the other.
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


class _Side(Protocol):
    """What both sides have. A method without a docstring here does the same as the handle's method of that name."""

    def release(self, error: ChronoStreamError) -> None:
        """Drop the memory; from now on every method raises `error`, a `ClosedError` or `ForkedError`."""


class Writer(_Side, Protocol):
    """The producer's side."""

    @property
    def head(self) -> int: ...
    def publish(self, record: Any, /) -> None: ...
    def publish_many(self, records: Any, /) -> None: ...

    def open(self) -> None:
        """Mark the stream live and wake all consumers: a dead producer may have left sleepers (docs/ring.md, T3)."""

    def offer(self, record: Any, /) -> bool:
        """Publish one record unless a registered consumer is a whole ring behind; return whether it was published."""

    def claim(self, count: int, /) -> int:
        """Claim the next `count` positions with a fence that orders all later stores behind it; return the first."""

    def commit(self, first: int, count: int, rows: npt.NDArray[Any] | None, /) -> bool:
        """Publish `count` records from `first` on, written in place or in `rows`; false if `first` is not the head."""

    def slowest(self) -> tuple[int, int] | None:
        """Return the slot and the tail of the registered consumer that is furthest behind, or None."""

    def close(self) -> None:
        """Mark the stream closed and wake all consumers."""


class Reader(_Side, Protocol):
    """A consumer's side; with a slot in the table it registers when it is made (docs/ring.md, R1 to R4)."""

    @property
    def position(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def lag(self) -> int: ...
    @property
    def closed(self) -> bool: ...
    def read(self, limit: SupportsIndex | None = None) -> npt.NDArray[Any]: ...
    def read_into(self, out: npt.NDArray[Any], /) -> int: ...

    def peek(self, limit: SupportsIndex | None, /) -> tuple[int, int]:
        """Return the position and the number of at most `limit` records that lie in one piece, to be read in place."""

    def end_peek(self, first: int, count: int, /) -> int | None:
        """Move past `count` records read in place; return how many were lost, None if `first` is not the position."""

    def wait(self, timeout_s: float, /) -> bool:
        """Wait for something to read; false when the time is up or the stream is marked closed."""

    def prepare_to_wait(self) -> int | None:
        """Ask to be woken (docs/ring.md, W1 to W3); return the futex word to sleep on, None if there is no need to."""

    def leave(self) -> None:
        """Free the slot in the table of consumers."""


class Core(Protocol):
    """A module with a name and the two sides."""

    NAME: str
    Writer: Callable[[Any, Layout, bool], Writer]
    Reader: Callable[[Any, Any, Layout, int | None, bool, str], Reader]


def load_core(name: str | None) -> Core:
    """Return the core with this name, or without a name the one in use.

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
        core: Core = importlib.import_module(f"chronostream.ring._{name}")
    except ModuleNotFoundError as error:
        if error.name != f"chronostream.ring._{name}":
            raise
        raise CoreUnavailableError(
            "the native core is not built: install a C compiler and reinstall with CHRONOSTREAM_BUILD_EXTENSION=yes"
        ) from None
    return core


def _default_core() -> str:
    if name := os.environ.get("CHRONOSTREAM_CORE"):
        return load_core(name).NAME
    try:
        return load_core("native").NAME
    except CoreUnavailableError:
        return "portable"


CORE = _default_core()
"""The core in use: ``"native"`` or ``"portable"``."""

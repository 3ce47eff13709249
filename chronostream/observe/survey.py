"""One look at all streams of this machine. One that cannot be read hides no other."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from chronostream import ring
from chronostream.errors import AccessDeniedError, ChronoStreamError, StreamNotFoundError
from chronostream.stream.status import StreamStatus, stream_status

__all__ = ["Survey", "Unreadable", "survey"]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stream whose status cannot be read.

    Attributes:
        name: the stream's name.
        state: ``"denied"`` if this user may not read it, ``"broken"`` if it is damaged or of another version.
        error: why.
    """

    name: str
    state: Literal["broken", "denied"]
    error: str


@dataclass(frozen=True, slots=True)
class Survey:
    """The streams at one moment.

    Attributes:
        realtime_ns: when, Unix nanoseconds.
        monotonic_ns: when, by the monotonic clock: for differences between two surveys.
        streams: the streams that can be read, by name.
        unreadable: the others, by name.
    """

    realtime_ns: int
    monotonic_ns: int
    streams: tuple[StreamStatus, ...]
    unreadable: tuple[Unreadable, ...]


def survey(names: Iterable[str] | None = None, *, any_owner: bool = False) -> Survey:
    """Look at all streams; never fails for one of them.

    Args:
        names: only these; one that does not exist is left out.
        any_owner: accept streams of other users too; otherwise they are denied.
    """
    streams: list[StreamStatus] = []
    unreadable: list[Unreadable] = []
    for name in sorted(set(ring.list_names() if names is None else names)):
        try:
            streams.append(stream_status(name, any_owner=any_owner))
        except StreamNotFoundError:
            continue  # Removed since it was listed.
        except AccessDeniedError as error:
            unreadable.append(Unreadable(name, "denied", str(error)))
        except (ChronoStreamError, OSError) as error:
            unreadable.append(Unreadable(name, "broken", str(error)))
    return Survey(time.time_ns(), time.monotonic_ns(), tuple(streams), tuple(unreadable))

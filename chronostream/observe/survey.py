"""One look at all streams of this machine, in which one that is broken hides no other."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from chronostream import ring
from chronostream.errors import ChronoStreamError, StreamNotFoundError
from chronostream.status import StreamStatus, stream_status

__all__ = ["Broken", "Survey", "survey"]


@dataclass(frozen=True, slots=True)
class Broken:
    """A stream whose status cannot be had: damaged, of another version, or another user's.

    Attributes:
        name: the stream's name.
        error: why.
    """

    name: str
    error: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What there was at one moment.

    Attributes:
        realtime_ns: when, Unix nanoseconds.
        monotonic_ns: when, by a clock that nobody sets: for differences between two surveys.
        streams: the streams whose status can be had, by name.
        broken: the others, by name.
    """

    realtime_ns: int
    monotonic_ns: int
    streams: tuple[StreamStatus, ...]
    broken: tuple[Broken, ...]


def survey(names: Iterable[str] | None = None, *, any_owner: bool = False) -> Survey:
    """Look at all streams; never fails for one of them.

    Args:
        names: only these; one that is not there is left out.
        any_owner: trust streams of other users too; otherwise they count as broken.
    """
    streams, broken = [], []
    for name in sorted(set(ring.list_names() if names is None else names)):
        try:
            streams.append(stream_status(name, any_owner=any_owner))
        except StreamNotFoundError:
            continue  # Removed since it was listed.
        except (ChronoStreamError, OSError) as error:
            broken.append(Broken(name, str(error)))
    return Survey(time.time_ns(), time.monotonic_ns(), tuple(streams), tuple(broken))

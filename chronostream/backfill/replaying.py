"""A past range as events into a ring: what a live producer with the boundary sequencer would have emitted.

It says which events, and when each is due; how they come into a ring is not known here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

import numpy as np
import numpy.typing as npt

from chronostream._values import Instant, instant_ns
from chronostream.backfill.expectation import CHUNK, expected_chunks
from chronostream.backfill.filling import fill
from chronostream.clock import Clock, Stop, StopFlag, SystemClock, Wake
from chronostream.errors import InvalidTypeError, InvalidValueError
from chronostream.event import EVENT_DTYPE, Frequency
from chronostream.stream.config import StreamConfig, default_instance
from chronostream.version import __version__

__all__ = ["replay", "speed_of"]

# A paced replay, too, finds out within this time that its stream was removed.
_LONGEST_WAIT_NS = 5_000_000_000
_SPEED = re.compile(r"(\d+(?:\.\d+)?)x", re.ASCII)


def replay(
    name: str,
    start: Instant,
    end: Instant,
    frequencies: Iterable[Frequency | str | int] = (Frequency.SECOND,),
    timezone: str = "UTC",
    *,
    speed: str | float = "max",
    capacity: int = 65536,
    instance_id: str | None = None,
    producer_version: str = __version__,
    mode: int = 0o600,
    group: str | int | None = None,
    remove: bool = False,
    clock: Clock | None = None,
    stop: StopFlag | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> int:
    """Publish the events of a past range into a new stream, and close it; return how many they were.

    Byte for byte they are what a live producer with the boundary sequencer would have emitted. The stream is kept with
    all that belongs to it: ``chronostream run`` with the same zone, frequencies, capacity and ``--sequencer boundary``
    goes on where the range ends.

    Args:
        name: of the stream, which must not exist.
        start: start of the range, from 1970 on.
        end: end of the range (exclusive).
        frequencies: one or more of `Frequency`, as such, by name or by number.
        timezone: the IANA zone of hours and days.
        speed: ``"max"``, as fast as the memory is; or so many times faster than time itself, such as ``"60x"``.
        capacity: events that the ring holds, a power of two. No consumer is waited for: of a longer range, one that
            does not keep up loses events, and is told how many.
        instance_id: who emits, in every event; this host's name by default.
        producer_version: version of the program, in every event.
        mode: permissions of the stream's segment.
        group: its group, by name or number.
        remove: delete the stream at the end instead of keeping it.
        clock: what paces it; `SystemClock` if not given.
        stop: ends it early when set.
        on_progress: called with the number of events, each time that some were published.

    Raises:
        StreamExistsError: there is such a stream, dead or closed.
        ProducerActiveError: there is, and it is live.
        StreamRemovedError: somebody deleted the stream meanwhile.
        OutOfSharedMemoryError: there is no room for it.
    """
    config = StreamConfig(
        name=name,
        frequencies=frequencies,
        timezone=timezone,
        capacity=capacity,
        instance_id=default_instance() if instance_id is None else instance_id,
        producer_version=producer_version,
        sequencer="boundary",
        mode=mode,
        group=group,
        remove=remove,
    )
    factor = speed_of(speed)
    start_ns, end_ns = instant_ns("start", start), instant_ns("end", end)
    texts = config.timezone, config.producer_version, config.instance_id
    parts = expected_chunks(config.frequencies, start_ns, end_ns, *texts, size=min(CHUNK, max(1, capacity // 2)))
    with ExitStack() as own:
        clock = own.enter_context(SystemClock()) if clock is None else clock
        stop = own.enter_context(Stop()) if stop is None else stop
        if factor != math.inf:
            parts = _paced(parts, start_ns, factor, clock, stop)
        return fill(config, parts, range_ns=(start_ns, end_ns), clock=clock, stop=stop, on_progress=on_progress)


def speed_of(speed: str | float) -> float:
    """Return how many times faster than time itself; infinity for ``"max"``.

    Args:
        speed: ``"max"``, a number, or one with an x such as ``"1x"`` and ``"60x"``.
    """
    if isinstance(speed, bool) or not isinstance(speed, str | int | float):
        raise InvalidTypeError(f"speed is {type(speed).__name__}, expected 'max' or a number")
    if speed == "max":
        return math.inf
    match = _SPEED.fullmatch(speed) if isinstance(speed, str) else None
    factor = float(match[1]) if match else speed
    if isinstance(factor, str) or not 0 < factor < math.inf:
        raise InvalidValueError(f"speed is {speed!r}, expected 'max' or such as '1x', '60x'")
    return float(factor)


def _paced(
    chunks: Iterable[npt.NDArray[np.void]], start_ns: int, factor: float, clock: Clock, stop: StopFlag
) -> Iterator[npt.NDArray[np.void]]:
    """Yield the events when they are due, those that are due together in one array; end early when `stop` is set.

    The first array is empty, so that a stream can be made before the first event is waited for. So are others now and
    then, so that whoever waits for events can look about.
    """
    yield np.empty(0, EVENT_DTYPE)
    # Paced by the clock that nobody sets: a replay has no business with what the wall clock does.
    began_ns = clock.boottime_ns()
    for events in chunks:
        stamps = np.ascontiguousarray(events["timestamp"])
        at = 0
        while at < len(stamps):
            due_ns = began_ns + int((int(stamps[at]) - start_ns) / factor)
            while (left_ns := due_ns - clock.boottime_ns()) > 0:
                if clock.wait(clock.realtime_ns() + min(left_ns, _LONGEST_WAIT_NS), stop) is Wake.INTERRUPTED:
                    return
                if left_ns > _LONGEST_WAIT_NS:
                    yield events[:0]
            passed_ns = start_ns + int((clock.boottime_ns() - began_ns) * factor)
            passed_ns = min(max(int(stamps[at]), passed_ns), int(stamps[-1]))
            upto = int(np.searchsorted(stamps, passed_ns, side="right"))
            yield events[at:upto]
            at = upto

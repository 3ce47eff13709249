"""Replay a past range into a ring: the events that a live producer with the boundary sequencer would have emitted.

This module decides which events to publish, and when; `chronostream.backfill.filling` publishes them.
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

# Within this time a paced replay notices that its stream was removed.
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
    """Publish the events of a past range into a new stream, and close it; return their number.

    Byte for byte they are what a live producer with the boundary sequencer would have emitted. The stream is kept, with
    its state: ``chronostream run`` with the same zone, frequencies, capacity and ``--sequencer boundary`` continues at
    the end of the range.

    The range is ``start <= b < end``, from 1970 on. `speed` is ``"max"``, as fast as the memory allows, or how many
    times faster than real time, such as ``"60x"``, by the boot clock of `clock`. A replay does not wait for consumers:
    a slow one may lose events, and counts them. `stop`, `on_progress` and the errors are those of `fill`, the other
    arguments those of `StreamConfig`.
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
    """Return how many times faster than real time ``"60x"`` or a number is; infinity for ``"max"``."""
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

    The first array is empty, so that `fill` makes the stream before the first event is due. A long wait yields more
    empty ones, so that `fill` notices when the stream is removed.
    """
    yield np.empty(0, EVENT_DTYPE)
    # By the clock that nobody can set: a step of the wall clock must not disturb a replay.
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

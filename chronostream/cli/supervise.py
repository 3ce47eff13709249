"""Several streams at once: a scheduler process for each, which this one starts, watches and stops.

The streams know nothing of each other: one that fails is reported, and the others go on. Who wants failed ones started
again runs each under a supervisor of the system, such as systemd (docs/chronostream@.service).
"""

from __future__ import annotations

import logging
import select
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from chronostream.clock import Stop
from chronostream.event import Frequency
from chronostream.producer.life import serving, stopped_by_signals
from chronostream.producer.process import ProducerProcess, ending, start
from chronostream.producer.systemd import Watchdog
from chronostream.ring import CORE
from chronostream.stream.config import StreamConfig

__all__ = ["log_ready", "supervise"]

_log = logging.getLogger("chronostream")

_LOOK_S = 0.2
_AT_ONCE = 8


def supervise(configs: Sequence[StreamConfig], *, for_s: float | None = None) -> int:
    """Emit several streams until SIGTERM, SIGINT or SIGHUP, or until none is left. Main thread only.

    The program ends right afterwards: what signals still come then are ignored.

    Args:
        configs: what the streams are to be.
        for_s: stop by itself after this many seconds.

    Returns:
        0; or 1 if a stream ended otherwise than it was told to.

    Raises:
        ChronoStreamError: one could not be started; then none is.
    """
    with stopped_by_signals(for_good=True) as stop:
        producers = _start_all(configs)
        try:
            for config, producer in zip(configs, producers, strict=True):
                log_ready(config, producer.pid)
            with serving(stop, for_s) as watchdog:
                failed = _watch(producers, stop, watchdog)
        finally:
            _stop_all(producers)
    _log.info("stopped: %d streams", len(producers))
    return 1 if failed else 0


def log_ready(config: StreamConfig, pid: int) -> None:
    """Tell that a stream can be subscribed to."""
    frequencies = ", ".join(Frequency.parse(frequency).label for frequency in config.frequencies)
    _log.info("ready: stream %r, %s in %s, process %d, %s core", config.name, frequencies, config.timezone, pid, CORE)


def _start_all(configs: Iterable[StreamConfig]) -> list[ProducerProcess]:
    started, errors = [], []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for future in [pool.submit(start, config) for config in configs]:
            try:
                started.append(future.result())
            except Exception as error:  # noqa: BLE001 - it is raised below, once the others are stopped
                errors.append(error)
    if errors:
        _stop_all(started)
        raise errors[0]
    return started


def _watch(producers: Iterable[ProducerProcess], stop: Stop, watchdog: Watchdog) -> bool:
    """Return when it is time to stop, or when no producer is left; whether one of them failed."""
    look_s = _LOOK_S if watchdog.interval_s is None else min(_LOOK_S, watchdog.interval_s)
    running, failed = list(producers), False
    while running and not stop.is_set():
        watchdog.feed()
        select.select([stop], [], [], look_s)
        for producer in [each for each in running if not each.alive]:
            running.remove(producer)
            failed |= _log_end(producer)
    return failed


def _stop_all(producers: Sequence[ProducerProcess]) -> None:
    if producers:
        with ThreadPoolExecutor(len(producers)) as pool:
            list(pool.map(ProducerProcess.stop, producers))


def _log_end(producer: ProducerProcess) -> bool:
    """Tell of a producer that ended by itself; return whether it failed."""
    if producer.exit_status == 0:
        _log.info("stream %r was stopped: process %d", producer.name, producer.pid)
        return False
    how = ending(producer.exit_status)
    _log.error("stream %r has failed: process %d %s; the other streams go on", producer.name, producer.pid, how)
    return True

"""Several streams at once: a scheduler process for each, which this one starts, watches and stops.

A stream that fails is reported, and the others go on. To restart failed streams, run each one under a service manager
such as systemd (docs/chronostream@.service).
"""

from __future__ import annotations

import logging
import select
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from chronostream.clock import Stop
from chronostream.event import Frequency
from chronostream.producer.life import serving, stopped_by_signals
from chronostream.producer.process import ProducerProcess, SupervisedProcess, ending, start_supervised, stop_all
from chronostream.producer.systemd import Watchdog, systemd_watchdog
from chronostream.ring import CORE
from chronostream.stream.config import StreamConfig

__all__ = ["log_ready", "log_stopped", "supervise"]

_log = logging.getLogger("chronostream")

_LOOK_S = 0.2
_AT_ONCE = 8


def supervise(configs: Sequence[StreamConfig], *, for_s: float | None = None) -> int:
    """Emit several streams until SIGTERM, SIGINT or SIGHUP, for `for_s` seconds, or until no producer is left.

    Main thread only. Later signals are ignored: the program is about to end. Returns 1 if a stream failed, otherwise 0.

    Raises:
        ChronoStreamError: a stream could not be started; the others were stopped again.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # Where it is ignored, the system forgets how a child ended.
    watchdog = systemd_watchdog()
    failed = False
    with stopped_by_signals(for_good=True) as stop:
        producers, errors = _start_all(configs, stop, watchdog)
        running = dict(producers)
        try:
            if errors:
                raise errors[0]
            if not stop.is_set():
                for config, producer in producers.items():
                    log_ready(config, producer.pid)
                with serving(stop, for_s):
                    failed = _watch(running, stop, watchdog)
        finally:
            stop_all(producers.values())
    for config in running:
        log_stopped(config)
    _log.info("stopped: %d streams", len(producers))
    return 1 if failed else 0


def log_ready(config: StreamConfig, pid: int) -> None:
    """Log that a stream can be subscribed to."""
    frequencies = ", ".join(Frequency.parse(frequency).label for frequency in config.frequencies)
    _log.info("ready: stream %r, %s in %s, process %d, %s core", config.name, frequencies, config.timezone, pid, CORE)


def log_stopped(config: StreamConfig) -> None:
    """Log that a stream was stopped, and what became of it."""
    _log.info("stopped: stream %r %s", config.name, "removed" if config.remove else "closed, and kept for the next run")


def _start_all(
    configs: Sequence[StreamConfig], stop: Stop, watchdog: Watchdog
) -> tuple[dict[StreamConfig, SupervisedProcess], list[Exception]]:
    """Start a process for each stream until one fails or `stop` is set; return those that run, and the errors."""
    turn_s = None if watchdog.interval_s is None else watchdog.interval_s / 2
    errors: list[Exception] = []

    def start(config: StreamConfig) -> SupervisedProcess | None:
        if not errors and not stop.is_set():
            try:
                return start_supervised(config, stop, turn_s)
            except Exception as error:  # noqa: BLE001 - it is raised once the others are stopped
                if not stop.is_set():  # otherwise it was stopped
                    errors.append(error)
        return None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        started = zip(configs, pool.map(start, configs), strict=True)
        return {config: producer for config, producer in started if producer is not None}, errors


def _watch(running: dict[StreamConfig, SupervisedProcess], stop: Stop, watchdog: Watchdog) -> bool:
    """Remove from `running` what ends by itself, until all did or `stop` is set; return whether one failed."""
    look_s = _LOOK_S if watchdog.interval_s is None else min(_LOOK_S, watchdog.interval_s / 4)
    failed = False
    awaited = set(running)  # the streams whose engines have not turned since the last sign of life
    while running and not stop.is_set():
        select.select([stop], [], [], look_s)
        for config in [config for config, producer in running.items() if not producer.alive]:
            failed |= _log_end(running.pop(config))
        awaited = {config for config in awaited & running.keys() if not running[config].has_turned()}
        if not awaited:
            watchdog.feed()
            awaited = set(running)
    return failed


def _log_end(producer: ProducerProcess) -> bool:
    """Log that a producer ended by itself; return whether it failed."""
    if producer.exit_status == 0:
        _log.info("stream %r was stopped: process %d", producer.name, producer.pid)
        return False
    how = ending(producer.exit_status)
    _log.error("stream %r has failed: process %d %s; the other streams go on", producer.name, producer.pid, how)
    return True

"""The life of a scheduler process: its priority, its signals, its engine, its readiness, its end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chronostream._values import checked_seconds
from chronostream.clock import Stop
from chronostream.producer.engine import Engine
from chronostream.producer.priority import apply_priority, check_cpu
from chronostream.producer.systemd import Watchdog, notify, systemd_watchdog
from chronostream.ring.shm import permit
from chronostream.stream.config import StreamConfig, checked_config

__all__ = ["check_host", "run", "serving", "stopped_by_signals"]


def run(
    config: StreamConfig,
    *,
    for_s: float | None = None,
    on_ready: Callable[[Stop], object] | None = None,
    for_good: bool = False,
    watchdog: Watchdog | None = None,
) -> None:
    """Emit a stream until SIGTERM, SIGINT or SIGHUP, then mark it closed. Main thread only.

    Args:
        config: the stream's configuration.
        for_s: stop by itself after this many seconds.
        on_ready: called once the stream can be subscribed to, with the flag that ends this.
        for_good: as for `stopped_by_signals`.
        watchdog: gets the signs of life of the engine; systemd's by default.

    Raises:
        ChronoStreamError: as for `chronostream.Engine`.
    """
    if for_s is not None:
        for_s = checked_seconds("for_s", for_s)
    watchdog = systemd_watchdog() if watchdog is None else watchdog
    apply_priority(realtime=checked_config(config).realtime, cpu=config.cpu, name=config.name)
    with stopped_by_signals(for_good=for_good) as stop, Engine(config) as engine, serving(stop, for_s):
        if on_ready is not None:
            on_ready(stop)
        engine.run(stop, each_turn=watchdog.feed, longest_wait_s=watchdog.interval_s)


def check_host(config: StreamConfig) -> None:
    """Refuse a processor or group that this machine does not have, or this user may not use."""
    if config.cpu is not None:
        check_cpu(config.cpu)
    with os.fdopen(os.memfd_create("group"), "wb") as file:
        permit(file.fileno(), config.mode, config.group)


@contextmanager
def serving(stop: Stop, for_s: float | None = None) -> Iterator[None]:
    """Tell systemd that the service is ready when the block begins, and that it stops when the block ends.

    Set `stop` after `for_s` seconds; None: never.
    """
    timer = threading.Timer(for_s or 0, stop.set)
    timer.daemon = True
    if for_s is not None:
        timer.start()
    notify("READY=1", timeout_s=1)  # Without this message, systemd would never take the service as started.
    try:
        yield
    finally:
        notify("STOPPING=1")
        timer.cancel()


@contextmanager
def stopped_by_signals(*, for_good: bool = False) -> Iterator[Stop]:
    """Give a flag that SIGTERM, SIGINT and SIGHUP set while the block runs. Main thread only.

    A SIGHUP that is ignored stays ignored: `nohup` starts programs so. With `for_good`, all are ignored from the end of
    the block on, because the process is about to end anyway.
    """
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    with Stop() as stop:
        before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
        wakeup_fd = signal.set_wakeup_fd(stop.wakeup_fileno(), warn_on_full_buffer=False)
        try:
            yield stop
        finally:
            signal.set_wakeup_fd(wakeup_fd)
            for number, handler in before.items():
                signal.signal(number, signal.SIG_IGN if for_good else handler)

"""Messages to systemd, or to a supervisor in its place: a service is ready, alive or stopping.

The protocol is a datagram of ``NAME=value`` lines to the socket in ``NOTIFY_SOCKET`` (`sd_notify(3)`); without that
variable nothing happens. It knows nothing of streams.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable

__all__ = ["Watchdog", "notify", "systemd_watchdog"]

_log = logging.getLogger(__name__)

_unreachable: set[str] = set()  # sockets that were logged as such


def notify(state: str, *, timeout_s: float = 0) -> bool:
    """Send a state such as ``"READY=1"``, and wait up to `timeout_s` for room; return whether there is a socket for it.

    A socket that cannot be reached is logged, once, and is no reason to stop the service.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(timeout_s)
            # An @ stands for a name that is in no file system.
            channel.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError as error:
        if address not in _unreachable:
            _unreachable.add(address)
            _log.warning("NOTIFY_SOCKET %s cannot be told %s, nor maybe what follows: %s", address, state, error)
        return False
    return True


class Watchdog:
    """Sends signs of life to a supervisor by calling `send`.

    Attributes:
        interval_s: how often `feed` must be called at least; None if no supervisor asks for signs of life.
    """

    def __init__(self, interval_s: float | None, send: Callable[[], object]) -> None:
        self.interval_s = interval_s
        self._send = send
        self._next_s = 0.0

    def feed(self) -> None:
        """Send a sign of life if it is time for one; cheap enough to call in every turn of a loop."""
        if self.interval_s is None:
            return
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + self.interval_s / 2
            self._send()


def systemd_watchdog() -> Watchdog:
    """Return what sends signs of life to systemd, at least twice in the period that it asks for."""
    period, interval_s = os.environ.get("WATCHDOG_USEC"), None
    if period and os.environ.get("WATCHDOG_PID") in (None, "", str(os.getpid())):
        if period.isdecimal() and int(period):
            interval_s = int(period) / 2e6
        else:
            _log.warning("WATCHDOG_USEC is %r, expected microseconds: no signs of life are sent", period)
    return Watchdog(interval_s, lambda: notify("WATCHDOG=1"))

"""A scheduler process that another program started: the other side of `chronostream.producer.process.start`."""

from __future__ import annotations

import logging
import os
import pickle
import select
import stat
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

from chronostream._log import log_to_stderr
from chronostream._stdio import silence, write_all
from chronostream.clock import Stop
from chronostream.errors import ChronoStreamError, StartError
from chronostream.producer.life import run
from chronostream.producer.systemd import Watchdog
from chronostream.stream.config import StreamConfig

__all__ = ["child_main"]

_log = logging.getLogger(__name__)

_PARENT_CHECK_S = 0.5


def child_main(order: dict[str, Any]) -> NoReturn:
    """Run the stream that `start` ordered, and end the process with its exit status.

    It skips the interpreter's own shutdown, which takes fifty times as long as stopping the stream: a supervisor may
    stop a hundred at once.
    """
    status = _run(order)
    logging.shutdown()
    os._exit(status)


def _run(order: dict[str, Any]) -> int:
    parent = _Parent()
    log_to_stderr(order["log_level"])
    os.environ.pop("NOTIFY_SOCKET", None)  # Only the program that started this one is the service.

    def on_ready(stop: Stop) -> None:
        if not order["detach"]:
            _stop_with_parent(order["parent"], stop)
        elif not stat.S_ISREG(os.fstat(2).st_mode):
            silence(2)  # A terminal or a pipe belongs to the program that started this one, and may end with it.
        parent.report(os.getpid())

    try:
        watchdog = Watchdog(order["turn_s"], parent.report_turn)
        run(StreamConfig(**order["config"]), on_ready=on_ready, for_good=True, watchdog=watchdog)
    except ChronoStreamError as error:
        if parent.reported:
            _log.error("%s", error)
        else:
            parent.report(error)
        return 1
    except Exception as error:  # noqa: BLE001 - it goes into the log, which never blocks, unlike a traceback
        if not parent.reported:
            parent.report(StartError(f"the scheduler process failed: {error!r}"))
        _log.exception("the scheduler process failed")
        return 1
    return 0


class _Parent:
    """The pipe to the program that started this one: what was standard output. What is printed is discarded."""

    def __init__(self) -> None:
        self.reported = False
        self._fd = os.dup(1)
        os.set_blocking(self._fd, False)
        silence(1)

    def report(self, outcome: int | ChronoStreamError) -> None:
        """Report that this process is ready, or why it never will be; a parent that has ended misses it."""
        self.reported = True
        with suppress(BrokenPipeError):
            write_all(self._fd, f"{pickle.dumps(outcome).hex()}\n".encode())

    def report_turn(self) -> None:
        """Report a turn of the engine; without a reader, or with a full pipe, the report is dropped."""
        with suppress(OSError):
            os.write(self._fd, b".")


def _stop_with_parent(parent: int, stop: Stop) -> None:
    """Set `stop` when the process that started this one ends.

    The parent-death signal will not do, because it comes when the thread that started us ends; nor will a pipe, which a
    fork of the parent holds open.
    """
    try:
        fd = os.pidfd_open(parent)
    except OSError:
        fd = None  # It is dead already, or this is a sandbox without the call.

    def watch() -> None:
        if fd is not None and os.getppid() == parent:  # Not so if it died before the descriptor was open.
            select.select([fd], [], [])
        while os.getppid() == parent:
            time.sleep(_PARENT_CHECK_S)
        stop.set()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()

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
from typing import Any

from chronostream._log import log_to_stderr
from chronostream._stdio import silence
from chronostream.clock import Stop
from chronostream.errors import ChronoStreamError, StartError
from chronostream.producer.life import run
from chronostream.stream.config import StreamConfig

__all__ = ["child_main"]

_log = logging.getLogger(__name__)

_PARENT_CHECK_S = 0.5


def child_main(order: dict[str, Any]) -> int:
    """Run the stream that `start` ordered; return the process's exit status."""
    log_to_stderr(logging.WARNING)
    os.environ.pop("NOTIFY_SOCKET", None)  # The service is the program that started this one, which speaks for itself.
    ready = False

    def on_ready(stop: Stop) -> None:
        nonlocal ready
        if not order["detach"]:
            _stop_with_parent(order["parent"], stop)
        elif not stat.S_ISREG(os.fstat(2).st_mode):
            silence(2)  # A terminal or a pipe is the program's that started this one, and ends with it.
        _report(os.getpid())
        ready = True

    try:
        run(StreamConfig(**order["config"]), on_ready=on_ready, for_good=True)
    except ChronoStreamError as error:
        if ready:
            _log.error("%s", error)
        else:
            _report(error)
        return 1
    except Exception as error:  # noqa: BLE001 - it goes into the log, which waits for nobody, unlike a traceback
        if not ready:
            _report(StartError(f"the scheduler process failed: {error!r}"))
        _log.exception("the scheduler process failed")
        return 1
    return 0


def _stop_with_parent(parent: int, stop: Stop) -> None:
    """Set `stop` when the process that started this one ends.

    Not by the parent-death signal, which comes when the thread that started us ends; nor by a pipe, which a fork of
    the parent would hold open.
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


def _report(outcome: int | ChronoStreamError) -> None:
    """Tell the parent, if it is still there; from then on, whatever is printed goes nowhere."""
    with suppress(BrokenPipeError), os.fdopen(os.dup(1), "w") as channel:
        channel.write(f"{pickle.dumps(outcome).hex()}\n")
    silence(1)

"""The scheduler process: start it, know that it is ready, stop it, and end with whoever started it.

The process is a fresh interpreter, not a fork and not `multiprocessing`: so it needs no ``__main__`` guard, works from
a prompt and a notebook, and inherits nothing but the streams named here. It is given its configuration on standard
input, and reports on standard output, once: that it is ready, or the error that kept it from it.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType, TracebackType
from typing import Any, Self

import psutil

from chronostream import ring
from chronostream.clock import Stop
from chronostream.config import StreamConfig
from chronostream.engine import Engine
from chronostream.errors import AccessDeniedError, ChronoStreamError, InvalidTypeError, ProducerActiveError, StartError
from chronostream.status import StreamStatus, stream_status

__all__ = ["ProducerProcess", "child_main", "run", "start", "stop_producer"]

_log = logging.getLogger(__name__)

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0
_PARENT_CHECK_S = 0.5
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# The child sees the modules that its parent sees, wherever those come from.
_BOOT = (
    "import json, sys; order = json.load(sys.stdin); sys.path[:] = order['path']; "
    "from chronostream.process import child_main; sys.exit(child_main(order))"
)


class ProducerProcess:
    """A running scheduler process; as a context manager it stops at the end of the block.

    Attributes:
        name: the stream's name.
        pid: its process id.
    """

    def __init__(self, name: str, pid: int, child: subprocess.Popen[bytes] | None) -> None:
        self.name = name
        self.pid = pid
        self._child = child
        self._process = psutil.Process(pid)

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        if self._child is not None:
            return self._child.poll() is None
        return self._process.is_running()

    def status(self) -> StreamStatus:
        """Return the stream's status; errors as for `chronostream.status.stream_status`."""
        return stream_status(self.name)

    def stop(self, timeout_s: float = _STOP_TIMEOUT_S) -> None:
        """Have it mark the stream closed and end; twice is fine.

        Args:
            timeout_s: after this time it is killed, and the stream is left as a dead producer's.
        """
        try:
            self._process.terminate()
            self._wait(timeout_s)
        except psutil.NoSuchProcess:
            pass
        except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
            _log.warning("%s: process %d did not stop within %g s, and is killed", self.name, self.pid, timeout_s)
            self._process.kill()
            self._wait(timeout_s)

    def _wait(self, timeout_s: float) -> None:
        if self._child is not None:
            self._child.wait(timeout_s)
        else:
            self._process.wait(timeout_s)

    def __enter__(self) -> Self:
        """Return the handle itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the process."""
        self.stop()


def start(config: StreamConfig, *, detach: bool = False) -> ProducerProcess:
    """Start a scheduler process; return once its stream is ready to be subscribed to.

    It ends with the program that started it, however that ends, and cleanly: the stream is marked closed.

    Args:
        config: what the stream is to be.
        detach: let it outlive this program; stop it by `ProducerProcess.stop`, by SIGTERM or by
            ``chronostream remove --force``.

    Raises:
        StartError: the process ended, or did not get ready in time.
        ChronoStreamError: what `chronostream.Engine` raises there reaches the caller here.
    """
    if not isinstance(config, StreamConfig):
        raise InvalidTypeError(f"config is {type(config).__name__}, expected a StreamConfig")
    order = {"path": sys.path, "config": asdict(config), "parent": os.getpid(), "detach": detach}
    child = subprocess.Popen(  # noqa: S603 - this interpreter, and text of our own
        [sys.executable, "-P", "-c", _BOOT, f"chronostream: {config.name}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in a terminal or a notebook is meant for the program there.
    )
    try:
        pid = _report_of(child, json.dumps(order).encode())
    except BaseException:
        child.kill()
        child.wait()
        raise
    if detach:
        child.wait()  # It only made the process that stays.
        return ProducerProcess(config.name, pid, None)
    return ProducerProcess(config.name, pid, child)


def run(config: StreamConfig, *, for_s: float | None = None, on_ready: Callable[[Engine], None] | None = None) -> None:
    """Be the scheduler process: emit until SIGTERM, SIGINT or SIGHUP, then mark the stream closed. Main thread only.

    Args:
        config: what the stream is to be.
        for_s: stop by itself after this many seconds.
        on_ready: called once the stream can be subscribed to.

    Raises:
        ChronoStreamError: as for `chronostream.Engine`.
    """
    with Stop() as stop, _stopped_by_signals(stop), Engine(config) as engine:
        timer = None if for_s is None else threading.Timer(for_s, stop.set)
        try:
            if timer is not None:
                timer.daemon = True
                timer.start()
            if on_ready is not None:
                on_ready(engine)
            engine.run(stop)
        finally:
            if timer is not None:
                timer.cancel()


def stop_producer(name: str, timeout_s: float = _STOP_TIMEOUT_S) -> None:
    """Have the producer of a stream, whoever started it, mark it closed and end; nothing happens if none lives.

    Raises:
        StreamNotFoundError: there is no such stream.
        ProducerActiveError: it lives in another pid namespace, or did not end in time.
        AccessDeniedError: it is another user's.
    """
    found = ring.inspect(name)
    if found.state != "live":
        return
    if not found.same_namespace:
        raise ProducerActiveError(
            f"the producer of stream {name!r} is process {found.pid} of another container: stop it there", found.pid
        )
    try:
        producer = psutil.Process(found.pid)
        again = ring.inspect(name)
        if again.state == "live" and again.generation == found.generation:
            # Alive all the while, so that the pid cannot have become another process's.
            producer.terminate()
            producer.wait(timeout_s)
    except psutil.NoSuchProcess:
        pass
    except psutil.AccessDenied:
        raise AccessDeniedError(f"process {found.pid}, the producer of stream {name!r}, is another user's") from None
    except psutil.TimeoutExpired:
        raise ProducerActiveError(
            f"process {found.pid}, the producer of stream {name!r}, did not stop within {timeout_s:g} s", found.pid
        ) from None


def child_main(order: dict[str, Any]) -> int:
    """Run what `start` ordered; return the process's exit status."""
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s: %(message)s")
    if order["detach"] and os.fork():
        os._exit(0)  # No atexit handlers: they belong to the process that stays.
    try:
        with Stop() as stop, _stopped_by_signals(stop), Engine(StreamConfig(**order["config"])) as engine:
            if not order["detach"]:
                _stop_with_parent(order["parent"], stop)
            _report(os.getpid())
            engine.run(stop)
    except ChronoStreamError as error:
        _log.error("%s", error)
        _report(error)
        return 1
    return 0


@contextmanager
def _stopped_by_signals(stop: Stop) -> Iterator[None]:
    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_with_parent(parent: int, stop: Stop) -> None:
    """Set `stop` when the process that started this one ends.

    Not by the parent-death signal, which comes when the thread that started us ends; nor by a pipe, which a fork of
    the parent would hold open.
    """
    fd = os.pidfd_open(parent) if hasattr(os, "pidfd_open") else None

    def watch() -> None:
        if fd is not None and os.getppid() == parent:  # Not so if it died before the descriptor was open.
            select.select([fd], [], [])
        while os.getppid() == parent:
            time.sleep(_PARENT_CHECK_S)
        stop.set()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _report(outcome: int | ChronoStreamError) -> None:
    """Tell the parent; from then on, whatever is printed goes nowhere."""
    with os.fdopen(os.dup(1), "wb") as channel:
        channel.write(pickle.dumps(outcome))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _report_of(child: subprocess.Popen[bytes], order: bytes) -> int:
    """Hand the order over and return the pid that the child reports; raise the error that it reports."""
    assert child.stdin is not None
    assert child.stdout is not None
    report = b""
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    with child.stdin, child.stdout:
        try:
            child.stdin.write(order)
            child.stdin.close()
        except BrokenPipeError:
            pass  # It ended already, and its report or its exit status says why.
        while True:
            if not select.select([child.stdout], [], [], max(0.0, deadline_s - time.monotonic()))[0]:
                raise StartError(f"the scheduler process was not ready within {_START_TIMEOUT_S:g} s")
            part = os.read(child.stdout.fileno(), 65536)
            if not part:
                break
            report += part
    if not report:
        raise StartError(f"the scheduler process ended with status {child.wait(_STOP_TIMEOUT_S)} before it was ready")
    outcome = pickle.loads(report)  # noqa: S301 - from a process of our own
    if isinstance(outcome, ChronoStreamError):
        raise outcome
    return int(outcome)

"""A scheduler process from outside: start it, know that it is ready, stop it.

The process is a fresh interpreter, not a fork and not `multiprocessing`. So it needs no ``__main__`` guard, works from
a prompt and a notebook, and inherits only the streams named here. It reads its configuration from standard input, and
reports once on standard output: that it is ready, or the error that prevented it. Each message is one line, and neither
side waits for the end of the pipe, because a fork of the starting program may hold that open.
`chronostream.producer.child` is the other side.
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
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict
from typing import IO, Self

import psutil

from chronostream import ring
from chronostream._values import checked_seconds
from chronostream.clock import Stop
from chronostream.errors import AccessDeniedError, ChronoStreamError, ProducerActiveError, StartError
from chronostream.stream.config import StreamConfig, checked_config
from chronostream.stream.status import StreamStatus, stream_status

__all__ = [
    "ProducerProcess",
    "SupervisedProcess",
    "ending",
    "start",
    "start_supervised",
    "stop_all",
    "stop_producer",
]

_log = logging.getLogger(__name__)

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0
_ALIVE_CHECK_S = 0.5
_LOOK_S = 0.01
_PART_BYTES = 65536
# A detached process is forked off here, while there are no threads yet. The child imports modules from where its parent
# does. It opens nothing before its standard streams are open.
_BOOT = (
    "import json, os, sys; order = json.loads(sys.stdin.readline()); order['detach'] and os.fork() and os._exit(0); "
    "sys.path[:] = order['path']; from chronostream._stdio import open_closed; open_closed(); "
    "from chronostream.producer.child import child_main; child_main(order)"
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
        return _runs(self._process)

    @property
    def exit_status(self) -> int | None:
        """How the process ended, negative for a signal; None while it runs, and if the system does not say.

        The system does not say it of a detached process, nor in a program that ignores SIGCHLD.
        """
        status = None if self._child is None else self._child.poll()
        forgotten = status == 0 and signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
        return None if forgotten else status

    def status(self) -> StreamStatus:
        """Return the stream's status; errors as for `chronostream.stream.status.stream_status`."""
        return stream_status(self.name)

    def stop(self, timeout_s: float = _STOP_TIMEOUT_S) -> None:
        """Make the process mark the stream closed and end; twice is fine.

        If it has not ended after `timeout_s`, it is killed, and leaves the stream as a dead producer does.
        """
        if not _terminated(self._process, timeout_s):
            _log.warning("%s: process %d did not stop within %g s, and is killed", self.name, self.pid, timeout_s)
            with suppress(psutil.NoSuchProcess):
                self._process.kill()
        if self._child is not None:
            self._child.wait()

    def __repr__(self) -> str:
        state = "runs" if self.alive else ending(self.exit_status)
        return f"<ProducerProcess {self.name!r}: process {self.pid} {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class SupervisedProcess(ProducerProcess):
    """A process that reports each turn of its engine."""

    def has_turned(self) -> bool:
        """Return whether the engine has turned since the last call."""
        try:
            return bool(os.read(_output_of(self._child).fileno(), _PART_BYTES))
        except BlockingIOError:
            return False

    def stop(self, timeout_s: float = _STOP_TIMEOUT_S) -> None:
        """Stop the process as any other, and close the pipe of its reports."""
        super().stop(timeout_s)
        _output_of(self._child).close()


def start(config: StreamConfig, *, detach: bool = False) -> ProducerProcess:
    """Start a scheduler process; return once its stream is ready to be subscribed to.

    When this program ends, in whatever way, the process marks the stream closed and ends, too. With `detach`, it runs
    on: stop it by `ProducerProcess.stop`, by SIGTERM or by ``chronostream remove --force``.

    Raises:
        StartError: the process ended, or did not get ready in time.
        ChronoStreamError: what `chronostream.Engine` raised in the process.
    """
    pid, child = _start(config, detach=detach)
    _output_of(child).close()
    try:
        return ProducerProcess(config.name, pid, None if detach else child)
    except psutil.NoSuchProcess:
        raise StartError(f"the scheduler process {pid} ended as soon as it was ready") from None


def start_supervised(config: StreamConfig, stop: Stop, turn_s: float | None) -> SupervisedProcess:
    """Start a process as `start` does, which logs like one that runs alone, and reports each turn of its engine.

    Args:
        config: the stream's configuration.
        stop: ends the start as well, when it is set.
        turn_s: how often the engine must turn at least, in seconds; None: it need not report.
    """
    pid, child = _start(config, stop=stop, log_level=logging.INFO, turn_s=turn_s)
    os.set_blocking(_output_of(child).fileno(), False)
    return SupervisedProcess(config.name, pid, child)


def stop_all(producers: Collection[ProducerProcess], timeout_s: float = _STOP_TIMEOUT_S) -> None:
    """Stop several processes at the same time, each as `ProducerProcess.stop` does."""
    deadline_s = time.monotonic() + timeout_s
    for producer in producers:
        _terminate(producer._process)  # noqa: SLF001 - this module's own
    for producer in producers:
        producer.stop(max(0.0, deadline_s - time.monotonic()))


def stop_producer(name: str, timeout_s: float = _STOP_TIMEOUT_S) -> None:
    """Make the producer of a stream mark it closed and end, whichever program started it; do nothing if none lives.

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
        # If it was alive all the while, the pid cannot have become another process's.
        same = again.state == "live" and again.generation == found.generation
        if same and not _terminated(producer, timeout_s):
            raise ProducerActiveError(
                f"process {found.pid}, the producer of stream {name!r}, did not stop within {timeout_s:g} s: "
                f"kill it (`kill -9 {found.pid}`), and try again",
                found.pid,
            )
    except psutil.NoSuchProcess:
        pass
    except psutil.AccessDenied:
        raise AccessDeniedError(f"process {found.pid}, the producer of stream {name!r}, is another user's") from None


def ending(exit_status: int | None) -> str:
    """Return how a process ended, as text."""
    if exit_status is None:
        return "ended"
    return f"was killed by signal {-exit_status}" if exit_status < 0 else f"ended with status {exit_status}"


def _terminate(process: psutil.Process) -> None:
    """Ask a process to end, one that is suspended too."""
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        process.resume()


def _terminated(process: psutil.Process, timeout_s: float) -> bool:
    """Ask a process to end, and return whether it did in time."""
    deadline_s = time.monotonic() + checked_seconds("timeout_s", timeout_s)
    _terminate(process)
    while _runs(process):
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(_LOOK_S)
    return True


def _runs(process: psutil.Process) -> bool:
    """Return whether a process has not ended; a zombie has."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _start(
    config: StreamConfig,
    *,
    detach: bool = False,
    stop: Stop | None = None,
    log_level: int = logging.WARNING,
    turn_s: float | None = None,
) -> tuple[int, subprocess.Popen[bytes]]:
    """Start a process and return its pid and what started it, once it is ready; kill it if that fails."""
    order = {
        "path": [entry for entry in sys.path if isinstance(entry, str)],  # The import system ignores others, too.
        "config": asdict(checked_config(config)),
        "parent": os.getpid(),
        "detach": detach,
        "log_level": log_level,
        "turn_s": turn_s,
    }
    try:
        child = subprocess.Popen(  # noqa: S603 - this interpreter, and text of our own
            [sys.executable, "-P", "-c", _BOOT, f"chronostream: {config.name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal or a notebook is meant for the program there.
        )
    except OSError as error:
        raise StartError(f"the scheduler process could not be started: {error}") from error
    try:
        return _report_of(child, json.dumps(order).encode() + b"\n", stop, detach=detach), child
    except BaseException:
        if child.returncode is None:
            os.killpg(child.pid, signal.SIGKILL)  # its group, and with it the detached process
        child.wait()
        _output_of(child).close()
        raise
    finally:
        if detach:
            child.wait()  # It only forked the detached process.


def _report_of(child: subprocess.Popen[bytes], order: bytes, stop: Stop | None, *, detach: bool) -> int:
    """Hand the order over and return the pid that the child reports; raise the error that it reports."""
    assert child.stdin is not None
    # A child that ended already is noticed below, and its exit status reported.
    with suppress(BrokenPipeError), child.stdin:
        child.stdin.write(order)
    report = b""
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while b"\n" not in report:
        part = _next_part(child, deadline_s, stop, detach=detach)
        if not part:
            status = child.wait(_STOP_TIMEOUT_S)
            raise StartError(f"the scheduler process ended with status {status} before it was ready")
        report += part
    line, _, _ = report.partition(b"\n")  # Reports of turns may follow.
    outcome = pickle.loads(bytes.fromhex(line.decode()))  # noqa: S301 - from a process of our own
    if isinstance(outcome, ChronoStreamError):
        child.wait(_STOP_TIMEOUT_S)
        raise outcome
    return int(outcome)


def _next_part(child: subprocess.Popen[bytes], deadline_s: float, stop: Stop | None, *, detach: bool) -> bytes:
    """Return the next bytes from the child; none if it ended or closed its end of the pipe.

    When `stop` is set, ask the child to end, and wait for what it still sends.
    """
    poll = select.poll()
    output = _output_of(child).fileno()
    poll.register(output, select.POLLIN)
    if stop is not None:
        poll.register(stop, select.POLLIN)
    while True:
        ended = not detach and child.poll() is not None
        remaining_s = 0.0 if ended else deadline_s - time.monotonic()
        ready = dict(poll.poll(1000 * max(0.0, min(remaining_s, _ALIVE_CHECK_S))))
        if output in ready:
            return os.read(output, _PART_BYTES)
        if ended:
            return b""
        if remaining_s <= 0:
            raise StartError(f"the scheduler process was not ready within {_START_TIMEOUT_S:g} s")
        if stop is not None and ready:
            child.terminate()
            poll.unregister(stop)
            deadline_s = min(deadline_s, time.monotonic() + _STOP_TIMEOUT_S)


def _output_of(child: subprocess.Popen[bytes] | None) -> IO[bytes]:
    assert child is not None
    assert child.stdout is not None
    return child.stdout

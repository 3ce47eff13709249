"""Runs contenders in processes of their own: pinned, synchronised, with a time limit.

Processes are forked from a server that has loaded numpy and no peer. So they start in milliseconds, and none inherits
what another one loaded. A process is killed at its time limit, and when its parent dies.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from bench.host import pin
from bench.peer import Peer, Receiver, Sender, Spec, fan_out

__all__ = ["CONTEXT", "FailedError", "Job", "Station", "run_jobs"]

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["bench.scenarios"])

_HERE = Path(__file__).parent
_BOARD_WORDS = 256
_GRACE_S = 5.0


class FailedError(Exception):
    """A measurement failed; the message says why."""


@dataclass
class Station:
    """The state that the processes of one measurement share.

    Attributes:
        peer: what is measured.
        spec: the records, and the ring or queue.
        channels: one for all receivers, or one for each.
        options: further parameters of the measurement.
        board: shared 64-bit words.
        barrier: for all processes.
    """

    peer: Peer
    spec: Spec
    channels: list[Any]
    options: dict[str, Any]
    board: Any = field(default_factory=lambda: CONTEXT.RawArray(ctypes.c_uint64, _BOARD_WORDS))
    barrier: Any = None

    @classmethod
    def plan(cls, peer: Peer, spec: Spec, **options: Any) -> Station:
        """Return a station with the channels that this peer needs.

        Raises:
            FailedError: the peer cannot do this.
        """
        spec = peer.fit(spec)
        if reason := peer.unable(spec):
            raise FailedError(f"cannot: {reason}")
        count = 1 if peer.broadcast else spec.readers
        return cls(peer, spec, [peer.channel(spec, CONTEXT) for _ in range(count)], options)

    def open_sender(self) -> Sender:
        """Open the sending side of all channels."""
        return fan_out([self.peer.sender(self._channel_spec(), channel) for channel in self.channels])

    def open_receiver(self, index: int) -> Receiver:
        """Open one receiving side."""
        return self.peer.receiver(self._channel_spec(), self.channels[0 if self.peer.broadcast else index])

    def open_sender_and_wait(self) -> Sender:
        """Open the sending side, then wait until every receiver is open and would get a message."""
        sender = self.open_sender()
        self.meet()
        self.meet()
        sender.wait_for_receivers()
        return sender

    def open_receiver_in_turn(self, index: int) -> Receiver:
        """Open one receiving side after the sender is open."""
        self.meet()
        receiver = self.open_receiver(index)
        self.meet()
        return receiver

    def words(self) -> memoryview:
        """Return the board as unsigned 64-bit words."""
        return memoryview(self.board).cast("B").cast("Q")

    def meet(self) -> None:
        """Wait for all processes of the measurement."""
        self.barrier.wait()

    def discard(self) -> None:
        """Remove what killed processes left."""
        for channel in self.channels:
            self.peer.discard(channel)

    def _channel_spec(self) -> Spec:
        """Return the specification of one channel."""
        return self.spec if self.peer.broadcast else replace(self.spec, readers=1)


@dataclass(frozen=True)
class Job:
    """A process: its function, its core, and its arguments after the station."""

    function: Callable[..., Any]
    core: int | None
    arguments: tuple[Any, ...] = ()


def run_jobs(jobs: Sequence[Job], station: Station | None, limit_s: float) -> list[Any]:
    """Run all jobs at once, each in its own process, and return their results.

    Raises:
        FailedError: a job raised, died, or did not end within `limit_s`.
    """
    if station is not None:
        station.barrier = CONTEXT.Barrier(len(jobs), timeout=limit_s)
    processes: list[ForkServerProcess] = []
    connections: list[Connection] = []
    try:
        for job in jobs:
            receiving, sending = CONTEXT.Pipe(duplex=False)
            process = CONTEXT.Process(target=_main, args=(job, station, sending, limit_s), daemon=True)
            process.start()
            sending.close()
            processes.append(process)
            connections.append(receiving)
        return _collect(connections, limit_s + _GRACE_S)
    finally:
        for process in processes:
            process.join(_GRACE_S if sys.exc_info()[0] is None else 0)
            process.kill()
            process.join()
            process.close()
        for connection in connections:
            connection.close()
        if station is not None:
            station.discard()


def _collect(connections: list[Connection], limit_s: float) -> list[Any]:
    results: dict[int, Any] = {}
    deadline_s = time.monotonic() + limit_s
    while len(results) < len(connections):
        pending = [connection for index, connection in enumerate(connections) if index not in results]
        ready = wait(pending, max(0.0, deadline_s - time.monotonic()))
        if not ready:
            raise FailedError(f"not done after {limit_s - _GRACE_S:g} s")
        for connection in ready:
            assert isinstance(connection, Connection)
            try:
                error, value = connection.recv()
            except EOFError:
                raise FailedError(f"a process died, or was not done after {limit_s - _GRACE_S:g} s") from None
            if error:
                raise FailedError(error)
            results[connections.index(connection)] = value
    return [results[index] for index in range(len(connections))]


def _main(job: Job, station: Station | None, connection: Connection, limit_s: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # On Ctrl-C the parent kills this process.
    signal.setitimer(signal.ITIMER_REAL, limit_s)  # SIGALRM kills this process.
    threading.Thread(target=_die_with_parent, daemon=True).start()
    pin(job.core)
    gc.freeze()
    gc.disable()
    try:
        arguments = job.arguments if station is None else (station, *job.arguments)
        connection.send((None, job.function(*arguments)))
    except BaseException as error:  # noqa: BLE001 - the parent reports any error
        frames = traceback.extract_tb(error.__traceback__)
        frame = [frame for frame in frames if Path(frame.filename).is_relative_to(_HERE)][-1]
        connection.send((f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})", None))
    connection.close()
    # Skips the exit handlers of peers: some of them wait forever.
    os._exit(0)


def _die_with_parent() -> None:
    # The parent-death signal does not help: the parent of this process is the fork server, which outlives its children.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)

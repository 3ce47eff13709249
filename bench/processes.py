"""Contenders in processes of their own: pinned, in step with each other, under a time limit, gone with their parent.

Processes are forked from a server that has loaded numpy and nothing of any peer, so that they start in milliseconds and
none inherits what another one loaded. One that does not end in time kills itself; the parent's death kills it too.
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
    """A measurement did not come about; the message says why."""


@dataclass
class Station:
    """What the processes of one measurement share.

    Attributes:
        peer: what is measured.
        spec: what is sent.
        channels: one for all receivers, or one for each.
        options: what else the measurement needs to know.
        board: 64-bit words that all of them see.
        barrier: where they wait for each other.
    """

    peer: Peer
    spec: Spec
    channels: list[Any]
    options: dict[str, Any]
    board: Any = field(default_factory=lambda: CONTEXT.RawArray(ctypes.c_uint64, _BOARD_WORDS))
    barrier: Any = None

    @classmethod
    def plan(cls, peer: Peer, spec: Spec, **options: Any) -> Station:
        """Return a station with the channels that this peer needs for so many receivers.

        Raises:
            FailedError: it cannot do this.
        """
        spec = peer.fit(spec)
        if reason := peer.unable(spec):
            raise FailedError(f"cannot: {reason}")
        count = 1 if peer.broadcast else spec.readers
        return cls(peer, spec, [peer.channel(spec, CONTEXT) for _ in range(count)], options)

    def open_sender(self) -> Sender:
        """Open the sending side of all channels."""
        return fan_out([self.peer.sender(self._spec_of_one(), channel) for channel in self.channels])

    def open_receiver(self, index: int) -> Receiver:
        """Open one receiving side."""
        return self.peer.receiver(self._spec_of_one(), self.channels[0 if self.peer.broadcast else index])

    def open_sender_first(self) -> Sender:
        """Open the sending side, have every receiver open its own, and wait until each would get what is sent."""
        sender = self.open_sender()
        self.meet()
        self.meet()
        sender.settle()
        return sender

    def open_receiver_next(self, index: int) -> Receiver:
        """Open one receiving side in the meantime."""
        self.meet()
        receiver = self.open_receiver(index)
        self.meet()
        return receiver

    def words(self) -> memoryview:
        """Return the board."""
        return memoryview(self.board).cast("B").cast("Q")

    def meet(self) -> None:
        """Wait until every process of the measurement has come here."""
        self.barrier.wait()

    def discard(self) -> None:
        """Remove what killed processes left behind."""
        for channel in self.channels:
            self.peer.discard(channel)

    def _spec_of_one(self) -> Spec:
        """Return what is sent through one channel."""
        return self.spec if self.peer.broadcast else replace(self.spec, readers=1)


@dataclass(frozen=True)
class Job:
    """One process: what it does, where, and with what arguments beside the station."""

    function: Callable[..., Any]
    core: int | None
    arguments: tuple[Any, ...] = ()


def run_jobs(jobs: Sequence[Job], station: Station | None, limit_s: float) -> list[Any]:
    """Run each job in a process of its own, all at once, and return what they return.

    Raises:
        FailedError: one of them raised, died, or was not done after `limit_s` seconds.
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair, which kills this process then.
    signal.setitimer(signal.ITIMER_REAL, limit_s)  # Nobody handles SIGALRM.
    threading.Thread(target=_die_with_parent, daemon=True).start()
    pin(job.core)
    gc.freeze()
    gc.disable()
    try:
        arguments = job.arguments if station is None else (station, *job.arguments)
        connection.send((None, job.function(*arguments)))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent reports it
        frames = traceback.extract_tb(error.__traceback__)
        where = [frame for frame in frames if Path(frame.filename).is_relative_to(_HERE)][-1]
        connection.send((f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})", None))
    connection.close()
    # Not through what a peer registered for the end of the interpreter: some of them wait there for what never comes.
    os._exit(0)


def _die_with_parent() -> None:
    # Not by the parent-death signal: this process's parent is the server, and that lives as long as its children.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)

"""What the tests of whole programs share: rings of events that a test fills itself, and programs that end with it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import numpy as np

from chronostream.event import EVENT_DTYPE, Frequency, build_events
from chronostream.ring import Producer, inspect
from chronostream.stream.config import StreamConfig
from tests.ring.harness import ROOT, TIMEOUT_S

SECOND_NS = 1_000_000_000
_SIGNALS = (signal.SIGINT, signal.SIGHUP)


class Output:
    """What a program writes to one of its outputs."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._unread = b""

    def line(self) -> str:
        """Return the next line, without its end."""
        while b"\n" not in self._unread:
            part = self._part()
            assert part, f"it ended after {self._unread.decode()!r}"
            self._unread += part
        line, self._unread = self._unread.split(b"\n", 1)
        return line.decode()

    def rest(self) -> str:
        """Return everything up to the end of this output."""
        while part := self._part():
            self._unread += part
        rest, self._unread = self._unread.decode(), b""
        return rest

    def close(self) -> None:
        self._pipe.close()

    def _part(self) -> bytes:
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        assert poll.poll(1000 * TIMEOUT_S), f"nothing came in time after {self._unread.decode()!r}"
        return os.read(self._pipe.fileno(), 65536)


class Program:
    """A program in a process, and a session, of its own."""

    def __init__(self, *command: str, **options: Any) -> None:
        given: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | options
        self.process = subprocess.Popen(command, bufsize=0, cwd=ROOT, start_new_session=True, **given)
        self.pid = self.process.pid
        self.out = Output(self.process.stdout)
        self.err = Output(self.process.stderr)

    def write(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end and return its exit status, negative for a signal."""
        return self.process.wait(TIMEOUT_S)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; return its exit status, and how many seconds that took."""
        start_s = time.monotonic()
        self.send_signal(number)
        return self.wait(), time.monotonic() - start_s

    def end(self) -> None:
        """Kill it if it still runs, and everything that it started and that is in its session still."""
        if self.process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.process.wait(TIMEOUT_S)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


class Programs:
    """Starts programs, and ends them at the end of the block."""

    def __init__(self) -> None:
        self._all: list[Program] = []
        self._ignored: list[int] = []

    def start(self, *command: str, **options: Any) -> Program:
        program = Program(*command, **options)
        self._all.append(program)
        return program

    def python(self, *arguments: str, **options: Any) -> Program:
        return self.start(sys.executable, "-W", "error", *arguments, **options)

    def chronostream(self, *arguments: str, **options: Any) -> Program:
        """Start the command with these arguments."""
        return self.python("-m", "chronostream", *arguments, **options)

    def run(self, name: str, *arguments: str, **options: Any) -> Program:
        """Start ``chronostream run``, and return once its stream is ready."""
        program = self.chronostream("run", name, *arguments, **options)
        assert "INFO ready: stream" in program.err.line()
        return program

    def __enter__(self) -> Self:
        # What a test run under nohup, or in the background, would hand down.
        self._ignored = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
        for number in self._ignored:
            signal.signal(number, signal.SIG_DFL)
        return self

    def __exit__(self, *_: object) -> None:
        for program in reversed(self._all):
            program.end()
        for number in self._ignored:
            signal.signal(number, signal.SIG_IGN)


class Feed:
    """A ring of events under the test's control; each event's sequence is its position, whatever its frequency."""

    def __init__(self, name: str, capacity: int = 8) -> None:
        self.name = name
        self.ring = Producer.create(name, EVENT_DTYPE, capacity)

    def publish(self, count: int = 1, frequency: Frequency = Frequency.SECOND) -> None:
        positions = np.arange(self.ring.head, self.ring.head + count)
        self.ring.publish_many(build_events(frequency, positions * SECOND_NS, positions, "1", "host"))

    def die(self) -> None:
        """Let the stream go as the system does for a process that was killed."""
        self.ring._segment.close()


def events_of(lines: str) -> list[dict[str, Any]]:
    """Return the events of JSON lines."""
    return [json.loads(line) for line in lines.splitlines()]


def config(name: str, **options: Any) -> StreamConfig:
    given: dict[str, Any] = {"name": name, "capacity": 8, "instance_id": "host"}
    return StreamConfig(**given | options)


def state(name: str) -> str:
    return inspect(name).state


def dead_pid() -> int:
    with subprocess.Popen(["true"]) as ended:
        ended.wait(TIMEOUT_S)
    return ended.pid


def gone(pid: int) -> bool:
    """Return whether a process has ended, its parent having asked about it or not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state in "ZX"

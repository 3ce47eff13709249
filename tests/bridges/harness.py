"""Real NATS servers on loopback, and what the bridges' tests do with them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from chronostream import BoundarySequencer, Engine, FakeClock, Frequency, StreamConfig, build_events
from chronostream.boundaries import boundaries
from chronostream.bridges.connection import ConnectionOptions
from chronostream.bridges.relay import Relay, RelayReport
from chronostream.event import EVENT_DTYPE

TIMEOUT_S = 20.0
ROOT = Path(__file__).resolve().parents[2]
NATS_SERVER = Path(sys.executable).with_name("nats-server")
_T = TypeVar("_T")


def wait_until(condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    """Wait for something that another process or thread does, or fail."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come about in time"
        time.sleep(0.01)


def free_port() -> int:
    """Return a port that nobody has, outside the range that outgoing connections take theirs from."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """A NATS server; one that was killed can be started again on the same port, with what it had stored."""

    def __init__(self, directory: Path, *, config: str = "", name: str = "") -> None:
        self.directory = directory
        self.name = name
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._log = directory / "log"
        self._arguments = ["--addr", "127.0.0.1", "--port", str(self.port), "--log", str(self._log)]
        self._arguments += ["--jetstream", "--store_dir", str(directory / "store")]
        if name:
            self._arguments += ["--name", name]
        if config:
            (directory / "nats.conf").write_text(config)
            self._arguments += ["--config", str(directory / "nats.conf")]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([NATS_SERVER, *self._arguments])

    def wait_until_ready(self) -> None:
        wait_until(self._answers)

    def kill(self) -> None:
        """Kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"it ended: {self._log.read_text()}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            return connection.recv(4) == b"INFO"
        return False

    def __enter__(self) -> Self:
        self.start()
        self.wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Cluster:
    """Three NATS servers that know each other."""

    def __init__(self, directory: Path) -> None:
        ports = [free_port() for _ in range(3)]
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
        self.servers = []
        for number, port in enumerate(ports):
            home = directory / f"node-{number}"
            home.mkdir()
            config = f'cluster {{ name: test, listen: "127.0.0.1:{port}", routes: [{routes}] }}'
            self.servers.append(Server(home, config=config, name=f"node-{number}"))
        self.url = ",".join(server.url for server in self.servers)

    def __enter__(self) -> Self:
        for server in self.servers:
            server.start()
        for server in self.servers:
            server.wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.kill()


class Command:
    """A `chronostream` command in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chronostream", *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.pid = self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> str:
        """Kill -9; return what it printed."""
        self._process.kill()
        return self.finish()[1]

    def stop(self) -> tuple[int, str]:
        """Have it end; return its exit status, and what it printed."""
        self._process.terminate()
        return self.finish()

    def finish(self) -> tuple[int, str]:
        """Wait for its end; return its exit status, and what it printed."""
        printed, _ = self._process.communicate(timeout=TIMEOUT_S)
        return self._process.returncode, printed.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Source:
    """A stream whose engine runs here, under a clock of its own, as fast as it is moved."""

    def __init__(self, name: str, start_ns: int, **options: Any) -> None:
        self.config = StreamConfig(name=name, **({"sequencer": "boundary", "coalesce": "all"} | options))
        self.clock = FakeClock(start_ns)
        self.engine = Engine(self.config, clock=self.clock)

    def advance(self, seconds: int, *, asleep: bool = False) -> None:
        """Let so many seconds pass, and emit what they bring; asleep, only what is due when they have passed."""
        for _ in range(seconds):
            self.clock.advance(1_000_000_000)
            if not asleep:
                self.engine.step()
        self.engine.step()

    def close(self) -> None:
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def boundary_events(
    frequencies: Sequence[str], start_ns: int, end_ns: int, tz: str = "UTC", instance: str = "test"
) -> npt.NDArray[np.void]:
    """Return the events of a range as the boundary sequencer numbers them, in their order."""
    parts = []
    for frequency in map(Frequency.parse, frequencies):
        stamps = boundaries(frequency, start_ns, end_ns, tz)
        numbers = BoundarySequencer(tz).sequences(frequency, stamps)
        parts.append(build_events(frequency, stamps, numbers, "1", instance))
    records = np.concatenate([np.empty(0, EVENT_DTYPE), *parts])
    return records[np.lexsort([records["frequency"], records["timestamp"]])]


def options_of(url: str, **options: Any) -> ConnectionOptions:
    return ConnectionOptions(servers=tuple(url.split(",")), **options)


def in_jetstream(url: str, work: Callable[[JetStreamContext], Coroutine[Any, Any, _T]]) -> _T:
    """Run `work` with a connection of the test's own, and return what it returns."""

    async def run() -> _T:
        client = Client()
        await client.connect(url.split(","), allow_reconnect=False)
        try:
            return await work(client.jetstream(timeout=TIMEOUT_S))
        finally:
            await client.close()

    return asyncio.run(run())


def stored(url: str, stream: str) -> list[dict[str, Any]]:
    """Return all messages of a JetStream stream, in order: subject, headers and payload."""

    async def read(js: JetStreamContext) -> list[dict[str, Any]]:
        left = (await js.stream_info(stream)).state.messages
        reader = await js.pull_subscribe("", stream=stream, config=ConsumerConfig(ack_policy=AckPolicy.NONE))
        found = []
        while left:
            for message in await reader.fetch(min(left, 500), timeout=TIMEOUT_S):
                left -= 1
                found.append({"subject": message.subject, "headers": message.headers or {}, "payload": message.data})
        return found

    return in_jetstream(url, read)


def stored_ids(url: str, stream: str) -> list[str]:
    return [message["headers"]["Nats-Msg-Id"] for message in stored(url, stream)]


def status_of(name: str) -> Any:
    """Return what `chronostream status` says about a stream."""
    command = [sys.executable, "-m", "chronostream", "status", name, "--format", "json"]
    return json.loads(subprocess.check_output(command, cwd=ROOT, timeout=TIMEOUT_S))


def remove_segments(prefix: str) -> None:
    """Remove the segments of all streams whose name begins so."""
    for path in Path("/dev/shm").glob(f"chronostream.{prefix}*"):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def segments(prefix: str) -> Iterator[str]:
    """Give a beginning for names of the test's own; no segment with it is left behind."""
    own = f"{prefix}-{os.getpid()}-{random.randrange(1 << 32):08x}"
    try:
        yield own
    finally:
        remove_segments(own)


class Running:
    """A relay or a mirror in a thread of its own, until the end of the block."""

    def __init__(self, bridge: Any) -> None:
        self._bridge = bridge
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self.error: BaseException | None = None

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            try:
                self._loop.run_until_complete(self._bridge.run(self._stop))
            except BaseException as error:  # noqa: BLE001 - for the test to raise
                self.error = error

    def start(self) -> Self:
        self._thread.start()
        return self

    def join(self) -> None:
        """Wait for its end; what it raised is raised here."""
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive(), "it did not end"
        if self.error is not None:
            raise self.error

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):  # It ended by itself.
            self._loop.call_soon_threadsafe(self._stop.set)
        self.join()


def deliver(relay: Relay, timeout_s: float = TIMEOUT_S) -> RelayReport:
    """Run a relay whose stream is closed until everything is delivered."""

    async def run() -> RelayReport:
        async with asyncio.timeout(timeout_s):
            return await relay.run(asyncio.Event())

    return asyncio.run(run())

"""NATS servers on loopback, and helpers of the bridges' tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError

from chronostream import (
    BoundarySequencer,
    Engine,
    FakeClock,
    Frequency,
    StreamConfig,
    build_events,
    event_ids,
    to_events,
)
from chronostream.boundaries import boundaries
from chronostream.bridges.connection import ConnectionOptions
from chronostream.bridges.encoding import ENCODING, SCHEMA, Encoding, encode
from chronostream.bridges.jetstream import stream_for
from chronostream.bridges.relay import Relay, RelayReport
from chronostream.errors import StreamNotFoundError
from chronostream.event import EVENT_DTYPE
from chronostream.ring import inspect
from tests.ring.harness import TIMEOUT_S, wait_until

START_NS = 1_700_000_000_000_000_000
"""By default, a stream's first event is a second later."""
S = 1_000_000_000
NATS_SERVER = Path(sys.executable).with_name("nats-server")
_T = TypeVar("_T")


def free_port() -> int:
    """Return a free port, outside the range of ports of outgoing connections."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """A NATS server. After `kill` it can be started again, on the same port and with the same store."""

    def __init__(self, directory: Path, *, config: str = "", name: str = "", jetstream: bool = True) -> None:
        self.directory = directory
        self.name = name
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._log = directory / "log"
        self._arguments = ["--addr", "127.0.0.1", "--port", str(self.port), "--log", str(self._log)]
        if jetstream:
            self._arguments += ["--jetstream", "--store_dir", str(directory / "store")]
        if name:
            self._arguments += ["--name", name]
        if config:
            (directory / "nats.conf").write_text(config)
            self._arguments += ["--config", str(directory / "nats.conf")]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._process = subprocess.Popen([NATS_SERVER, *self._arguments])
        wait_until(self._answers)

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the server ended: {self._log.read_text()}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            return connection.recv(4) == b"INFO"
        return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Cluster:
    """A cluster of three NATS servers."""

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
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.kill()


class Source:
    """A stream whose engine runs in this process, under a fake clock."""

    def __init__(self, name: str, start_ns: int = START_NS, **options: Any) -> None:
        defaults: dict[str, Any] = {
            "sequencer": "boundary",
            "coalesce": "all",
            "producer_version": "1",
            "instance_id": "test",
        }
        self.config = StreamConfig(name=name, **(defaults | options))
        self.clock = FakeClock(start_ns)
        self.engine = Engine(self.config, clock=self.clock)

    def advance(self, seconds: int, *, asleep: bool = False) -> None:
        """Let seconds pass and emit their events; asleep, emit only those due at the end."""
        for _ in range(seconds):
            self.clock.advance(S)
            if not asleep:
                self.engine.step()
        self.engine.step()

    def close(self) -> None:
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def emit(name: str, seconds: int, start_ns: int = START_NS, **options: Any) -> None:
    """Create a closed stream of some seconds, or continue an existing one."""
    with Source(name, start_ns, **options) as source:
        source.advance(seconds)


def fill(url: str, name: str, seconds: int, start_ns: int = START_NS, **options: Any) -> RelayReport:
    """Deliver the events of some seconds to JetStream."""
    emit(name, seconds, start_ns, **options)
    return deliver(Relay(name, options_of(url)))


def boundary_events(
    frequencies: Sequence[str], start_ns: int, end_ns: int, tz: str = "UTC", instance: str = "test"
) -> npt.NDArray[np.void]:
    """Return the events of a range with the numbers of the boundary sequencer, in order."""
    parts = []
    for frequency in map(Frequency.parse, frequencies):
        stamps = boundaries(frequency, start_ns, end_ns, tz)
        numbers = BoundarySequencer(tz).sequences(frequency, stamps)
        parts.append(build_events(frequency, stamps, numbers, "1", instance))
    records = np.concatenate([np.empty(0, EVENT_DTYPE), *parts])
    return records[np.lexsort([records["frequency"], records["timestamp"]])]


HELD_S = 2500
HELD = boundary_events(("second", "minute"), START_NS + 1, START_NS + HELD_S * S + 1)


HEADERS = {SCHEMA: "1", ENCODING: "json"}


def payload(place: int) -> bytes:
    """Return what a relay publishes of one of the events of `HELD`."""
    record = HELD[place : place + 1]
    return encode(record, to_events(record), Encoding.JSON)[0]


def publish(url: str, name: str, *messages: tuple[bytes, dict[str, str]], frequency: str = "second") -> None:
    """Publish payloads with their headers, as somebody else than a relay does it."""

    async def run(js: JetStreamContext) -> None:
        for payload, headers in messages:
            await js.publish(f"chronostream.{name}.{frequency}", payload, headers=headers)

    in_jetstream(url, run)


def ids_between(start_s: int, end_s: int, *frequencies: str) -> list[str]:
    """Return the ids of the boundaries from `start_s` to `end_s` (exclusive), in seconds after `START_NS`."""
    records = boundary_events(frequencies or ("second",), START_NS + start_s * S, START_NS + end_s * S)
    ids: list[str] = event_ids(records).tolist()
    return ids


def options_of(url: str, **options: Any) -> ConnectionOptions:
    return ConnectionOptions(servers=tuple(url.split(",")), **options)


def in_jetstream(url: str, work: Callable[[JetStreamContext], Coroutine[Any, Any, _T]]) -> _T:
    """Run `work` with a separate connection, and return its result."""

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
        messages = []
        while left:
            for message in await reader.fetch(min(left, 500), timeout=TIMEOUT_S):
                left -= 1
                messages.append({"subject": message.subject, "headers": message.headers or {}, "payload": message.data})
        return messages

    return in_jetstream(url, read)


def stored_ids(url: str, stream: str) -> list[str]:
    return [message["headers"]["Nats-Msg-Id"] for message in stored(url, stream)]


def wait_for_stored(url: str, name: str, count: int) -> None:
    """Wait until JetStream holds exactly `count` events of a stream."""

    async def wait(js: JetStreamContext) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            held = None
            while held != count:
                await asyncio.sleep(0.01)
                with contextlib.suppress(NotFoundError):
                    held = (await js.stream_info(stream_for(name))).state.messages

    in_jetstream(url, wait)


def head_of(name: str) -> int:
    """Return the head of a ring, 0 if there is no ring."""
    try:
        return inspect(name).head
    except StreamNotFoundError:
        return 0


@contextlib.contextmanager
def segments(prefix: str) -> Iterator[str]:
    """Give a unique prefix for names; segments with it are removed at the end."""
    own = f"{prefix}-{os.getpid()}-{random.randrange(1 << 32):08x}"
    try:
        yield own
    finally:
        for path in Path("/dev/shm").glob(f"chronostream.{own}*"):
            path.unlink(missing_ok=True)


class Running:
    """A relay or a mirror in its own thread, until the end of the block."""

    def __init__(self, bridge: Any) -> None:
        self._bridge = bridge
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self._error: BaseException | None = None

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            try:
                self._loop.run_until_complete(self._bridge.run(self._stop))
            except BaseException as error:  # noqa: BLE001 - join() raises it
                self._error = error

    def start(self) -> Self:
        self._thread.start()
        return self

    def join(self) -> None:
        """Wait until it ends, and raise its error."""
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive(), "the bridge did not end"
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):  # The bridge has ended by itself.
            self._loop.call_soon_threadsafe(self._stop.set)
        self.join()


def deliver(relay: Relay, timeout_s: float = TIMEOUT_S) -> RelayReport:
    """Run a relay of a closed stream until everything is delivered."""

    async def run() -> RelayReport:
        async with asyncio.timeout(timeout_s):
            return await relay.run(asyncio.Event())

    return asyncio.run(run())

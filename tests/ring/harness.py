"""What the ring's tests share: which cores there are, handles that close themselves, other threads and processes."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import multiprocessing
import os
import platform
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import FrameType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pytest

from chronostream.errors import CoreUnavailableError
from chronostream.ring import Consumer, Producer, core, segment_name
from chronostream.ring.layout import CLAIM, HEAD, WAITING

TIMEOUT_S = 20.0
FORK = multiprocessing.get_context("fork")
ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534  # a user and a group
SHARED_MEMORY = Path("/dev/shm")

_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000  # from <sched.h>
_PR_SET_DUMPABLE = 4  # from <linux/prctl.h>

needs_root = pytest.mark.needs_root


def _wanted(name: str) -> bool:
    if name == "portable":
        return platform.machine() == "x86_64"
    try:
        core.load_core(name)
    except CoreUnavailableError:
        # There, a missing native core is a failure of the tests that ask for it, not a reason to leave them out.
        return "CI" in os.environ and (ROOT / "chronostream/ring/_native.c").exists()
    return True


CORES = [name for name in core.CORES if _wanted(name)]
PAIRS = [(producer, consumer) for producer in CORES for consumer in CORES]


def path_of(name: str) -> Path:
    return SHARED_MEMORY / segment_name(name)


def overwrite(name: str, offset: int, data: bytes) -> None:
    """Write into a segment behind the back of everybody who has it open."""
    with path_of(name).open("r+b") as file:
        file.seek(offset)
        file.write(data)


def move_head(name: str, head: int, claim: int | None = None) -> None:
    """Have a stream that nobody has open go on at `head`."""
    overwrite(name, HEAD, head.to_bytes(8, "little"))
    overwrite(name, CLAIM, (head if claim is None else claim).to_bytes(8, "little"))


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that another process or thread does, or fail."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come about in time"
        time.sleep(0.001)


def wait_for_sleeper(producer: Producer) -> None:
    """Wait until a consumer has asked to be woken."""
    wait_until(lambda: producer._segment.memory[producer._layout.control_offset + WAITING])


class Handles:
    """A stream's handles on the cores of one test; what is left open is closed."""

    def __init__(self, name: str, producer_core: str, consumer_core: str) -> None:
        self.name = name
        self.producer_core = producer_core
        self.consumer_core = consumer_core
        self._open = contextlib.ExitStack()

    def create(self, dtype: npt.DTypeLike = "<i8", capacity: int = 8, **options: Any) -> Producer:
        producer = Producer.create(self.name, dtype, capacity, core=self.producer_core, **options)
        self._open.callback(producer.close)
        return producer

    def attach(self, *start: Any, **options: Any) -> Consumer:
        consumer = Consumer.attach(self.name, *start, core=self.consumer_core, **options)
        self._open.callback(consumer.close)
        return consumer

    def pair(self, dtype: npt.DTypeLike = "<i8", capacity: int = 8, **options: Any) -> tuple[Producer, Consumer]:
        return self.create(dtype, capacity, **options), self.attach()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


def run_script(name: str, *arguments: object) -> str:
    """Run one of our scripts with this interpreter and return what it printed; it must end well and without a word."""
    command = [sys.executable, str(ROOT / "scripts" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S * 2, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def uses(producer: Producer, consumer: Consumer) -> list[Callable[[], object]]:
    """Return all that can be done with the handles on a stream of ``<i8``, but closing them."""
    return [
        producer.__enter__,
        producer.check,
        lambda: producer.publish(1),
        lambda: producer.publish("wrong"),
        lambda: producer.publish_many([1]),
        lambda: producer.publish_many([]),
        lambda: producer.offer(1),
        lambda: producer.claim(1).__enter__(),
        lambda: producer.head,
        lambda: producer.depth,
        lambda: len(producer),
        lambda: producer.records,
        lambda: producer.application,
        consumer.__enter__,
        consumer.read,
        lambda: consumer.read(-1),
        lambda: consumer.read_into(np.empty(1, "<i8")),
        lambda: consumer.read_into(np.empty(1, "<f8")),
        lambda: consumer.peek().__enter__(),
        lambda: consumer.wait(0),
        lambda: consumer.position,
        lambda: consumer.lost,
        lambda: consumer.lag,
        lambda: consumer.closed,
        lambda: consumer.producer_alive,
        lambda: consumer.application,
        lambda: consumer.header,
    ]


@contextlib.contextmanager
def at_line(files: Collection[str | None], number: int, action: Callable[[], object]) -> Iterator[list[int]]:
    """Run `action` before the line of these files that runs as number `number` in the block; yield the lines so far."""
    reached: list[int] = []

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        if event == "line" and len(reached) < number:
            reached.append(frame.f_lineno)
            if len(reached) == number:
                before = sys.gettrace()
                sys.settrace(None)
                try:
                    action()
                finally:
                    sys.settrace(before)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield reached
    finally:
        sys.settrace(before)


def fails(number: int) -> Callable[..., Any]:
    """Return a stand-in for a function of the system that answers with this error."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@contextlib.contextmanager
def in_thread(target: Callable[..., object], *arguments: object) -> Iterator[None]:
    """Run `target` in a thread beside the block; it must end with the block, or soon afterwards."""
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(TIMEOUT_S)
    assert not thread.is_alive(), "it did not end in time"


def become_user(uid: int, gid: int | None = None) -> None:
    os.setgroups([])
    os.setgid(uid if gid is None else gid)
    os.setuid(uid)
    # Or /proc/self would be root's, as it is for a process that changed its user.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1)


def become_nobody() -> None:
    become_user(NOBODY)


def unshare(flags: int) -> None:
    """Give this process namespaces of its own."""
    if ctypes.CDLL(None, use_errno=True).unshare(flags) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def own_users(uid_map: str = "", gid_map: str = "") -> None:
    """Give this process a user namespace of its own, in which only those users are known."""
    unshare(_CLONE_NEWUSER)
    if uid_map:
        for name, text in (("setgroups", "deny"), ("uid_map", uid_map), ("gid_map", gid_map)):
            Path("/proc/self", name).write_text(text)


def own_mounts() -> None:
    """Give this process mounts of its own, which it may change even if its user is not root."""
    if os.geteuid() != 0:
        own_users(f"0 {os.geteuid()} 1", f"0 {os.getegid()} 1")
    unshare(_CLONE_NEWNS)
    mount("--make-rprivate", "/")


def mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, timeout=TIMEOUT_S)


def mount_read_only(directory: Path) -> None:
    mount("--bind", directory, directory)
    mount("-o", "remount,bind,ro", directory)


@contextlib.contextmanager
def forked(target: Callable[[], object]) -> Iterator[ForkProcess]:
    """Run `target` in a fork of this process; kill it at the end of the block if it still runs."""
    process = FORK.Process(target=target)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join(TIMEOUT_S)
        process.close()


def follow_to_the_end(consumer: Consumer, ready: Any, done: Any) -> None:
    """Read the record 1, wait for the 2 and then for the end of the stream, as `lead_to_the_end` has them come."""
    assert consumer.read().tolist() == [1]
    ready.set()
    assert consumer.wait(TIMEOUT_S)
    assert consumer.read().tolist() == [2]
    done.set()
    assert not consumer.wait(TIMEOUT_S)


def lead_to_the_end(follow: Callable[[], object], producer: Producer, ready: Any, done: Any) -> None:
    """Publish 2 and close while a fork of this process follows."""
    with forked(follow) as process:
        assert ready.wait(TIMEOUT_S)
        producer.publish(2)
        assert done.wait(TIMEOUT_S)
        producer.close()
        process.join(TIMEOUT_S)
        assert process.exitcode == 0


def in_fork(target: Callable[[], object]) -> int:
    """Run `target` in a fork of this process and return the exit code: negative for a signal."""
    with forked(target) as process:
        process.join(TIMEOUT_S)
        assert process.exitcode is not None, "it did not end in time"
        return process.exitcode


def _can(action: Callable[[], object]) -> bool:
    """Return whether the system lets a child of this process do this."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            action()
            os._exit(0)
        os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


@contextlib.contextmanager
def read_locked(name: str, offset: int) -> Iterator[None]:
    """Hold a read lock on a byte of a segment, as anybody can who may read it."""
    fd = os.open(path_of(name), os.O_RDONLY)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("@hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, offset, 1, 0))
        yield
    finally:
        os.close(fd)


needs_mounts = pytest.mark.skipif(not _can(own_mounts), reason="this system lets nobody have mounts of their own")
needs_users = pytest.mark.skipif(not _can(own_users), reason="this system lets nobody have user namespaces")

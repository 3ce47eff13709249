"""What a ring keeps from leaking, and from getting across the walls between processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest

from chronostream.errors import InvalidValueError, ProducerActiveError, StreamNotFoundError
from chronostream.ring import Consumer, Producer, inspect, list_names
from tests.ring.harness import CORES, ROOT, TIMEOUT_S, Handles, needs_root, path_of

IN_OWN_PID_NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-W", "error", "-c"]


def cycle(own: Handles) -> None:
    producer = Producer.create(own.name, "<i8", 8, core=own.producer_core)
    consumer = Consumer.attach(own.name, core=own.consumer_core)
    producer.publish(1)
    consumer.read()
    consumer.close()
    producer.close()


def failures(own: Handles) -> None:
    path_of(own.name).write_bytes(bytes(100))
    with pytest.raises(StreamNotFoundError, match="still being made"):
        Consumer.attach(own.name)
    with Producer.create(own.name, "<i8", 8), pytest.raises(ProducerActiveError):
        Producer.create(own.name, "<i8", 8)
    with pytest.raises(StreamNotFoundError):
        Consumer.attach(own.name)
    with pytest.raises(InvalidValueError):
        Producer.create(own.name, "<i8", 8, group="no such group")


@pytest.mark.parametrize(("repeated", "times"), [(cycle, 10_000 // len(CORES)), (failures, 200)])
def test_thousands_of_cycles_and_failures_leak_no_descriptor_no_mapping_and_no_segment(
    own: Handles, repeated: Callable[[Handles], None], times: int
) -> None:
    this = psutil.Process()

    def held() -> tuple[int, int]:
        return this.num_fds(), len([each for each in this.memory_maps(grouped=False) if own.name in each.path])

    repeated(own)
    before = held()
    for _ in range(times):
        repeated(own)
    assert held() == before
    assert before[1] == 0
    assert own.name not in list_names()


@needs_root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="there is no unshare here")
def test_a_producer_is_seen_to_live_and_to_die_from_another_pid_namespace(own: Handles) -> None:
    producer = own.create()
    producer.publish(1)
    code = f"""
import os, sys
from chronostream.errors import ProducerActiveError, ProducerGoneError
from chronostream.ring import Consumer, Producer, inspect
assert os.getpid() < 10, "this is no namespace of its own"
try:
    Producer.create({own.name!r}, "<i8", 8)
except ProducerActiveError as error:
    print(error.pid)
status = inspect({own.name!r})
print(status.state, status.same_namespace)
with Consumer.attach({own.name!r}, on_gone="raise") as consumer:
    print(consumer.producer_alive, consumer.read().tolist(), flush=True)
    sys.stdin.readline()
    try:
        consumer.wait({TIMEOUT_S})
    except ProducerGoneError:
        print("gone")
Producer.create({own.name!r}, "<i8", 8).close(unlink=False)
"""
    with subprocess.Popen(
        [*IN_OWN_PID_NAMESPACE, code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().decode().strip() for _ in range(3)]
        assert lines == [str(os.getpid()), "live False", "True [1]"]
        producer._segment.close()  # as its death would: the lock is gone, and nothing says that the stream is closed
        out, err = process.communicate(b"\n", timeout=TIMEOUT_S)
        assert (process.returncode, out, err) == (0, b"gone\n", b"")
    assert inspect(own.name).generation == 2

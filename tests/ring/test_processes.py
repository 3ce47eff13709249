"""What needs real processes: waking, dying, forking, other users, other programs."""

from __future__ import annotations

import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from chronostream.errors import (
    AccessDeniedError,
    ClosedError,
    ForkedError,
    ProducerActiveError,
    ProducerGoneError,
    StreamNotFoundError,
    StreamRemovedError,
)
from chronostream.ring import Producer, inspect, remove, shm
from chronostream.ring import consumer as consumers
from chronostream.ring.core import IdleStrategy
from chronostream.ring.layout import FREE_TAIL, WAITING
from tests.ring.harness import FORK, ROOT, TIMEOUT_S, Handles, Program, forked, in_fork, path_of, wait_until

IDLE: list[IdleStrategy] = ["busy-spin", "yielding", "sleeping", "blocking"]
NOBODY = 65534
CONTENDERS = 50
WAITING_FLAG = mmap.PAGESIZE + WAITING  # the header of a plain dtype takes one page

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user, or mount")


def become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


@pytest.fixture
def ready() -> Any:
    """An event that both processes see."""
    return FORK.Event()


@pytest.fixture
def done() -> Iterator[Any]:
    event = FORK.Event()
    yield event
    event.set()


# --- Waking.


@pytest.mark.parametrize("idle", IDLE)
def test_a_waiting_consumer_is_woken_by_another_process(
    ring: Handles, idle: IdleStrategy, ready: Any, done: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "LIVENESS_CHECK_S", 3600.0)  # a lost wake runs into the test's timeout

    def produce() -> None:
        producer = ring.create()
        ready.set()
        wait_until(lambda: inspect(ring.name).consumers)
        if idle == "blocking":
            wait_until(lambda: producer._segment.memory[WAITING_FLAG])
        producer.publish(7)
        done.wait(TIMEOUT_S)
        producer.close()

    with forked(produce) as process:
        assert ready.wait(TIMEOUT_S)
        consumer = ring.attach(idle=idle)
        assert consumer.wait()
        assert consumer.read().tolist() == [7]
        done.set()
        assert not consumer.wait()
        process.join(TIMEOUT_S)
        assert process.exitcode == 0


@pytest.mark.parametrize("idle", IDLE)
def test_ctrl_c_ends_a_wait(own: Handles, idle: IdleStrategy, ready: Any) -> None:
    own.create()

    def consume() -> None:
        sys.settrace(None)  # A signal that comes while coverage holds its own lock would leave it held for ever.
        with own.attach(idle=idle) as consumer, pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the block is what is tested
            ready.set()
            consumer.wait()

    with forked(consume) as process:
        assert ready.wait(TIMEOUT_S)
        time.sleep(0.01)  # most likely it waits by now; a signal before that must end it, too
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
        process.join(TIMEOUT_S)
        assert process.exitcode == 0
    assert inspect(own.name).consumers == ()


CHECKED = np.dtype([("position", "<u8"), ("inverse", "<u8"), ("odd", "<u4")])


def checked_rows(first: int, count: int) -> np.ndarray[Any, Any]:
    rows = np.zeros(count, CHECKED)
    rows["position"] = np.arange(first, first + count)
    rows["inverse"] = ~rows["position"]
    rows["odd"] = rows["position"] * 2654435761
    return rows


@pytest.mark.parametrize("capacity", [2, 64])
def test_records_of_another_process_come_whole_and_in_order_and_losses_add_up(
    ring: Handles, capacity: int, ready: Any
) -> None:
    total = 6_000

    def produce() -> None:
        producer = ring.create(CHECKED, capacity)
        ready.set()
        wait_until(lambda: inspect(ring.name).consumers)
        while producer.head < total:
            producer.publish_many(checked_rows(producer.head, min(total - producer.head, 1 + producer.head % 7)))
            if producer.head % 5 == 0:
                os.sched_yield()
        producer.close()

    with forked(produce):
        assert ready.wait(TIMEOUT_S)
        consumer = ring.attach()
        received = 0
        while consumer.wait(TIMEOUT_S):
            found = consumer.read()
            first = consumer.position - len(found)
            assert found.tolist() == checked_rows(first, len(found)).tolist()
            received += len(found)
            # Only of what was seen so far: the lag may grow from one look to the next.
            assert received + consumer.lost == consumer.position
        assert received + consumer.lost == total
        assert consumer.lag == 0


def test_offers_of_another_process_lose_nothing(ring: Handles, ready: Any) -> None:
    total = 2_000

    def produce() -> None:
        producer = ring.create(capacity=8)
        ready.set()
        wait_until(lambda: inspect(ring.name).consumers)
        while producer.head < total:
            if not producer.offer(producer.head):
                os.sched_yield()
        producer.close()

    with forked(produce):
        assert ready.wait(TIMEOUT_S)
        consumer = ring.attach()
        received: list[int] = []
        while consumer.wait(TIMEOUT_S):
            received += consumer.read(3).tolist()
        assert (received, consumer.lost) == (list(range(total)), 0)


# --- Dying.


def hold(create: Callable[[], object], ready: Any) -> Callable[[], None]:
    """Return a process's program: make something, say so, and hold it until killed."""

    def program() -> None:
        handle = create()
        ready.set()
        time.sleep(3 * TIMEOUT_S)
        raise AssertionError(f"nobody killed the holder of {handle}")

    return program


def test_a_killed_producer_is_noticed_by_who_asked_for_it(ring: Handles, ready: Any) -> None:
    with forked(hold(lambda: ring.create().publish(1), ready)) as process:
        assert ready.wait(TIMEOUT_S)
        consumer = ring.attach(on_gone="raise")
        assert consumer.wait(TIMEOUT_S)
        consumer.read()
        assert consumer.producer_alive
        process.kill()
        with pytest.raises(ProducerGoneError, match=f"process {process.pid}, the producer of stream"):
            consumer.wait(TIMEOUT_S)
        assert inspect(ring.name).state == "dead"
        assert not consumer.producer_alive


def test_who_waits_on_goes_on_with_the_next_producer(ring: Handles, ready: Any) -> None:
    with forked(hold(lambda: ring.create().publish(1), ready)) as process:
        assert ready.wait(TIMEOUT_S)
        consumer = ring.attach()
        process.kill()
        process.join(TIMEOUT_S)
        assert consumer.read().tolist() == [1]
        assert not consumer.wait(0.01)
        producer = ring.create()
        assert (producer.taken_over, producer.head, inspect(ring.name).generation) == (True, 1, 2)
        producer.publish(2)
        assert consumer.wait(TIMEOUT_S)
        assert consumer.read().tolist() == [2]


def test_one_who_sleeps_is_woken_by_the_next_producer_opening(
    ring: Handles, ready: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer killed between taking the flag down and waking leaves sleepers, which no later publish would wake."""
    monkeypatch.setattr(consumers, "LIVENESS_CHECK_S", 3600.0)
    Producer.create(ring.name, "<i8", 8, core=ring.producer_core).close(unlink=False)
    path = path_of(ring.name)
    content = path.read_bytes()
    path.write_bytes(content[:384] + b"\1" + content[385:])  # it was killed rather

    def consume() -> None:
        consumer = ring.attach()
        ready.set()
        assert consumer.wait()
        assert consumer.read().tolist() == [1]

    with forked(consume) as process:
        assert ready.wait(TIMEOUT_S)
        wait_until(lambda: path.read_bytes()[WAITING_FLAG])
        with path.open("r+b") as file:
            file.seek(WAITING_FLAG)
            file.write(b"\0")  # the dead producer's exchange
        producer = ring.create()
        producer.publish(1)
        process.join(TIMEOUT_S)
        assert process.exitcode == 0


def test_a_producer_killed_while_it_writes_leaves_no_half_written_record(ring: Handles, ready: Any) -> None:
    def write() -> None:
        producer = ring.create(capacity=8)
        producer.publish_many(range(8))
        with producer.claim(3) as rows:
            rows[:2] = -1
            hold(lambda: None, ready)()

    with forked(write) as process:
        assert ready.wait(TIMEOUT_S)
        process.kill()
        process.join(TIMEOUT_S)
    consumer = ring.attach()
    assert consumer.read().tolist() == [3, 4, 5, 6, 7]
    producer = ring.create(capacity=8)
    assert (int(consumer.header["head"]), int(consumer.header["claim"])) == (8, 11)
    producer.publish(8)
    assert consumer.read().tolist() == [8]
    assert ring.attach().read().tolist() == [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("order", ["offer", "depth", "takeover"])
def test_a_killed_consumer_holds_nobody_up(ring: Handles, ready: Any, order: str) -> None:
    producer = ring.create(capacity=4, max_consumers=1)
    with forked(hold(ring.attach, ready)) as process:
        assert ready.wait(TIMEOUT_S)
        producer.publish_many(range(4))
        assert not producer.offer(4)
        assert len(producer) == 4
        process.kill()
        process.join(TIMEOUT_S)
    if order == "takeover":
        producer.close(unlink=False)
        producer = ring.create(capacity=4, max_consumers=1)
        assert producer._segment.tails() == [FREE_TAIL]
    elif order == "depth":
        assert len(producer) == 0
    assert producer.offer(4)
    assert inspect(ring.name).consumers == ()
    assert ring.attach().registered


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("step", "call"),
    [("try_lock", 0), ("permit", 0), ("reserve", 0), ("write", 0), ("write", 1), ("write", 2)],
    ids=str,
)
def test_a_producer_killed_while_it_makes_a_segment_leaves_one_that_the_next_makes_whole(
    own: Handles, step: str, call: int
) -> None:
    def make() -> None:
        real = getattr(shm, step)
        calls = iter(range(10))
        setattr(shm, step, lambda *arguments: _die() if next(calls) == call else real(*arguments))
        own.create()

    assert in_fork(make) == -signal.SIGKILL
    assert path_of(own.name).exists()
    with pytest.raises(StreamNotFoundError, match="still being made"):
        own.attach()
    producer = own.create()
    assert not producer.taken_over
    producer.publish(1)
    assert own.attach().read().tolist() == [1]


def test_a_producer_killed_right_after_the_magic_leaves_a_stream_to_take_over(own: Handles) -> None:
    def make() -> None:
        setattr(Producer, "_take_over", _die)  # noqa: B010 - a type checker would rather not; in the child alone
        own.create()

    assert in_fork(make) == -signal.SIGKILL
    assert inspect(own.name).state == "dead"
    assert own.create().taken_over


def test_a_killed_stream_can_be_removed_and_who_waits_for_it_finds_out(ring: Handles, ready: Any) -> None:
    with forked(hold(ring.create, ready)) as process:
        assert ready.wait(TIMEOUT_S)
        consumer = ring.attach()
        with pytest.raises(ProducerActiveError, match=f"process {process.pid} is its producer"):
            remove(ring.name)
        process.kill()
        process.join(TIMEOUT_S)
    remove(ring.name)
    with pytest.raises(StreamRemovedError):
        consumer.wait(TIMEOUT_S)


# --- Racing.


@pytest.mark.parametrize("before", ["nothing", "half made", "closed", "dead"])
def test_of_many_who_want_to_be_the_producer_exactly_one_is(own: Handles, before: str, ready: Any, done: Any) -> None:
    if before == "half made":
        path_of(own.name).write_bytes(bytes(3000))
    elif before == "closed":
        Producer.create(own.name, "<i8", 8).close(unlink=False)
    elif before == "dead":
        assert in_fork(lambda: _die(own.create())) == -signal.SIGKILL
    won, refused, failed = (FORK.Value("i", 0) for _ in range(3))

    def contend() -> None:
        ready.wait(TIMEOUT_S)
        outcome = failed
        try:
            producer = own.create()
            outcome = won
        except ProducerActiveError:
            outcome = refused
        finally:
            with outcome:
                outcome.value += 1
        done.wait(TIMEOUT_S)
        if outcome is won:
            producer.close(unlink=False)

    contenders = [FORK.Process(target=contend) for _ in range(CONTENDERS)]
    for contender in contenders:
        contender.start()
    try:
        ready.set()
        wait_until(lambda: won.value + refused.value + failed.value == CONTENDERS)
        assert (won.value, refused.value, failed.value) == (1, CONTENDERS - 1, 0)
    finally:
        done.set()
        for contender in contenders:
            contender.join(TIMEOUT_S)
            contender.kill()
    assert [contender.exitcode for contender in contenders] == [0] * CONTENDERS
    assert inspect(own.name).generation == (2 if before in {"closed", "dead"} else 1)


def test_streams_made_and_removed_in_a_row_by_many_never_have_two_producers(own: Handles) -> None:
    inside, most, won = (FORK.Value("i", 0) for _ in range(3))

    def contend() -> None:
        for _ in range(25):
            try:
                producer = own.create()
            except ProducerActiveError:
                time.sleep(0.0005)
                continue
            with inside:
                inside.value += 1
                most.value = max(most.value, inside.value)
                won.value += 1
            producer.publish(1)
            with inside:
                inside.value -= 1
            producer.close()

    contenders = [FORK.Process(target=contend) for _ in range(5)]
    for contender in contenders:
        contender.start()
    for contender in contenders:
        contender.join(TIMEOUT_S)
    assert [contender.exitcode for contender in contenders] == [0] * 5
    assert most.value == 1
    assert won.value >= 5
    assert not path_of(own.name).exists()


# --- Forking.


def test_an_inherited_handle_refuses_every_use_and_its_parent_does_not_notice(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish_many([1, 2])

    def child() -> None:
        for use in (
            lambda: producer.publish(3),
            lambda: producer.publish_many([3]),
            lambda: producer.offer(3),
            lambda: producer.claim(1).__enter__(),
            lambda: producer.head,
            lambda: producer.records,
            lambda: producer.application,
            producer.check,
            lambda: len(producer),
            consumer.read,
            lambda: consumer.read_into(np.empty(1, "<i8")),
            lambda: consumer.wait(0),
            lambda: consumer.lag,
            lambda: consumer.position,
            lambda: consumer.closed,
            lambda: consumer.header,
        ):
            with pytest.raises(ForkedError, match=f"stream '{ring.name}' belongs to this process's parent"):
                use()
        producer.close()
        consumer.close()
        with pytest.raises(ForkedError):
            producer.check()

    assert in_fork(child) == 0
    producer.check()
    producer.publish(3)
    assert consumer.producer_alive
    assert len(inspect(ring.name).consumers) == 1
    assert consumer.read().tolist() == [1, 2, 3]


def test_a_block_left_in_a_forked_child_closes_nothing_of_the_parents(own: Handles) -> None:
    with own.create() as producer:
        pid = os.fork()
        if pid == 0:
            try:
                producer.__exit__(None, None, None)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        producer.check()
        producer.publish(1)
    with pytest.raises(ClosedError):
        producer.check()


def test_a_claim_left_in_a_forked_child_publishes_nothing(ring: Handles) -> None:
    producer, consumer = ring.pair()

    def child() -> None:
        with pytest.raises(ForkedError):
            block.__exit__(None, None, None)

    block = producer.claim(1)
    with block as rows:
        rows[:] = 5
        assert in_fork(child) == 0
        assert consumer.lag == 0
    assert consumer.read().tolist() == [5]


def test_a_forked_child_may_open_handles_of_its_own(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish(1)

    def child() -> None:
        with pytest.raises(ProducerActiveError, match=f"process {os.getppid()} is its producer"):
            ring.create()
        with ring.attach() as own:
            assert own.registered
            assert own.read().tolist() == [1]
            assert len(inspect(ring.name).consumers) == 2

    assert in_fork(child) == 0
    assert consumer.read().tolist() == [1]


def test_a_child_that_outlives_its_killed_parent_keeps_no_lock(ring: Handles, ready: Any) -> None:
    def parent() -> None:
        producer, consumer = ring.pair(capacity=2)
        producer.publish_many([1, 2])
        views = producer.records, consumer.application
        with forked(hold(lambda: views, ready)) as child:
            grandchild.value = child.pid or 0
            child.join(TIMEOUT_S)

    grandchild = FORK.Value("i", 0)
    pid = os.fork()  # not `forked`, which tells the end of a process by the end of all its copies of a pipe
    if pid == 0:
        parent()
        os._exit(1)
    try:
        assert ready.wait(TIMEOUT_S)
        with pytest.raises(ProducerActiveError):
            ring.create(capacity=2)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.kill(grandchild.value, 0)  # it lives
        producer = ring.create(capacity=2)
        assert producer.taken_over
        assert inspect(ring.name).consumers == ()
        assert producer.offer(3)
        os.kill(grandchild.value, 0)
    finally:
        if grandchild.value:
            os.kill(grandchild.value, signal.SIGKILL)


def test_views_stay_readable_in_a_forked_child(ring: Handles) -> None:
    producer, consumer = ring.pair(capacity=4, application_size=3)
    producer.publish_many([1, 2])
    producer.application[:] = b"abc"
    views = producer.records, producer.application, consumer.application

    def child() -> None:
        assert views[0].tolist() == [1, 2, 0, 0]
        assert bytes(views[1]) == bytes(views[2]) == b"abc"

    assert in_fork(child) == 0


# --- Other users.


@needs_root
@pytest.mark.parametrize("always_wake", [False, True])
def test_a_user_who_may_only_read_can_follow_unregistered(
    ring: Handles, always_wake: bool, ready: Any, done: Any
) -> None:
    producer = ring.create(mode=0o644, always_wake=always_wake, application_size=3)
    producer.application[:] = b"abc"
    producer.publish(1)

    def follow() -> None:
        become_nobody()
        with pytest.raises(AccessDeniedError, match="belongs to user 0, this process is user 65534"):
            ring.attach()
        with pytest.raises(AccessDeniedError):
            inspect(ring.name)
        with pytest.raises(AccessDeniedError):
            ring.create(mode=0o644, always_wake=always_wake, application_size=3)
        with pytest.raises(AccessDeniedError):
            remove(ring.name)
        assert inspect(ring.name, any_owner=True).head == 1
        with ring.attach(any_owner=True) as consumer:
            assert not consumer.registered
            assert consumer.producer_alive
            assert bytes(consumer.application) == b"abc"
            assert consumer.read().tolist() == [1]
            ready.set()
            assert consumer.wait(TIMEOUT_S)
            assert consumer.read().tolist() == [2]
            done.set()
            assert not consumer.wait(TIMEOUT_S)

    with forked(follow) as process:
        assert ready.wait(TIMEOUT_S)
        producer.publish(2)
        assert done.wait(TIMEOUT_S)
        producer.close()
        process.join(TIMEOUT_S)
        assert process.exitcode == 0


@needs_root
def test_a_user_who_may_write_registers(own: Handles) -> None:
    own.create(mode=0o666)

    def follow() -> None:
        become_nobody()
        with own.attach(any_owner=True) as consumer:
            assert consumer.registered

    assert in_fork(follow) == 0


@needs_root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="there is no unshare here")
def test_a_full_system_is_an_error_at_once_and_nothing_is_left() -> None:
    code = """
import os
from chronostream.errors import OutOfSharedMemoryError
from chronostream.ring import Producer
with Producer.create("fits", "<i8", 8) as producer:
    try:
        Producer.create("full", "<i8", 1 << 20)
    except OutOfSharedMemoryError as error:
        print(error)
    producer.publish_many(range(100))
    print(os.listdir("/dev/shm"))
with Producer.create("full", "<i8", 1 << 10): pass
"""
    mounted = 'mount -t tmpfs -o size=64k none /dev/shm || exit 77; exec "$@"'
    command = ["unshare", "-m", "sh", "-c", mounted, "sh", sys.executable, "-W", "error", "-c", code]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if ended.returncode == 77 or ended.stderr.startswith("unshare:"):
        pytest.skip(f"no mount of its own here: {ended.stderr}")
    assert (ended.returncode, ended.stderr) == (0, "")
    message, left = ended.stdout.splitlines()
    assert re.match(r"no room for a segment of \d+ bytes, \d+ are free in shared memory: use a smaller cap", message)
    assert left == "['chronostream.fits']"


# --- Other programs.


def test_a_program_that_attached_and_ended_leaves_the_segment_and_says_nothing(own: Handles) -> None:
    producer = own.create()
    producer.publish(1)
    code = """
import sys
from multiprocessing import resource_tracker
from chronostream.ring import Consumer, Producer
consumer = Consumer.attach(sys.argv[1])
print(consumer.read().tolist(), resource_tracker._resource_tracker._fd)
consumer.close()
Producer.create(sys.argv[1] + "-kept", "<i8", 8).close(unlink=False)
"""
    kept = own.name + "-kept"
    try:
        assert Program(code, own.name).finish() == (0, "[1] None\n", "")
        assert inspect(kept).state == "closed"
    finally:
        path_of(kept).unlink(missing_ok=True)
    producer.check()


def _documented_reader() -> str:
    block = re.search(r"^```python\n(.*?)^```$", (ROOT / "docs/ring.md").read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    return block[1]


@pytest.mark.parametrize("dtype", ["<i8", [("a", "<i4"), ("b", "<i2", (2,)), ("c", [("d", "S3")])]], ids=str)
def test_the_reader_in_the_documentation_reads_the_same_records(own: Handles, dtype: Any) -> None:
    producer = own.create(dtype, 8)
    rows = np.arange(13 * producer.dtype.itemsize, dtype=np.uint8).view(producer.dtype)
    producer.publish_many(rows[:11])
    reader = Program(_documented_reader(), own.name)
    try:
        assert [reader.line() for _ in range(8)] == [str(row) for row in rows[3:11]]
        producer.publish_many(rows[11:])
        producer.close(unlink=False)
        assert reader.finish() == (0, f"{rows[11]}\n{rows[12]}\nlost 0\n", "")
    finally:
        reader.kill()
    assert inspect(own.name).head == 13


def test_the_reader_in_the_documentation_counts_what_it_lost(own: Handles) -> None:
    producer = own.create("<i8", 8)
    producer.publish_many(range(3))
    code = _documented_reader().replace("time.sleep(0.1)", "print('asleep'); sys.stdin.readline()")
    reader = Program(code, own.name)
    try:
        assert [reader.line() for _ in range(4)] == ["0", "1", "2", "asleep"]
        producer.publish_many(range(3, 30))
        producer.close(unlink=False)
        assert reader.finish() == (0, "".join(f"{number}\n" for number in range(22, 30)) + "lost 19\n", "")
    finally:
        reader.kill()


def test_a_consumer_in_another_program_follows_to_the_end(ring: Handles) -> None:
    producer = ring.create()
    code = """
import sys
from chronostream.ring import Consumer
with Consumer.attach(sys.argv[1], core=sys.argv[2], label="follower") as consumer:
    print("attached", flush=True)
    while consumer.wait():
        print(*consumer.read(), flush=True)
    print(consumer.lost)
"""
    follower = Program(code, ring.name, ring.consumer_core)
    try:
        assert follower.line() == "attached"
        assert [consumer.label for consumer in inspect(ring.name).consumers] == ["follower"]
        for number in (1, 2):
            producer.publish(number)
            assert follower.line() == str(number)
        producer.publish_many([3, 4])
        producer.close()
        assert follower.finish() == (0, "3 4\n0\n", "")
    finally:
        follower.kill()


def test_ctrl_c_ends_a_waiting_program_as_it_ends_any_other(own: Handles) -> None:
    own.create()
    code = f"""
from chronostream.ring import Consumer
with Consumer.attach({own.name!r}, core={own.consumer_core!r}) as consumer:
    print("waiting", flush=True)
    consumer.wait()
"""
    program = Program(code)
    try:
        assert program.line() == "waiting"
        wait_until(lambda: path_of(own.name).read_bytes()[WAITING_FLAG])
        program.signal(signal.SIGINT)
        status, out, err = program.finish()
    finally:
        program.kill()
    assert (status, out) == (-signal.SIGINT, "")
    assert err.rstrip().endswith("KeyboardInterrupt")

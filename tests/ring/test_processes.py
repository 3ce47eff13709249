"""What needs real processes: waking, dying, forking, other users, other programs."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chronostream.errors import (
    AccessDeniedError,
    ClosedError,
    ForkedError,
    ProducerActiveError,
    ProducerGoneError,
    StreamRemovedError,
)
from chronostream.ring import CORE, Consumer, Producer, inspect, remove, shm
from chronostream.ring.core import IdleStrategy
from tests.process_harness import Program, Programs
from tests.ring.harness import (
    FORK,
    ROOT,
    TIMEOUT_S,
    Handles,
    become_nobody,
    follow_to_the_end,
    forked,
    in_fork,
    lead_to_the_end,
    needs_root,
    path_of,
    uses,
    wait_for_sleeper,
    wait_until,
)

IDLE: list[IdleStrategy] = ["busy-spin", "yielding", "sleeping", "blocking"]
CONTENDERS = 50


@pytest.mark.parametrize("idle", IDLE)
@pytest.mark.usefixtures("never_checks")
def test_a_waiting_consumer_is_woken_by_another_process(
    ring: Handles, idle: IdleStrategy, ready: Any, done: Any
) -> None:
    def produce() -> None:
        producer = ring.create()
        ready.set()
        wait_until(lambda: inspect(ring.name).consumers)
        if idle == "blocking":
            wait_for_sleeper(producer)
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


def hold(create: Callable[[], object], ready: Any) -> Callable[[], None]:
    """Return a process's program: make something, say so, and hold it until killed."""

    def program() -> None:
        handle = create()
        ready.set()
        time.sleep(3 * TIMEOUT_S)
        raise AssertionError(f"nobody killed the holder of {handle}")

    return program


@pytest.mark.usefixtures("checks_at_once")
def test_a_killed_producer_is_an_error_for_who_asked_for_it_and_again_the_next_time(ring: Handles, ready: Any) -> None:
    with forked(hold(lambda: ring.create().publish(1), ready)) as process:
        assert ready.wait(TIMEOUT_S)
        consumer, patient = ring.attach(on_gone="raise"), ring.attach()
        for each in (consumer, patient):
            assert each.wait(TIMEOUT_S)
            assert each.read().tolist() == [1]
        assert consumer.producer_alive
        process.kill()
        for _ in range(2):
            with pytest.raises(ProducerGoneError, match=f"process {process.pid}, the producer of stream"):
                consumer.wait(TIMEOUT_S)
        assert not patient.wait(0.05)
        assert (inspect(ring.name).state, consumer.producer_alive) == ("dead", False)


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


def test_a_killed_consumer_holds_nobody_up(ring: Handles, ready: Any) -> None:
    producer = ring.create(capacity=4, max_consumers=1)
    with forked(hold(ring.attach, ready)) as process:
        assert ready.wait(TIMEOUT_S)
        producer.publish_many(range(4))
        assert not producer.offer(4)
        assert len(producer) == 4
        process.kill()
        process.join(TIMEOUT_S)
    assert len(producer) == 0
    assert producer.offer(4)
    assert inspect(ring.name).consumers == ()
    assert ring.attach().registered


@pytest.mark.usefixtures("checks_at_once")
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


def end_at_once(count: int, program: Callable[[], object]) -> None:
    """Run a program in so many processes, and see each of them end well."""
    processes = [FORK.Process(target=program) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(TIMEOUT_S)
        process.kill()
    assert [process.exitcode for process in processes] == [0] * count


@pytest.mark.parametrize("core", [CORE])  # which has no part in it
@pytest.mark.parametrize("before", ["nothing", "half made", "closed", "dead"])
def test_of_many_who_want_to_be_the_producer_exactly_one_is(own: Handles, before: str) -> None:
    if before == "half made":
        path_of(own.name).write_bytes(bytes(3000))
    elif before == "closed":
        own.create().close(remove=False)
    elif before == "dead":
        own.create()._segment.close()
    won, barrier = FORK.Value("i", 0), FORK.Barrier(CONTENDERS)

    def contend() -> None:
        producer = None
        barrier.wait(TIMEOUT_S)
        with contextlib.suppress(ProducerActiveError):
            producer = own.create()
            with won:
                won.value += 1
        barrier.wait(TIMEOUT_S)
        if producer:
            producer.close(remove=False)

    end_at_once(CONTENDERS, contend)
    assert won.value == 1
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

    end_at_once(5, contend)
    assert most.value == 1
    assert won.value >= 5
    assert not path_of(own.name).exists()


def test_an_inherited_handle_refuses_every_use_and_its_parent_does_not_notice(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish_many([1, 2])
    every = uses(producer, consumer)

    def child() -> None:
        for use in every:
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


@needs_root
def test_a_producer_that_became_another_user_closes_and_says_that_it_may_not_delete(own: Handles) -> None:
    def child() -> None:
        producer, consumer = own.pair()
        producer.publish(1)
        become_nobody()
        with pytest.raises(AccessDeniedError, match=f"'{own.name}' cannot be deleted: .* belongs to user 0"):
            producer.close()
        with pytest.raises(ClosedError, match="was closed: open another one"):
            producer.publish(2)
        producer.close()
        assert (consumer.closed, consumer.producer_alive, consumer.read().tolist()) == (True, False, [1])

    assert in_fork(child) == 0
    assert inspect(own.name).state == "closed"


def lose_descriptor(handle: Producer | Consumer, number_taken: bool) -> None:
    """Close the descriptor behind a handle's back, as a library does that makes a daemon of its process."""
    fd = handle._segment._descriptor.fileno()
    if number_taken:
        with open(os.devnull) as other:  # noqa: PTH123 - for its number
            os.dup2(other.fileno(), fd)
    else:
        os.close(fd)


@pytest.mark.parametrize("number_taken", [False, True])
def test_a_handle_without_its_descriptor_keeps_no_other_usable_in_a_forked_child(
    ring: Handles, number_taken: bool
) -> None:
    def child() -> None:
        handles = [Producer.create(f"{ring.name}-{number}", "<i8", 8) for number in range(3)]
        followers = [Consumer.attach(handle.name) for handle in handles]
        lose_descriptor(handles[1], number_taken)
        lose_descriptor(followers[1], number_taken)
        number = handles[1]._segment._descriptor.fileno()

        def grandchild() -> None:
            for handle, follower in zip(handles, followers, strict=True):
                with pytest.raises(ForkedError):
                    handle.publish(1)
                with pytest.raises(ForkedError):
                    follower.read()
            if number_taken:
                os.fstat(number)  # It is another file's, and stays open.

        assert in_fork(grandchild) == 0
        for handle in (handles[0], handles[2]):
            handle.publish(1)
            handle.close()
        shm.unlink(handles[1].name)

    assert in_fork(child) == 0


@pytest.mark.parametrize("number_taken", [False, True])
@pytest.mark.parametrize(
    "use",
    [
        lambda producer, _: producer.check(),
        lambda producer, _: producer.close(),
        lambda producer, _: producer.offer(9),
        lambda producer, _: len(producer),
    ],
    ids=["check", "close", "offer", "len"],
)
def test_a_producer_notices_that_its_descriptor_was_closed(
    ring: Handles, use: Callable[[Producer, Consumer], object], number_taken: bool
) -> None:
    producer, consumer = ring.pair()
    producer.publish_many(range(8))
    lose_descriptor(producer, number_taken)
    with ring.create() as second:
        assert second.taken_over
        with pytest.raises(
            ClosedError, match=f"descriptor of the handle on stream '{ring.name}' was closed by other code"
        ):
            use(producer, consumer)
        for refused in uses(producer, consumer)[:12]:
            with pytest.raises(ClosedError, match="was closed by other code"):
                refused()
        producer.close()
        assert (inspect(ring.name).state, consumer.closed) == ("live", False)
        second.publish(8)
        assert consumer.read().tolist() == list(range(9))[1:]


def test_a_descriptor_that_leads_to_the_same_segment_again_is_not_the_one_with_the_lock(ring: Handles) -> None:
    producer = ring.create()
    fd = producer._segment._descriptor.fileno()
    os.close(fd)
    assert shm.open_existing(ring.name, writable=True) == fd
    try:
        with pytest.raises(ClosedError, match="was closed by other code"):
            producer.check()
        os.fstat(fd)  # It is somebody else's, and stays open.
    finally:
        os.close(fd)


@pytest.mark.parametrize("number_taken", [False, True])
@pytest.mark.parametrize(
    "use",
    [
        lambda consumer: consumer.wait(TIMEOUT_S),
        lambda consumer: consumer.producer_alive,
        lambda consumer: consumer.close(),
    ],
    ids=["wait", "producer_alive", "close"],
)
@pytest.mark.usefixtures("checks_at_once")
def test_a_consumer_notices_that_its_descriptor_was_closed(
    own: Handles, use: Callable[[Consumer], object], number_taken: bool
) -> None:
    own.create(max_consumers=1)
    consumer = own.attach()
    lose_descriptor(consumer, number_taken)
    successor = own.attach("next")
    assert successor.registered
    with pytest.raises(ClosedError, match=f"descriptor of the handle on stream '{own.name}' was closed by other code"):
        use(consumer)
    with pytest.raises(ClosedError, match="was closed by other code"):
        consumer.read()
    consumer.close()
    assert [each.slot for each in inspect(own.name).consumers] == [0]


def test_views_stay_readable_in_a_forked_child(ring: Handles) -> None:
    producer, consumer = ring.pair(capacity=4, application_size=3)
    producer.publish_many([1, 2])
    producer.application[:] = b"abc"
    views = producer.records, producer.application, consumer.application

    def child() -> None:
        assert views[0].tolist() == [1, 2, 0, 0]
        assert bytes(views[1]) == bytes(views[2]) == b"abc"

    assert in_fork(child) == 0


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
            follow_to_the_end(consumer, ready, done)

    lead_to_the_end(follow, producer, ready, done)


@needs_root
def test_a_user_who_may_write_registers(own: Handles) -> None:
    own.create(mode=0o666)

    def follow() -> None:
        become_nobody()
        with own.attach(any_owner=True) as consumer:
            assert consumer.registered

    assert in_fork(follow) == 0


@needs_root
@pytest.mark.parametrize(
    ("limit", "capacity", "message"),
    [
        ("size=64k", 1 << 20, r"no room for a segment of \d+ bytes, \d+ are free in shared memory: use a smaller cap"),
        ("nr_inodes=2", 8, "no room for another segment: remove unused streams"),
    ],
)
@pytest.mark.skipif(shutil.which("unshare") is None, reason="there is no unshare here")
def test_a_full_system_is_an_error_at_once_and_nothing_is_left(limit: str, capacity: int, message: str) -> None:
    code = f"""
import os
from chronostream.errors import OutOfSharedMemoryError
from chronostream.ring import Producer
with Producer.create("fits", "<i8", 8) as producer:
    try:
        Producer.create("full", "<i8", {capacity})
    except OutOfSharedMemoryError as error:
        print(error)
    producer.publish_many(range(100))
    print(os.listdir("/dev/shm"))
with Producer.create("full", "<i8", 1 << 10): pass
"""
    mounted = f'mount -t tmpfs -o {limit} none /dev/shm || exit 77; exec "$@"'
    command = ["unshare", "-m", "sh", "-c", mounted, "sh", sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode == 77 or done.stderr.startswith("unshare:"):
        pytest.skip(f"no mount of its own here: {done.stderr}")
    assert (done.returncode, done.stderr) == (0, "")
    printed, left = done.stdout.splitlines()
    assert re.match(message, printed)
    assert left == "['chronostream.fits']"


def ended(program: Program) -> tuple[int, str, str]:
    return program.wait(), program.out.rest(), program.err.rest()


def test_a_program_that_attached_and_ended_leaves_the_segment_and_says_nothing(
    own: Handles, programs: Programs
) -> None:
    producer = own.create()
    producer.publish(1)
    code = """
import sys
from multiprocessing import resource_tracker
from chronostream.ring import Consumer, Producer
consumer = Consumer.attach(sys.argv[1])
print(consumer.read().tolist(), resource_tracker._resource_tracker._fd)
consumer.close()
Producer.create(sys.argv[1] + "-kept", "<i8", 8).close(remove=False)
"""
    kept = own.name + "-kept"
    try:
        assert ended(programs.python("-c", code, own.name)) == (0, "[1] None\n", "")
        assert inspect(kept).state == "closed"
    finally:
        path_of(kept).unlink(missing_ok=True)
    producer.check()


@pytest.fixture
def documented_reader() -> str:
    """The program in docs/ring.md that reads a stream without ChronoStream."""
    block = re.search(r"^```python\n(.*?)^```$", (ROOT / "docs/ring.md").read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    return block[1]


@pytest.mark.parametrize("dtype", ["<i8", [("a", "<i4"), ("b", "<i2", (2,)), ("c", [("d", "S3")])]], ids=str)
def test_the_reader_in_the_documentation_reads_the_same_records(
    own: Handles, programs: Programs, documented_reader: str, dtype: Any
) -> None:
    producer = own.create(dtype, 8)
    rows = np.arange(13 * producer.dtype.itemsize, dtype=np.uint8).view(producer.dtype)
    producer.publish_many(rows[:11])
    reader = programs.python("-u", "-c", documented_reader, own.name)
    assert [reader.out.line() for _ in range(8)] == [str(row) for row in rows[3:11]]
    producer.publish_many(rows[11:])
    producer.close(remove=False)
    assert ended(reader) == (0, f"{rows[11]}\n{rows[12]}\nlost 0\n", "")
    assert inspect(own.name).head == 13


def test_the_reader_in_the_documentation_counts_what_it_lost(
    own: Handles, programs: Programs, documented_reader: str
) -> None:
    producer = own.create("<i8", 8)
    producer.publish_many(range(3))
    code = documented_reader.replace("time.sleep(0.1)", "print('asleep'); sys.stdin.readline()")
    reader = programs.python("-u", "-c", code, own.name)
    assert [reader.out.line() for _ in range(4)] == ["0", "1", "2", "asleep"]
    producer.publish_many(range(3, 30))
    producer.close(remove=False)
    reader.write("\n")
    assert ended(reader) == (0, "".join(f"{number}\n" for number in range(22, 30)) + "lost 19\n", "")

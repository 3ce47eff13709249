"""What a ring keeps from leaking, and from getting across the walls between processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from chronostream.errors import (
    AccessDeniedError,
    InvalidValueError,
    ProducerActiveError,
    ProducerGoneError,
    StreamError,
    StreamNotFoundError,
    StreamRemovedError,
)
from chronostream.ring import Consumer, Producer, inspect, list_names, locks, remove, shm
from chronostream.ring.opening import PRODUCER_LOCK
from chronostream.ring.segment import Segment
from tests.engine_harness import Run
from tests.process_harness import Programs
from tests.ring.harness import (
    CORES,
    NOBODY,
    ROOT,
    SHARED_MEMORY,
    TIMEOUT_S,
    Handles,
    become_user,
    follow_to_the_end,
    forked,
    in_fork,
    lead_to_the_end,
    mount,
    mount_read_only,
    needs_mounts,
    needs_root,
    needs_users,
    overwrite,
    own_mounts,
    own_users,
    path_of,
    read_locked,
)

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
Producer.create({own.name!r}, "<i8", 8).close(remove=False)
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


def see_read_only() -> None:
    """See shared memory as a container does to which it was given for reading only."""
    own_mounts()
    mount_read_only(SHARED_MEMORY)


@needs_mounts
@pytest.mark.parametrize("always_wake", [False, True])
def test_a_reader_follows_unregistered_where_shared_memory_is_read_only(
    ring: Handles, always_wake: bool, ready: Any, done: Any
) -> None:
    producer = ring.create(always_wake=always_wake)
    producer.publish(1)

    def follow() -> None:
        see_read_only()
        assert inspect(ring.name).state == "live"
        with ring.attach() as consumer:
            assert (consumer.registered, consumer.producer_alive) == (False, True)
            follow_to_the_end(consumer, ready, done)

    lead_to_the_end(follow, producer, ready, done)


@needs_mounts
def test_where_shared_memory_is_read_only_no_producer_can_be(own: Handles) -> None:
    own.create().close(remove=False)

    def child() -> None:
        see_read_only()
        for attempt in (own.create, lambda: remove(own.name), lambda: Producer.create(f"{own.name}-new", "<i8", 8)):
            with pytest.raises(AccessDeniedError, match=r"it is mounted read-only: mount /dev/shm writable where"):
                attempt()

    assert in_fork(child) == 0


def cover(_: Path) -> None:
    mount("-t", "tmpfs", "none", SHARED_MEMORY)


def leave(directory: Path) -> None:
    os.chroot(directory)


@needs_mounts
@pytest.mark.parametrize("hide", [cover, leave])
@pytest.mark.usefixtures("checks_at_once")
def test_a_stream_is_removed_when_it_is_deleted_and_not_when_it_is_out_of_sight(
    ring: Handles, tmp_path: Path, hide: Callable[[Path], None]
) -> None:
    def child() -> None:
        own_mounts()
        producer, consumer = ring.pair()
        directory = os.open(SHARED_MEMORY, os.O_PATH)
        hide(tmp_path)
        producer.check()
        assert not consumer.wait(0.05)
        producer.publish(1)
        assert consumer.read().tolist() == [1]
        os.unlink(path_of(ring.name).name, dir_fd=directory)
        with pytest.raises(StreamRemovedError):
            producer.check()
        with pytest.raises(StreamRemovedError):
            consumer.wait(TIMEOUT_S)

    assert in_fork(child) == 0


@needs_mounts
@pytest.mark.usefixtures("checks_at_once")
def test_a_reader_that_was_given_one_segment_only_notices_its_removal(
    ring: Handles, tmp_path: Path, ready: Any
) -> None:
    producer = ring.create()
    producer.publish(1)

    def follow() -> None:
        own_mounts()
        mount("-t", "tmpfs", "none", tmp_path)
        only = tmp_path / path_of(ring.name).name
        only.touch()
        mount("--bind", path_of(ring.name), only)
        mount("--rbind", tmp_path, SHARED_MEMORY)
        assert list_names() == [ring.name]
        with ring.attach() as consumer:
            assert consumer.read().tolist() == [1]
            ready.set()
            with pytest.raises(StreamRemovedError, match=f"stream '{ring.name}' was removed"):
                consumer.wait(TIMEOUT_S)

    with forked(follow) as process:
        assert ready.wait(TIMEOUT_S)
        path_of(ring.name).unlink()
        process.join(TIMEOUT_S)
        assert process.exitcode == 0


@needs_mounts
def test_commands_that_only_read_work_where_shared_memory_is_read_only(run: Run, programs: Programs) -> None:
    run.start()
    run.after(1)
    listing = programs.chronostream("list", preexec_fn=see_read_only)
    assert listing.wait() == 0
    [line] = [line.split() for line in listing.out.rest().splitlines() if line.startswith(f"{run.name} ")]
    assert (line[1], line[4]) == ("live", "1")
    tail = programs.chronostream("tail", run.name, "--from", "oldest", "--count", "1", preexec_fn=see_read_only)
    assert (tail.wait(), len(tail.out.rest().splitlines())) == (0, 1)


OWNER, OTHER = 4711, 4712


@needs_root
@needs_users
@pytest.mark.parametrize("uid", [OTHER, NOBODY])
@pytest.mark.parametrize("uid_map", ["", f"{NOBODY} {{uid}} 1"], ids=["nobody known", "one known"])
def test_in_a_user_namespace_no_stream_of_an_unknown_user_counts_as_ones_own(
    own: Handles, uid: int, uid_map: str
) -> None:
    own.create().close(remove=False)
    path_of(own.name).chmod(0o666)
    os.chown(path_of(own.name), OWNER, OWNER)

    def child() -> None:
        become_user(uid)
        known = uid_map.format(uid=uid)
        own_users(known, known)
        assert os.geteuid() == path_of(own.name).stat().st_uid == NOBODY
        for use in (own.attach, own.create, lambda: inspect(own.name), lambda: remove(own.name)):
            with pytest.raises(
                AccessDeniedError, match=r"a user that this namespace does not know and reports as 65534.*any_owner"
            ):
                use()
        assert own.attach(any_owner=True).registered

    assert in_fork(child) == 0
    assert inspect(own.name, any_owner=True).generation == 1


@needs_root
@needs_users
@pytest.mark.parametrize("uid", [OWNER, NOBODY])
@pytest.mark.parametrize("uid_map", ["", f"{NOBODY} {{uid}} 1", "7 {uid} 1"], ids=["nobody known", "nobody", "seven"])
def test_in_a_user_namespace_ones_own_stream_is_ones_own_whatever_the_number(
    own: Handles, uid: int, uid_map: str
) -> None:
    own.create().close(remove=False)
    os.chown(path_of(own.name), uid, uid)

    def child() -> None:
        become_user(uid)
        known = uid_map.format(uid=uid)
        own_users(known, known)
        with own.create() as producer:
            assert producer.taken_over
            assert own.attach().registered

    assert in_fork(child) == 0


def die(producer: Producer) -> None:
    """End as a producer that was killed does."""
    producer._segment.close()


@pytest.mark.usefixtures("checks_at_once")
def test_who_may_only_read_cannot_make_a_dead_producer_live(ring: Handles) -> None:
    producer, consumer = ring.pair()
    follower = ring.attach(on_gone="raise")
    die(producer)
    with read_locked(ring.name, PRODUCER_LOCK):
        assert (inspect(ring.name).state, consumer.producer_alive) == ("dead", False)
        with pytest.raises(ProducerGoneError):
            follower.wait(TIMEOUT_S)
        with pytest.raises(
            AccessDeniedError, match=rf"'{ring.name}' has no producer, but .* holds a read lock.*`chronostream remove"
        ):
            ring.create()
        remove(ring.name)
        with pytest.raises(StreamRemovedError):
            consumer.wait(TIMEOUT_S)
        with ring.create() as successor:
            assert not successor.taken_over


def test_a_read_lock_on_a_dead_consumers_line_does_not_hold_the_producer_up(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish_many(range(8))
    living = ring.attach("next")
    assert not producer.offer(8)
    consumer._segment.close()  # as its death would
    with read_locked(ring.name, producer._layout.tail_offset(0)):
        assert [each.slot for each in inspect(ring.name).consumers] == [1]
        assert len(producer) == 0
        assert producer.offer(8)
        assert ring.attach().registered
        assert producer._segment.table["tail"].tolist()[1] == 8
        assert living.read().tolist() == [8]


def test_read_locks_on_all_lines_leave_the_next_consumer_unregistered_but_reading(own: Handles) -> None:
    producer = own.create(max_consumers=2)
    producer.publish(1)
    with contextlib.ExitStack() as held:
        for place in range(2):
            held.enter_context(read_locked(own.name, producer._layout.tail_offset(place)))
        consumer = own.attach()
        assert not consumer.registered
        assert consumer.read().tolist() == [1]
    assert own.attach().registered


def test_a_lock_that_another_process_than_the_named_one_holds_is_told(own: Handles) -> None:
    die(own.create())
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    overwrite(own.name, 264, dead.pid.to_bytes(8, "little"))
    fd = shm.open_existing(own.name, writable=True)
    try:
        assert locks.try_lock(fd, PRODUCER_LOCK)
        for attempt in (own.create, lambda: remove(own.name)):
            with pytest.raises(
                ProducerActiveError, match=rf"^process {dead.pid}, the last producer of .*, no longer runs, but another"
            ) as caught:
                attempt()
            assert caught.value.pid is None
    finally:
        os.close(fd)


def test_who_writes_tails_without_end_keeps_no_offer_and_no_takeover(
    own: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = own.create(max_consumers=5)
    producer.publish_many(range(8))
    reclaim_slot = Segment.reclaim_slot
    reclaimed: list[int] = []

    def and_again(segment: Segment, place: int) -> bool:
        freed = reclaim_slot(segment, place)
        reclaimed.append(place)
        overwrite(own.name, segment.layout.tail_offset(len(reclaimed) % 5), bytes(8))
        return freed

    overwrite(own.name, producer._layout.tail_offset(0), bytes(8))
    monkeypatch.setattr(Segment, "reclaim_slot", and_again)
    assert not producer.offer(8)
    assert len(reclaimed) == 5
    die(producer)
    assert own.create(max_consumers=5).head == 8
    assert len(reclaimed) == 10


def test_a_name_that_others_remove_all_the_time_is_not_tried_for_ever(
    own: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove_first(*_: int) -> bool:
        path_of(own.name).unlink(missing_ok=True)
        return True

    monkeypatch.setattr(locks, "try_lock", remove_first)
    with pytest.raises(StreamError, match=f"stream '{own.name}' is made and removed all the time"):
        own.create()

from __future__ import annotations

import ctypes
import errno
import faulthandler
import fcntl
import mmap
import os
import resource
import signal
import stat
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronostream.errors import (
    ChronoStreamError,
    ClosedError,
    CoreUnavailableError,
    CorruptSegmentError,
    LayoutMismatchError,
    OutOfSharedMemoryError,
    ProducerActiveError,
    StreamError,
    StreamNotFoundError,
)
from chronostream.ring import Consumer, Layout, Producer, inspect, locks, remove, shm
from chronostream.ring.layout import CLAIM, FREE_TAIL, HEAD, HEADER_SIZE, LINE, LIVE, MAGIC, STATE
from chronostream.ring.segment import Segment
from tests.ring.harness import (
    SHARED_MEMORY,
    Handles,
    become_nobody,
    in_fork,
    mount,
    move_head,
    needs_mounts,
    needs_root,
    overwrite,
    own_mounts,
    path_of,
)

LAYOUT = Layout.plan(np.dtype("<i8"), 8, 100, 2)
IDENTITY = bytes(LINE)
LARGEST = (1 << 64) - 1


def punch(path: Path, offset: int, size: int) -> None:
    """Take the memory of a part of a file away, which reads as zeros then."""
    keep_size, punch_hole = 1, 2  # from <linux/falloc.h>
    with path.open("r+b") as file:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.fallocate(file.fileno(), keep_size | punch_hole, ctypes.c_int64(offset), ctypes.c_int64(size)) == 0


def own(name: str, layout: Layout, identity: bytes, **options: Any) -> Segment:
    """Own a segment and let others attach to it, as a producer does."""
    segment = Segment.own(name, layout, identity, **options)
    segment.write_magic()
    return segment


@pytest.fixture
def owned(name: str) -> Iterator[Segment]:
    segment = own(name, LAYOUT, IDENTITY)
    yield segment
    segment.close()


@pytest.fixture
def attached(owned: Segment) -> Iterator[Segment]:
    segment = Segment.attach(owned.name)
    yield segment
    segment.close()


def test_a_new_segment_has_its_layout_and_free_places(owned: Segment) -> None:
    header = owned.header
    assert {field: int(header[field]) for field in LAYOUT.sizes()} == LAYOUT.sizes()
    assert (header["stream"].decode(), header["state"], owned.taken_over) == (owned.name, LIVE, False)
    assert owned.table["tail"].tolist() == [FREE_TAIL] * 2


def test_who_takes_part_waits_for_no_page_to_be_mapped(name: str) -> None:
    pages = 512
    layout = Layout.plan(np.dtype(("V", mmap.PAGESIZE)), pages, 0, 1)
    owned = own(name, layout, IDENTITY)
    attached = Segment.attach(name, populate=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for offset in range(layout.records_offset, layout.segment_size, mmap.PAGESIZE):
        owned.memory[offset] = attached.memory[offset]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < pages // 4
    attached.close()
    owned.close()


def test_a_segment_with_holes_is_not_filled_by_who_attaches(name: str) -> None:
    layout = Layout.plan(np.dtype(("V", mmap.PAGESIZE)), 512, 0, 1)
    own(name, layout, IDENTITY).close()
    path = path_of(name)
    path.write_bytes(path.read_bytes()[: layout.records_offset])
    os.truncate(path, layout.segment_size)
    before = path.stat().st_blocks
    with pytest.raises(CorruptSegmentError, match="not all of its"):
        Segment.attach(name, populate=True)
    assert path.stat().st_blocks == before


@pytest.mark.parametrize("offset", [LAYOUT.control_offset, LAYOUT.application_offset, LAYOUT.records_offset])
def test_a_segment_with_a_hole_is_damaged_until_a_producer_reserves_its_memory(name: str, offset: int) -> None:
    own(name, LAYOUT, IDENTITY).close()
    punch(path_of(name), offset, mmap.PAGESIZE)
    before = path_of(name).stat().st_blocks
    assert before * 512 < LAYOUT.segment_size
    for attach in (Segment.attach, inspect, Consumer.attach):
        with pytest.raises(
            CorruptSegmentError, match=rf"not all of its {LAYOUT.segment_size} bytes have memory.* remove {name}"
        ):
            attach(name)
    assert path_of(name).stat().st_blocks == before
    owner = own(name, LAYOUT, IDENTITY)
    assert owner.taken_over
    assert path_of(name).stat().st_blocks * 512 == LAYOUT.segment_size
    Segment.attach(name).close()
    owner.close()


def test_a_file_system_that_counts_blocks_otherwise_has_no_holes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own(name, LAYOUT, IDENTITY).close()
    path_of(name).write_bytes(path_of(name).read_bytes())
    monkeypatch.setattr(shm, "_BLOCK", 1)
    Segment.attach(name).close()


def test_more_memory_than_there_is_is_not_taken_over_nor_attached_to(name: str) -> None:
    layout = Layout.plan(np.dtype("<i8"), 1 << 42, 0, 2)  # 32 TiB
    path_of(name).write_bytes(MAGIC + layout.new_header(name, IDENTITY)[8:])
    os.truncate(path_of(name), layout.segment_size)
    before = path_of(name).stat().st_blocks
    with pytest.raises(CorruptSegmentError, match=f"not all of its {layout.segment_size} bytes have memory"):
        Segment.attach(name)
    with pytest.raises(OutOfSharedMemoryError, match=f"no room for a segment of {layout.segment_size} bytes"):
        own(name, layout, IDENTITY)
    assert path_of(name).stat().st_blocks == before


@needs_mounts
def test_taking_a_sparse_copy_over_in_a_full_system_is_an_error_and_no_signal(name: str) -> None:
    def child() -> None:
        own_mounts()
        mount("-t", "tmpfs", "-o", "size=1m", "none", SHARED_MEMORY)
        layout = Layout.plan(np.dtype("<i8"), 1 << 14, 0, 2)
        own(name, layout, IDENTITY).close()
        punch(path_of(name), layout.records_offset, 1 << 17)
        before = path_of(name).stat().st_blocks
        (SHARED_MEMORY / "ballast").write_bytes(bytes(os.statvfs(SHARED_MEMORY).f_bfree * mmap.PAGESIZE))
        with pytest.raises(OutOfSharedMemoryError, match="no room for a segment of"):
            own(name, layout, IDENTITY)
        assert path_of(name).stat().st_blocks == before
        (SHARED_MEMORY / "ballast").unlink()
        own(name, layout, IDENTITY).close()

    assert in_fork(child) == 0


def test_what_the_owner_writes_the_others_see(owned: Segment, attached: Segment) -> None:
    owned.application[:3] = b"abc"
    assert bytes(attached.application[:3]) == b"abc"
    assert len(attached.application) == 100


def test_only_the_control_region_is_writable_for_others(attached: Segment) -> None:
    assert memoryview(attached.memory).readonly
    assert attached.application.readonly
    assert attached.control is not None
    assert not memoryview(attached.control).readonly
    assert len(attached.control) == LAYOUT.application_offset - LAYOUT.control_offset


def test_the_control_region_is_the_one_in_the_segment(owned: Segment, attached: Segment) -> None:
    assert attached.control is not None
    attached.control[:4] = b"abcd"
    assert owned.memory[LAYOUT.control_offset : LAYOUT.control_offset + 4] == b"abcd"


@pytest.mark.parametrize("offset", [HEAD, LAYOUT.application_offset, LAYOUT.records_offset])
def test_a_write_behind_pythons_back_ends_the_process_that_tries(attached: Segment, offset: int) -> None:
    address = np.frombuffer(attached.memory, np.uint8).ctypes.data

    def child() -> None:
        faulthandler.disable()
        ctypes.memset(address + offset, 1, 8)

    assert in_fork(child) == -signal.SIGSEGV
    assert not any(attached.memory[offset : offset + 8])


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, HEADER_SIZE, LAYOUT.segment_size, 3 * LAYOUT.segment_size])
def test_a_half_made_segment_is_never_attached_to_and_made_whole_by_the_next_owner(name: str, size: int) -> None:
    content = bytes(8) + b"\xff" * max(0, size - 8)  # what came after the missing magic may be anything
    path_of(name).write_bytes(content[:size])
    for attach in (Segment.attach, inspect):
        with pytest.raises(StreamNotFoundError, match="still being made"):
            attach(name)
    owner = own(name, LAYOUT, IDENTITY)
    try:
        assert not owner.taken_over
        assert not any(owner.memory[HEADER_SIZE + len(LAYOUT.dtype_text) : LAYOUT.control_offset])
        assert path_of(name).stat().st_size == LAYOUT.segment_size
        assert owner.table["tail"].tolist() == [FREE_TAIL] * 2
        assert not any(owner.application)
        assert not any(owner.memory[LAYOUT.records_offset :])
    finally:
        owner.close()


def test_a_segment_in_the_making_names_nobody(name: str) -> None:
    fd = shm.create(name)
    try:
        locks.try_lock(fd, 0)
        with pytest.raises(ProducerActiveError, match="another process is making it") as caught:
            own(name, LAYOUT, IDENTITY)
        assert caught.value.pid is None
    finally:
        os.close(fd)


@pytest.mark.parametrize("content", [b"x", b"CHRONOS\x02" + bytes(5000), b"\0\0\0\0\0\0\0x", MAGIC[:4]])
def test_another_programs_file_is_refused_and_left_alone(name: str, content: bytes) -> None:
    path_of(name).write_bytes(content)
    with pytest.raises(CorruptSegmentError, match="not with ChronoStream's mark"):
        own(name, LAYOUT, IDENTITY)
    with pytest.raises(CorruptSegmentError, match="not with ChronoStream's mark"):
        Segment.attach(name)
    assert path_of(name).read_bytes() == content


@pytest.mark.parametrize("size", [8, HEADER_SIZE - 1, HEADER_SIZE, LAYOUT.control_offset, LAYOUT.segment_size - 1])
def test_a_segment_cut_off_is_refused_on_both_sides(name: str, size: int) -> None:
    own(name, LAYOUT, IDENTITY).close()
    os.truncate(path_of(name), size)
    with pytest.raises((CorruptSegmentError, LayoutMismatchError)):
        Segment.attach(name)
    with pytest.raises((CorruptSegmentError, LayoutMismatchError)):
        own(name, LAYOUT, IDENTITY)
    assert path_of(name).stat().st_size == size


@pytest.mark.parametrize("opener", [Segment.attach, inspect, lambda name: own(name, LAYOUT, IDENTITY)])
def test_another_layout_version_says_what_to_do_about_it(name: str, opener: Callable[[str], object]) -> None:
    own(name, LAYOUT, IDENTITY).close()
    overwrite(name, 8, (2).to_bytes(4, "little"))
    with pytest.raises(
        LayoutMismatchError,
        match=rf"^stream '{name}': .* layout version 2, .*, or remove it \(`chronostream remove {name}`\)$",
    ):
        opener(name)


@pytest.mark.parametrize("opener", [Segment.attach, inspect, lambda name: own(name, LAYOUT, IDENTITY)])
def test_a_damaged_header_says_what_to_do_about_it(name: str, opener: Callable[[str], object]) -> None:
    own(name, LAYOUT, IDENTITY).close()
    overwrite(name, 24, bytes(8))
    with pytest.raises(
        CorruptSegmentError, match=rf"^stream '{name}': .* damaged: .*; remove it \(`chronostream remove {name}`\)$"
    ):
        opener(name)


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("dtype", Layout.plan(np.dtype("<u8"), 8, 100, 2)),
        ("capacity", Layout.plan(np.dtype("<i8"), 16, 100, 2)),
        ("application_size", Layout.plan(np.dtype("<i8"), 8, 101, 2)),
        ("max_consumers", Layout.plan(np.dtype("<i8"), 8, 100, 3)),
    ],
)
def test_a_stream_of_another_layout_is_not_taken_over_nor_harmed(name: str, what: str, other: Layout) -> None:
    own(name, LAYOUT, IDENTITY).close()
    before = path_of(name).read_bytes()
    with pytest.raises(
        LayoutMismatchError, match=rf"exists with {what} .*, requested was .*chronostream remove {name}"
    ):
        own(name, other, IDENTITY)
    assert path_of(name).read_bytes() == before


def test_a_segment_of_the_same_layout_is_taken_over_as_it_is(name: str) -> None:
    own(name, LAYOUT, IDENTITY).close()
    before = path_of(name).read_bytes()
    again = own(name, LAYOUT, bytes([1]) * LINE)
    try:
        assert again.taken_over
        assert path_of(name).read_bytes() == before
    finally:
        again.close()


def test_a_held_name_is_refused_with_its_owners_pid(name: str) -> None:
    with Producer.create(name, "<i8", 8) as producer:
        for attempt in (lambda: Producer.create(name, "<i8", 8), lambda: remove(name)):
            with pytest.raises(ProducerActiveError, match=f"process {os.getpid()} is its producer") as caught:
                attempt()
            assert caught.value.pid == os.getpid()
        producer.publish(1)


def test_a_segment_has_the_mode_asked_for_whatever_the_umask(name: str) -> None:
    before = os.umask(0o077)
    try:
        owner = own(name, LAYOUT, IDENTITY, mode=0o664)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path_of(name).stat().st_mode) == 0o664
    owner.close()


def test_removing_deletes_whatever_nobody_holds(name: str) -> None:
    own(name, LAYOUT, IDENTITY).close()
    for content in (path_of(name).read_bytes(), b"", b"another program's", bytes(100)):
        path_of(name).write_bytes(content)
        remove(name)
        assert not path_of(name).exists()


@pytest.mark.parametrize("use", [remove, Segment.attach, inspect])
def test_a_stream_that_is_not_there_is_not_found(name: str, use: Any) -> None:
    with pytest.raises(StreamNotFoundError, match=f"there is no stream '{name}' on this machine"):
        use(name)


def test_removing_leaves_what_somebody_else_makes_meanwhile(owned: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking, the old owner removes its segment and a new one comes."""
    name = owned.name
    real_lock = locks.try_lock
    successors: list[Segment] = []

    def late_lock(fd: int, offset: int) -> bool:
        monkeypatch.setattr(locks, "try_lock", real_lock)
        owned.unlink()
        owned.close()
        successors.append(own(name, LAYOUT, IDENTITY))
        return real_lock(fd, offset)

    monkeypatch.setattr(locks, "try_lock", late_lock)
    with pytest.raises(ProducerActiveError):
        Segment.remove(name)
    assert successors[0].named()
    successors[0].close()


def test_an_owner_that_came_second_to_a_creation_begins_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real_create = shm.create

    def late_create(name: str) -> int:
        monkeypatch.setattr(shm, "create", real_create)
        os.close(real_create(name))
        return real_create(name)

    monkeypatch.setattr(shm, "create", late_create)
    owner = own(name, LAYOUT, IDENTITY)
    assert owner.named()
    owner.close()


@pytest.mark.parametrize("again", [False, True])
def test_a_segment_removed_while_it_is_opened_is_not_found(
    owned: Segment, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    real_open = shm.open_existing
    calls = 0

    def open_existing(name: str, **options: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:  # the second opens what is mapped
            shm.unlink(name)
            if again:
                os.close(shm.create(name))
        return real_open(name, **options)

    monkeypatch.setattr(shm, "open_existing", open_existing)
    with pytest.raises(StreamNotFoundError, match="at this moment"):
        Segment.attach(owned.name)


@pytest.mark.parametrize("left", [0, 1024, LAYOUT.application_offset])
def test_a_segment_cut_off_while_it_is_opened_is_damaged(
    owned: Segment, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    real_open = shm.open_existing
    calls = iter([False, True])  # the second opens what is mapped

    def open_existing(name: str, **options: Any) -> int:
        if next(calls):
            os.truncate(path_of(name), left)
        return real_open(name, **options)

    monkeypatch.setattr(shm, "open_existing", open_existing)
    with pytest.raises(CorruptSegmentError, match=f"the segment of stream '{owned.name}' was cut off at this moment"):
        Segment.attach(owned.name)


def test_places_are_taken_in_order_and_by_one_each(owned: Segment) -> None:
    others = [Segment.attach(owned.name) for _ in range(3)]
    try:
        assert [other.take_slot() for other in others] == [0, 1, None]
        assert owned.slot_taken(0)
        others[0].close()
        assert not owned.slot_taken(0)
        assert others[2].take_slot() == 0
    finally:
        for other in others:
            other.close()


def test_only_a_place_that_nobody_holds_is_reclaimed(owned: Segment, attached: Segment) -> None:
    assert attached.control is not None
    for place in (0, 1):
        start = LINE + place * LINE
        attached.control[start : start + 8] = (5).to_bytes(8, "little")
    assert attached.take_slot() == 0
    assert not owned.reclaim_slot(0)
    assert owned.reclaim_slot(1)
    assert owned.table["tail"].tolist() == [5, FREE_TAIL]
    other = Segment.attach(owned.name)
    assert other.take_slot() == 1
    other.close()


def test_the_producer_is_alive_as_long_as_it_holds_the_lock(owned: Segment, attached: Segment) -> None:
    assert attached.producer_alive()
    owned.close()
    assert not attached.producer_alive()


def test_a_segment_is_named_until_its_name_leads_elsewhere(owned: Segment, attached: Segment) -> None:
    assert attached.named()
    path_of(owned.name).unlink()
    assert not attached.named()
    path_of(owned.name).touch()
    assert not attached.named()


def test_unlinking_takes_no_name_that_leads_elsewhere(owned: Segment) -> None:
    path_of(owned.name).unlink()
    path_of(owned.name).touch()
    owned.unlink()
    assert path_of(owned.name).exists()


def test_a_closed_segment_refuses_and_closing_it_twice_is_fine(attached: Segment) -> None:
    attached.close()
    attached.close()
    for use in (
        attached.check,
        attached.producer_alive,
        attached.named,
        attached.take_slot,
        lambda: attached.table,
        lambda: attached.header,
        lambda: attached.application,
        lambda: attached.slot_taken(0),
        lambda: attached.reclaim_slot(0),
    ):
        with pytest.raises(ClosedError, match=f"the handle on stream '{attached.name}' was closed"):
            use()


def test_closing_comes_to_its_end_whatever_a_step_raises(attached: Segment) -> None:
    def fail(_: ChronoStreamError) -> None:
        raise RuntimeError("in between")

    refused: list[ChronoStreamError] = []
    fd = attached._descriptor.fileno()
    for method in (refused.append, fail, refused.append):
        attached.on_release(method)
    with pytest.raises(RuntimeError, match="in between"):
        attached.close()
    assert refused == [attached.release_error] * 2
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_what_goes_wrong_because_the_handle_was_closed_meanwhile_is_that_it_was_closed(
    attached: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by another thread."""

    def late(fd: int, _: int) -> bool:
        attached.close()
        os.fstat(fd)
        return True

    monkeypatch.setattr(locks, "is_locked", late)
    with pytest.raises(ClosedError, match="was closed: open another one"):
        attached.producer_alive()


def test_a_refusal_raised_often_collects_no_frames(attached: Segment) -> None:
    attached.close()
    for _ in range(3):
        with pytest.raises(ClosedError) as caught:
            attached.check()
    assert len(traceback.extract_tb(caught.value.__traceback__)) == 2
    assert attached.release_error is not None
    assert attached.release_error.__traceback__ is None


def test_where_no_segment_can_be_locked_none_is_left_behind(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with pytest.raises(CoreUnavailableError, match="no open-file-description locks"):
        own(name, LAYOUT, IDENTITY)
    assert not path_of(name).exists()


@pytest.mark.parametrize("opener", ["own", "attach"])
def test_a_segment_cut_off_between_a_look_and_its_mapping_is_damaged(
    name: str, monkeypatch: pytest.MonkeyPatch, opener: str
) -> None:
    own(name, LAYOUT, IDENTITY).close()
    real_mmap = mmap.mmap

    def late_mmap(*arguments: Any) -> Any:
        os.truncate(path_of(name), HEADER_SIZE)
        return real_mmap(*arguments)

    monkeypatch.setattr(mmap, "mmap", late_mmap)
    with pytest.raises(CorruptSegmentError, match=f"the segment of stream '{name}' was cut off at this moment"):
        Segment.attach(name) if opener == "attach" else own(name, LAYOUT, IDENTITY)


def open_fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def openings(name: str, layout: Layout) -> list[Callable[[], object]]:
    """Return all ways to open a segment: for reading, to take it over, to make a new one."""
    return [
        lambda: Segment.attach(name),
        lambda: own(name, layout, IDENTITY),
        lambda: own(f"{name}-new", layout, IDENTITY),
    ]


@pytest.mark.parametrize("spare", [0, 1, 2])
def test_too_many_open_files_are_named_as_the_reason_and_none_stays_open(name: str, spare: int) -> None:
    own(name, LAYOUT, IDENTITY).close()

    def child() -> None:
        before = open_fds()
        lowest_free = os.dup(0)
        os.close(lowest_free)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        for attempt in openings(name, LAYOUT):
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + spare, limits[1]))
            with pytest.raises(StreamError, match="too many files are open: close some, or raise `ulimit -n`"):
                attempt()
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert open_fds() == before

    assert in_fork(child) == 0
    assert not path_of(f"{name}-new").exists()
    assert inspect(name).state == "dead"


LARGE = Layout.plan(np.dtype("<i8"), 1 << 23, 0, 2)  # 64 MiB


def test_too_little_address_space_is_named_as_the_reason(name: str) -> None:
    own(name, LARGE, IDENTITY).close()

    def child() -> None:
        before = open_fds()
        used = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
        resource.setrlimit(resource.RLIMIT_AS, (used + LARGE.segment_size // 2, -1))
        for attempt in openings(name, LARGE):
            with pytest.raises(
                OutOfSharedMemoryError, match=rf"the {LARGE.segment_size} bytes of .* cannot be mapped: .*`ulimit -v`"
            ):
                attempt()
        assert open_fds() == before

    assert in_fork(child) == 0
    assert not path_of(f"{name}-new").exists()
    assert inspect(name).state == "dead"


@needs_root
def test_a_limit_of_locked_memory_is_named_as_the_reason(name: str) -> None:
    future = 2  # MCL_FUTURE: all that is mapped from now on stays in memory

    def child() -> None:
        _, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        half = LARGE.segment_size // 2
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (half if most < 0 else min(half, most), most))
        become_nobody()
        assert ctypes.CDLL(None).mlockall(future) == 0
        with pytest.raises(OutOfSharedMemoryError, match=r"cannot be mapped: too much memory is locked: .*`ulimit -l`"):
            own(name, LARGE, IDENTITY)

    assert in_fork(child) == 0
    assert not path_of(name).exists()


def test_a_limit_of_file_sizes_is_named_as_the_reason(name: str) -> None:
    def child() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE.segment_size // 2, -1))
        with pytest.raises(OutOfSharedMemoryError, match=r"no room for .* a file may not be so large: .*`ulimit -f`"):
            own(name, LARGE, IDENTITY)

    assert in_fork(child) == 0
    assert not path_of(name).exists()


def test_a_changed_header_moves_nothing_for_who_has_attached(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish_many(range(5))
    overwrite(ring.name, 8, b"\xff" * 248)  # version, sizes, name
    overwrite(ring.name, HEADER_SIZE, b"\xff" * 5)
    producer.publish_many(range(5, 7))
    assert list(consumer.read()) == list(range(7))
    with pytest.raises(LayoutMismatchError):
        Consumer.attach(ring.name)


def test_a_head_that_went_backwards_is_damage(ring: Handles) -> None:
    producer, consumer = ring.pair()
    producer.publish_many(range(5))
    consumer.read()
    overwrite(ring.name, HEAD, (2).to_bytes(8, "little"))
    for use in (
        consumer.read,
        lambda: consumer.lag,
        lambda: consumer.wait(0),
        lambda: consumer.read_into(consumer.read()),
    ):
        with pytest.raises(CorruptSegmentError, match="its head is 2, but records up to 5 were read"):
            use()


@pytest.mark.parametrize("head", [6, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("claim", [0, 5, 1 << 32, (1 << 64) - 1])
def test_a_head_and_a_claim_from_nowhere_keep_a_reader_within_the_ring(ring: Handles, head: int, claim: int) -> None:
    producer, consumer = ring.pair()
    producer.publish_many(range(5))
    consumer.read(2)
    overwrite(ring.name, HEAD, head.to_bytes(8, "little"))
    overwrite(ring.name, CLAIM, claim.to_bytes(8, "little"))
    received = 2
    for _ in range(3):
        received += len(consumer.read())
        assert received + consumer.lost + consumer.lag == head
    assert received <= 2 + 3 * consumer.capacity


@given(st.binary(min_size=1, max_size=4 * LINE), st.integers(0, 3 * LINE))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_in_the_control_region_harms_nobody(ring: Handles, garbage: bytes, offset: int) -> None:
    with (
        Producer.create(ring.name, "<i8", 8, max_consumers=3, core=ring.producer_core) as producer,
        Consumer.attach(ring.name, core=ring.consumer_core) as consumer,
    ):
        overwrite(ring.name, producer._layout.control_offset + offset, garbage)
        producer.publish_many(range(4))
        assert 0 <= len(producer) <= 8
        assert all(producer.offer(4 + number) for number in range(4)) or len(producer) == 8
        head = producer.head
        assert list(consumer.read()) == list(range(head))
        assert producer.offer(head)
        assert inspect(ring.name).head == head + 1


@pytest.mark.parametrize(
    ("generation", "claim", "head"),
    [(1, 4, 5), (1, 14, 5), (1, LARGEST, LARGEST), (1, (1 << 63) + 1, 1 << 63), (LARGEST, 0, 0)],
)
def test_a_stream_whose_positions_cannot_be_is_not_taken_over(
    own: Handles, generation: int, claim: int, head: int
) -> None:
    own.create().close(remove=False)
    overwrite(own.name, 256, generation.to_bytes(8, "little"))
    move_head(own.name, head, claim)
    with pytest.raises(CorruptSegmentError, match=f"generation {generation}, head {head} and claim {claim} do not fit"):
        own.create()


def test_a_state_from_nowhere_is_neither_closed_nor_in_the_way(ring: Handles) -> None:
    producer, consumer = ring.pair()
    overwrite(ring.name, STATE, b"\xff" * 4)
    producer.publish(1)
    assert consumer.wait(0)
    assert not consumer.closed

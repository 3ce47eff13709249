from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable

import pytest

from chronostream.errors import CoreUnavailableError, StreamError
from chronostream.ring import locks, shm
from chronostream.ring.locks import Descriptor
from tests.ring.harness import fails, in_fork, read_locked


def test_a_lock_keeps_others_out_of_its_byte_only(fd: int, other_fd: int) -> None:
    assert locks.try_lock(fd, 7)
    assert not locks.try_lock(other_fd, 7)
    assert locks.try_lock(other_fd, 8)


def test_a_lock_that_is_held_can_be_asked_for_by_others_only(fd: int, other_fd: int) -> None:
    locks.try_lock(fd, 7)
    assert locks.is_locked(other_fd, 7)
    assert not locks.is_locked(fd, 7)
    assert not locks.is_locked(other_fd, 8)


def test_asking_needs_no_permission_to_write_and_takes_nothing(fd: int, name: str) -> None:
    reading = shm.open_existing(name, writable=False)
    try:
        assert not locks.is_locked(reading, 7)
        assert locks.try_lock(fd, 7)
        assert locks.is_locked(reading, 7)
    finally:
        os.close(reading)


def test_a_lock_can_be_given_back(fd: int, other_fd: int) -> None:
    locks.try_lock(fd, 7)
    locks.unlock(fd, 7)
    assert locks.try_lock(other_fd, 7)


def test_a_lock_ends_with_the_last_copy_of_its_descriptor(fd: int, name: str) -> None:
    holder = shm.open_existing(name, writable=True)
    locks.try_lock(holder, 7)
    copy = os.dup(holder)
    os.close(holder)
    assert locks.is_locked(fd, 7)
    os.close(copy)
    assert not locks.is_locked(fd, 7)


def test_an_error_of_the_system_is_not_taken_for_a_held_lock(name: str, fd: int) -> None:
    assert fd >= 0
    reading = shm.open_existing(name, writable=False)
    try:
        with pytest.raises(StreamError, match="Bad file descriptor"):
            locks.try_lock(reading, 0)
    finally:
        os.close(reading)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS])
@pytest.mark.parametrize("use", [locks.try_lock, locks.unlock, locks.is_locked])
def test_a_system_without_such_locks_is_named_as_the_reason(
    fd: int, monkeypatch: pytest.MonkeyPatch, use: Callable[[int, int], object], number: int
) -> None:
    monkeypatch.setattr(fcntl, "fcntl", fails(number))
    with pytest.raises(CoreUnavailableError, match="this system has no open-file-description locks"):
        use(fd, 0)
    monkeypatch.undo()


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.ENOLCK, errno.EIO])
@pytest.mark.parametrize("use", [locks.try_lock, locks.unlock, locks.is_locked, locks.is_read_locked])
def test_no_function_of_the_locks_lets_an_error_of_the_system_through(
    fd: int, monkeypatch: pytest.MonkeyPatch, use: Callable[[int, int], object], number: int
) -> None:
    monkeypatch.setattr(fcntl, "fcntl", fails(number))
    with pytest.raises(StreamError, match="a segment cannot be locked"):
        use(fd, 0)
    monkeypatch.undo()


def test_a_read_lock_is_told_apart_and_is_in_the_way(fd: int, name: str) -> None:
    with read_locked(name, 7):
        assert not locks.is_locked(fd, 7)
        assert locks.is_read_locked(fd, 7)
        assert not locks.is_read_locked(fd, 8)
        assert not locks.try_lock(fd, 7)
    assert not locks.is_read_locked(fd, 7)
    assert locks.try_lock(fd, 7)


def test_a_lock_that_is_held_is_no_read_lock(fd: int, other_fd: int) -> None:
    locks.try_lock(fd, 7)
    assert not locks.is_read_locked(other_fd, 7)


@pytest.fixture
def descriptor(name: str) -> Descriptor:
    """A descriptor that its test closes."""
    return Descriptor(shm.create(name))


def test_a_descriptor_is_open_until_it_is_closed_and_closing_it_twice_closes_it_once(descriptor: Descriptor) -> None:
    number = descriptor.fileno()
    assert descriptor.is_open
    descriptor.close()
    assert (descriptor.is_open, descriptor.fileno()) == (False, -1)
    reused = os.open(os.devnull, os.O_RDONLY)
    assert reused == number
    descriptor.close()
    os.close(reused)


@pytest.mark.parametrize("again", ["the same file", "another file", None])
def test_a_descriptor_whose_number_leads_elsewhere_is_not_open_and_closes_nothing(
    descriptor: Descriptor, name: str, again: str | None
) -> None:
    number = descriptor.fileno()
    os.close(number)
    if again == "the same file":
        assert shm.open_existing(name, writable=True) == number
    elif again == "another file":
        assert os.open(os.devnull, os.O_RDONLY) == number
    assert not descriptor.is_open
    descriptor.close()
    if again is not None:
        os.close(number)


def test_a_forked_childs_copy_of_a_descriptor_is_the_same(descriptor: Descriptor) -> None:
    def child() -> None:
        assert descriptor.is_open
        descriptor.close()

    assert in_fork(child) == 0
    assert descriptor.is_open
    descriptor.close()


def test_a_forgotten_descriptor_is_closed_and_says_so(name: str) -> None:
    number = shm.create(name)
    with pytest.warns(ResourceWarning, match=f"unclosed file {number} of a stream"):
        Descriptor(number)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)

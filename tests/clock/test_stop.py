from __future__ import annotations

import os
import select
import signal

import pytest

from chronostream.clock import Stop
from chronostream.errors import ClosedError


def _readable(stop: Stop) -> bool:
    return bool(select.select([stop.fileno()], [], [], 0)[0])


def test_a_new_flag_is_not_set_and_not_readable() -> None:
    with Stop() as stop:
        assert not stop.is_set()
        assert not _readable(stop)


def test_a_set_flag_stays_readable_however_often_it_is_looked_at() -> None:
    with Stop() as stop:
        stop.set()
        assert stop.is_set()
        assert _readable(stop)
        assert _readable(stop)


def test_setting_it_twice_writes_once() -> None:
    with Stop() as stop:
        stop.set()
        stop.set()
        assert os.read(stop.fileno(), 10) == b"\0"


def test_what_a_signal_writes_ends_a_wait_as_well() -> None:
    with Stop() as stop:
        os.write(stop.wakeup_fileno(), b"\x0f")
        assert _readable(stop)
        assert not stop.is_set()
    with pytest.raises(ClosedError):
        stop.wakeup_fileno()


def test_setting_it_after_close_still_sets_the_flag() -> None:
    stop = Stop()
    stop.close()
    stop.set()
    assert stop.is_set()


def test_closing_it_twice_does_not_close_somebody_elses_descriptor() -> None:
    stop = Stop()
    descriptor = stop.fileno()
    stop.close()
    reused = os.open(os.devnull, os.O_RDONLY)
    assert reused == descriptor
    stop.close()
    os.close(reused)


def test_a_closed_flag_has_no_descriptor() -> None:
    stop = Stop()
    stop.close()
    with pytest.raises(ClosedError, match="this Stop was closed"):
        stop.fileno()


def test_collecting_it_closes_its_descriptors() -> None:
    stop = Stop()
    descriptors = (stop._read_fd, stop._write_fd)
    del stop
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_its_descriptors_are_not_inherited_and_never_block_a_writer() -> None:
    with Stop() as stop:
        assert not os.get_inheritable(stop._read_fd)
        assert not os.get_inheritable(stop._write_fd)
        assert not os.get_blocking(stop._write_fd)


def test_a_signal_handler_may_set_it_while_the_same_thread_holds_its_lock() -> None:
    with Stop() as stop:
        before = signal.signal(signal.SIGUSR1, lambda *_: stop.set())
        try:
            with stop._lock:
                signal.raise_signal(signal.SIGUSR1)
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert stop.is_set()

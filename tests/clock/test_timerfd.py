from __future__ import annotations

import errno
import os
import select
import time
from typing import TYPE_CHECKING

import pytest

from chronostream.clock import timerfd
from chronostream.clock.timerfd import NEVER_NS, WallTimer

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT_MS = 10_000


# The module os has timerfd from Python 3.13 on.
@pytest.fixture(params=["ctypes", *(["os"] if hasattr(os, "timerfd_create") else [])])
def timer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[WallTimer]:
    if request.param == "ctypes":
        monkeypatch.setattr(timerfd, "_create", timerfd._create_with_ctypes)
        monkeypatch.setattr(timerfd, "_arm", timerfd._arm_with_ctypes)
    timer = WallTimer()
    yield timer
    timer.close()


def _wait(timer: WallTimer, timeout_ms: int) -> bool:
    poller = select.poll()
    poller.register(timer.fileno(), select.POLLIN)
    return bool(poller.poll(timeout_ms))


def test_it_goes_off_at_its_deadline_and_not_before(timer: WallTimer) -> None:
    deadline_ns = time.time_ns() + 5_000_000
    timer.arm(deadline_ns)
    assert _wait(timer, _TIMEOUT_MS)
    assert time.time_ns() >= deadline_ns


def test_it_goes_off_once_and_is_quiet_once_cleared(timer: WallTimer) -> None:
    timer.arm(1)
    assert _wait(timer, _TIMEOUT_MS)
    timer.clear()
    assert not _wait(timer, 0)


def test_arming_it_again_forgets_that_it_went_off(timer: WallTimer) -> None:
    timer.arm(1)
    assert _wait(timer, _TIMEOUT_MS)
    timer.arm(NEVER_NS)
    assert not _wait(timer, 0)


def test_its_descriptor_is_not_inherited_and_a_read_of_it_never_blocks(timer: WallTimer) -> None:
    assert not os.get_inheritable(timer.fileno())
    assert not os.get_blocking(timer.fileno())


def test_an_error_of_the_system_call_keeps_its_number(timer: WallTimer) -> None:
    with pytest.raises(OSError, match="Invalid argument") as caught:
        timer.arm(-1)
    assert caught.value.errno == errno.EINVAL


def test_it_asks_to_be_cancelled_when_the_clock_is_set(timer: WallTimer) -> None:
    timer.arm(NEVER_NS)
    with open(f"/proc/self/fdinfo/{timer.fileno()}") as details:  # noqa: PTH123 a file of the kernel's
        assert "settime flags: 03\n" in details.read()


def test_closing_it_twice_closes_it_once() -> None:
    timer = WallTimer()
    timer.close()
    reused = os.open(os.devnull, os.O_RDONLY)
    assert reused == timer.fileno()
    timer.close()
    os.close(reused)

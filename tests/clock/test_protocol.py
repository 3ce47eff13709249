"""What every clock does."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from chronostream.clock import Clock, FakeClock, Stop, SystemClock, Wake
from chronostream.errors import InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NO_STOP = threading.Event()


@pytest.fixture(params=["fake", "timerfd", "sleep"])
def clock(request: pytest.FixtureRequest) -> Iterator[Clock]:
    if request.param == "fake":
        yield FakeClock(1_700_000_000_000_000_000)
    else:
        with SystemClock(request.param) as clock:
            yield clock


@pytest.mark.parametrize("deadline_ns", [-(1 << 63), 0, 1])
def test_a_deadline_in_the_past_is_reached_at_once(clock: Clock, deadline_ns: int) -> None:
    assert clock.wait(deadline_ns, _NO_STOP) is Wake.REACHED


def test_a_flag_that_is_set_already_comes_before_a_deadline_that_has_passed(clock: Clock) -> None:
    stop = threading.Event()
    stop.set()
    assert clock.wait(0, stop) is Wake.INTERRUPTED


@pytest.mark.parametrize(("deadline_ns", "make_stop"), [((1 << 63) - 1, threading.Event), (1 << 70, Stop)])
def test_a_flag_set_meanwhile_ends_a_wait_however_far_its_deadline(
    clock: Clock, deadline_ns: int, make_stop: Callable[[], threading.Event | Stop]
) -> None:
    stop = make_stop()
    threading.Timer(0.01, stop.set).start()
    assert clock.wait(deadline_ns, stop) is Wake.INTERRUPTED


@pytest.mark.parametrize("deadline_ns", [1e18, "0", None])
def test_a_deadline_that_is_no_integer_is_refused(clock: Clock, deadline_ns: int) -> None:
    with pytest.raises(InvalidTypeError, match=r"deadline_ns is .*, expected an integer"):
        clock.wait(deadline_ns, _NO_STOP)


def test_a_flag_that_cannot_be_asked_is_refused(clock: Clock) -> None:
    with pytest.raises(InvalidTypeError, match=r"stop is NoneType, expected an object with a method is_set\(\)"):
        clock.wait(0, None)  # type: ignore[arg-type]  # on purpose

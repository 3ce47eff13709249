"""A scheduler process's life, in the process of the tests themselves."""

from __future__ import annotations

import os
import select
import signal
import threading
from typing import Any

import pytest

from chronostream.errors import InvalidValueError
from chronostream.producer.life import run, stopped_by_signals
from tests.process_harness import config, state
from tests.ring.harness import TIMEOUT_S, path_of


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_it_and_its_handlers_are_put_back(name: str, number: signal.Signals) -> None:
    inherited = signal.signal(number, signal.SIG_DFL)  # nohup may have started this with one that is ignored.
    try:
        run(config(name), on_ready=lambda _: os.kill(os.getpid(), number))
        assert state(name) == "closed"
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, inherited)


def test_a_signal_that_comes_to_another_thread_ends_a_wait_at_once() -> None:
    def interrupt() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    with stopped_by_signals() as stop:
        thread = threading.Timer(0.05, interrupt)
        thread.start()
        assert select.select([stop], [], [], TIMEOUT_S)[0]
        thread.join()
        assert stop.is_set()
    assert signal.set_wakeup_fd(-1) == -1


def test_a_hangup_that_nohup_turned_off_stays_so(name: str) -> None:
    seen: list[Any] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run(config(name), for_s=0, on_ready=lambda _: seen.append(signal.getsignal(signal.SIGHUP)))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert seen == [signal.SIG_IGN]


def test_it_stops_by_itself_when_its_time_is_up(name: str) -> None:
    run(config(name, remove=True), for_s=0.05)
    assert not path_of(name).exists()


def test_a_time_that_is_longer_than_a_timer_takes_is_no_error(name: str) -> None:
    run(config(name), for_s=1e30, on_ready=lambda _: signal.raise_signal(signal.SIGTERM))
    assert state(name) == "closed"


@pytest.mark.parametrize("for_s", [-1, float("nan")])
def test_a_negative_time_is_refused_before_anything_is_made(name: str, for_s: float) -> None:
    with pytest.raises(InvalidValueError, match=r"for_s is .*, expected 0 or more"):
        run(config(name), for_s=for_s)
    assert not path_of(name).exists()

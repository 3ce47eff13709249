from __future__ import annotations

import logging
import os
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chronostream.producer.systemd import notify, systemd_watchdog


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What systemd would be: a datagram socket whose path is in NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield channel


def arrived(listener: socket.socket) -> list[bytes]:
    """Return what was sent so far; a datagram on this machine is there when it has been sent."""
    listener.setblocking(False)
    states = []
    while select.select([listener], [], [], 0)[0]:
        states.append(listener.recv(100))
    return states


def test_a_state_arrives_as_it_is(listener: socket.socket) -> None:
    assert notify("READY=1")
    assert listener.recv(100) == b"READY=1"


def test_without_a_listener_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")


def test_an_abstract_socket_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"chronostream-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + name)
        assert notify("STOPPING=1")
        assert channel.recv(100) == b"STOPPING=1"


def test_a_listener_that_is_gone_is_logged_once_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not notify("READY=1")
    assert "cannot be told READY=1" in caplog.text
    for _ in range(3):
        assert not notify("WATCHDOG=1")
    assert len(caplog.messages) == 1


def test_a_listener_that_does_not_listen_is_not_waited_for(listener: socket.socket) -> None:
    sent = 0
    while notify("WATCHDOG=1"):
        sent += 1
    begin_s = time.monotonic()
    assert not notify("STOPPING=1")
    assert time.monotonic() - begin_s < 0.5
    assert arrived(listener) == [b"WATCHDOG=1"] * sent
    assert notify("STOPPING=1")


def test_a_watchdog_is_fed_twice_in_its_period(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    now_s = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    watchdog = systemd_watchdog()
    assert watchdog.interval_s == 10
    for seconds in (0, 1, 4.9, 5, 9.9, 10):
        now_s = 100 + seconds
        watchdog.feed()
    assert arrived(listener) == [b"WATCHDOG=1"] * 3


@pytest.mark.parametrize("watched", ["1", None])
def test_who_is_not_watched_is_silent(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, watched: str | None
) -> None:
    if watched:
        monkeypatch.setenv("WATCHDOG_USEC", "20000000")
        monkeypatch.setenv("WATCHDOG_PID", watched)
    else:
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    watchdog = systemd_watchdog()
    watchdog.feed()
    assert (watchdog.interval_s, arrived(listener)) == (None, [])


@pytest.mark.parametrize("period", ["soon", "-1", "0"])
def test_a_period_that_is_none_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, period: str
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", period)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    with caplog.at_level(logging.WARNING):
        assert systemd_watchdog().interval_s is None
    assert f"WATCHDOG_USEC is {period!r}" in caplog.text

"""``chronostream run`` as a service: what systemd is told, by real processes over a real socket."""

from __future__ import annotations

import configparser
import os
import select
import shlex
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from chronostream.producer.process import start, stop_producer
from chronostream.ring import Producer, inspect
from chronostream.stream.config import StreamConfig
from chronostream.stream.events import subscribe
from tests.process_harness import Programs
from tests.ring.harness import ROOT, TIMEOUT_S, path_of, wait_until

UNIT = ROOT / "docs" / "chronostream@.service"


class Systemd:
    """What systemd would be: a datagram socket, and the variables that lead to it."""

    def __init__(self, directory: Path) -> None:
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._channel.bind(str(directory / "notify"))
        self._channel.settimeout(TIMEOUT_S)
        self.variables = {"NOTIFY_SOCKET": str(directory / "notify")}

    def environment(self, watchdog_s: float | None = None) -> dict[str, str]:
        watchdog = {} if watchdog_s is None else {"WATCHDOG_USEC": str(round(watchdog_s * 1e6))}
        return os.environ | self.variables | watchdog

    def next(self) -> str:
        return self._channel.recv(100).decode()

    def rest(self) -> list[str]:
        """Return what else was sent so far; a datagram on this machine is there when it has been sent."""
        found = []
        while select.select([self._channel], [], [], 0)[0]:
            found.append(self.next())
        return found

    def close(self) -> None:
        self._channel.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    systemd = Systemd(tmp_path)
    yield systemd
    systemd.close()


def test_a_service_says_that_it_is_ready_alive_and_stopping_however_rare_its_events_are(
    programs: Programs, systemd: Systemd, name: str
) -> None:
    watchdog_s = 0.4
    program = programs.chronostream("run", name, "-f", "day", env=systemd.environment(watchdog_s), stderr=None)
    assert systemd.next() == "READY=1"
    assert inspect(name).state == "live"
    start_s = time.monotonic()
    assert [systemd.next() for _ in range(6)] == ["WATCHDOG=1"] * 6
    # One for each half of the period at least; on a machine that is stalled they may come late, but never too often.
    assert time.monotonic() - start_s >= 5 * watchdog_s / 4 * 0.9
    assert program.stop()[0] == 0
    assert [told for told in systemd.rest() if told != "WATCHDOG=1"] == ["STOPPING=1"]


def test_without_a_watchdog_there_are_no_signs_of_life(programs: Programs, systemd: Systemd, name: str) -> None:
    program = programs.run(name, env=systemd.environment())
    assert systemd.next() == "READY=1"
    assert program.stop(signal.SIGINT)[0] == 0
    assert systemd.rest() == ["STOPPING=1"]


def test_a_stream_that_cannot_be_had_is_never_ready(programs: Programs, systemd: Systemd, name: str) -> None:
    with Producer.create(name, "<i8", 8):
        assert programs.chronostream("run", name, env=systemd.environment()).wait() == 3
    assert systemd.rest() == []


def test_a_process_that_a_service_starts_does_not_answer_for_it(
    systemd: Systemd, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in systemd.environment(0.1).items():
        monkeypatch.setenv(variable, value)
    with start(StreamConfig(name=name, remove=True)) as producer:
        assert producer.alive
        with subscribe(name) as events:
            next(events)
    assert systemd.rest() == []


def test_several_streams_are_one_service(programs: Programs, systemd: Systemd, name: str, tmp_path: Path) -> None:
    names = [f"{name}-a", f"{name}-b"]
    (tmp_path / "streams.toml").write_text("".join(f"[streams.{each}]\nremove = true\n" for each in names))
    program = programs.chronostream(
        "run", "--config", str(tmp_path / "streams.toml"), env=systemd.environment(0.4), stderr=None
    )
    assert systemd.next() == "READY=1"
    assert [inspect(each).state for each in names] == ["live", "live"]
    assert [systemd.next(), systemd.next()] == ["WATCHDOG=1"] * 2
    assert program.stop()[0] == 0
    assert [told for told in systemd.rest() if told != "WATCHDOG=1"] == ["STOPPING=1"]
    assert not any(path_of(each).exists() for each in names)


def test_there_are_no_signs_of_life_while_one_of_several_engines_hangs(
    programs: Programs, systemd: Systemd, name: str, tmp_path: Path
) -> None:
    watchdog_s = 0.8
    names = [f"{name}-a", f"{name}-b"]
    (tmp_path / "streams.toml").write_text("".join(f"[streams.{each}]\nremove = true\n" for each in names))
    programs.chronostream(
        "run", "--config", str(tmp_path / "streams.toml"), env=systemd.environment(watchdog_s), stderr=None
    )
    assert [systemd.next(), systemd.next()] == ["READY=1", "WATCHDOG=1"]
    hanging = psutil.Process(inspect(names[1]).pid)
    hanging.suspend()
    wait_until(lambda: hanging.status() == psutil.STATUS_STOPPED)
    time.sleep(watchdog_s)
    systemd.rest()  # It may have turned since the sign before.
    time.sleep(2 * watchdog_s)
    assert systemd.rest() == []
    hanging.resume()
    assert systemd.next() == "WATCHDOG=1"


def test_one_that_has_ended_is_not_waited_for(programs: Programs, systemd: Systemd, name: str, tmp_path: Path) -> None:
    names = [f"{name}-a", f"{name}-b"]
    (tmp_path / "streams.toml").write_text("".join(f"[streams.{each}]\nremove = true\n" for each in names))
    program = programs.chronostream("run", "--config", str(tmp_path / "streams.toml"), env=systemd.environment(0.4))
    assert systemd.next() == "READY=1"
    stop_producer(names[1])
    while "was stopped: process" not in program.err.line():
        pass
    systemd.rest()
    assert [systemd.next() for _ in range(3)] == ["WATCHDOG=1"] * 3


def test_the_unit_of_the_documentation_runs_as_it_stands(
    programs: Programs, systemd: Systemd, name: str, tmp_path: Path
) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # keys as they are written
    unit.read(UNIT)
    service = unit["Service"]
    assert (service["Type"], service["KillSignal"]) == ("notify", "SIGTERM")
    assert (tmp_path / "streams.toml").write_text(f"[streams.{name}]\nremove = true\n")
    command = service["ExecStart"].replace("/etc/chronostream.toml", str(tmp_path / "streams.toml"))
    program_path, *arguments = shlex.split(command.replace("%i", name))
    assert program_path.endswith("/bin/chronostream")
    program = programs.chronostream(*arguments, env=systemd.environment(float(service["WatchdogSec"])))
    assert [systemd.next(), systemd.next()] == ["READY=1", "WATCHDOG=1"]
    assert inspect(name).pid == program.pid
    assert program.stop(getattr(signal, service["KillSignal"]))[0] == 0
    # What the unit says of exit statuses is what the commands say.
    assert service["RestartPreventExitStatus"].split() == ["2", "3"]

from __future__ import annotations

import asyncio
import json
import logging
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chronostream import EVENT_DTYPE, Frequency, event_ids
from chronostream.bridges.jetstream import stream_for
from chronostream.cli import main
from chronostream.cli.nats import run_until_signal
from chronostream.ring import Consumer, inspect
from tests.bridges.harness import (
    HEADERS,
    HELD,
    START_NS,
    S,
    Server,
    Source,
    emit,
    fill,
    head_of,
    ids_between,
    in_jetstream,
    payload,
    publish,
    stored,
    stored_ids,
)
from tests.process_harness import Programs
from tests.ring.harness import wait_until

SECRET = "s3cr3t-of-ours"
Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Command:
    """Runs a command in this process; gives its exit status, and what it printed and logged."""
    monkeypatch.setattr("chronostream.cli.nats.log_to_stderr", lambda: caplog.set_level(logging.INFO, "chronostream"))

    def run(*arguments: str) -> tuple[int, str]:
        caplog.clear()
        caplog.set_level(logging.WARNING, "chronostream")
        status = main(arguments)
        return status, "".join([*capsys.readouterr(), caplog.text])

    return run


def test_a_relay_delivers_a_closed_stream_and_ends(url: str, name: str, programs: Programs) -> None:
    emit(name, 10)
    relay = programs.chronostream("relay", name, "--to", url)
    assert "stopped: 10 events delivered, 0 could not be" in relay.err.rest()
    assert (relay.wait(), stored_ids(url, stream_for(name))) == (0, ids_between(1, 11))


def test_a_relay_that_could_not_deliver_everything_says_what_and_ends_with_status_1(
    url: str, name: str, command: Command
) -> None:
    with Source(name, coalesce="earliest") as source:
        source.advance(3)
        source.advance(5, asleep=True)
        source.advance(1)
    status, printed = command("relay", name, "--to", url, "--gap-timeout", "0s")
    assert status == 1
    assert "4 of frequency second between event 1-1700000004000000000-1700000004 and event" in printed


def test_the_former_flag_of_a_relay_still_works(url: str, name: str, command: Command) -> None:
    emit(name, 3)
    assert command("relay", name, "--to", url, "--patience", "0s")[0] == 0


def test_a_relay_can_use_other_names_and_send_records(url: str, name: str, command: Command, tmp_path: Path) -> None:
    emit(name, 3)
    arguments = ["--as", f"{name}-other", "--stream", f"stream-{name}", "--encoding", "record", "--max-age", "1h"]
    arguments += ["--metrics-file", str(tmp_path / "relay.prom")]
    assert command("relay", name, "--to", url, *arguments)[0] == 0
    payloads = [message["payload"] for message in stored(url, f"stream-{name}")]
    assert [len(payload) for payload in payloads] == [EVENT_DTYPE.itemsize] * 3
    assert f'chronostream_relay_delivered_events_total{{stream="{name}"}} 3\n' in (tmp_path / "relay.prom").read_text()


def test_a_mirror_runs_until_it_is_told_to_stop(url: str, name: str, programs: Programs) -> None:
    fill(url, name, 10)
    mirror = programs.chronostream("mirror", url, name, "--as", f"{name}-mirror", "--capacity", "64")
    wait_until(lambda: head_of(f"{name}-mirror") == 10)
    assert (mirror.stop()[0], inspect(f"{name}-mirror").state) == (0, "closed")
    assert "closed, and kept for the next run" in mirror.err.rest()


def test_a_mirror_of_nothing_claims_no_stream_when_it_is_told_to_stop(url: str, name: str, programs: Programs) -> None:
    mirror = programs.chronostream("mirror", url, name)
    assert "connected to NATS" in mirror.err.line()
    mirror.stop()
    assert "stopped: nothing was there to mirror" in mirror.err.rest()


def test_a_signal_that_comes_while_a_command_loads_ends_it_in_peace(url: str, programs: Programs) -> None:
    signalled = """
import builtins, os, signal, sys
from chronostream.cli import main
load = builtins.__import__
def loaded(name, *arguments):
    if name == "nats.errors":
        os.kill(os.getpid(), signal.SIGTERM)
    return load(name, *arguments)
builtins.__import__ = loaded
sys.exit(main(sys.argv[1:]))
"""
    mirror = programs.python("-c", signalled, "mirror", url, "clock-of-nobody")
    assert mirror.wait() == 0
    lines = mirror.err.rest().splitlines()
    assert lines[-1].endswith("stopped: nothing was there to mirror")
    assert "Traceback" not in "".join(lines)


@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", "2>&-", ">&-", "<&-"])
def test_without_their_standard_streams_both_do_the_same(url: str, name: str, programs: Programs, streams: str) -> None:
    command = f"exec {shlex.quote(sys.executable)} -W error -m chronostream"
    emit(name, 10)
    relay = programs.start("/bin/sh", "-c", f"{command} relay {name} --to {url} {streams}")
    assert (relay.wait(), stored_ids(url, stream_for(name))) == (0, ids_between(1, 11))
    mirror = programs.start("/bin/sh", "-c", f"{command} mirror {url} {name} --as {name}-mirror {streams}")
    wait_until(lambda: head_of(f"{name}-mirror") == 10)
    assert (mirror.stop()[0], inspect(f"{name}-mirror").state) == (0, "closed")
    assert relay.out.rest() + mirror.out.rest() == ""


def test_a_hangup_that_nohup_turned_off_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chronostream.cli.nats.log_to_stderr", lambda: None)

    async def handler(_: asyncio.Event) -> object:
        return signal.getsignal(signal.SIGHUP)

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run_until_signal(lambda: handler) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_mirror_of_a_live_name_ends_with_status_3(url: str, name: str, command: Command) -> None:
    fill(url, name, 3)
    with Source(f"{name}-mirror"):
        status, printed = command("mirror", url, name, "--as", f"{name}-mirror")
    assert (status, f"stream '{name}-mirror' is live" in printed) == (3, True)


def test_a_secret_comes_from_a_file_and_is_never_printed(tmp_path: Path, name: str, command: Command) -> None:
    emit(name, 3)
    (tmp_path / "password").write_text(f"{SECRET}\n")
    config = f'authorization {{ user: me, password: "{SECRET}" }}'
    with Server(tmp_path, config=config) as server:
        in_url = server.url.replace("//", f"//me:{SECRET}@")
        from_file = command(
            "relay", name, "--to", server.url, "--user", "me", "--password-file", str(tmp_path / "password")
        )
        from_url = command("relay", name, "--to", in_url)
        refused = command("relay", name, "--to", in_url.replace("me", "you"))
    assert (from_file[0], from_url[0], refused[0]) == (0, 0, 1)
    assert "refuses access" in refused[1]
    assert SECRET not in from_file[1] + from_url[1] + refused[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["relay", "clock", f"nats://me:{SECRET}@host"],
        ["relay", "clock", "--to", f"http://me:{SECRET}@host"],
        ["relay", "clock", "--to", f"nats://me:{SECRET}@host", "--encoding", "xml"],
        ["relay", "clock", "--to", "nats://host", "--token-file", "/nowhere"],
        ["relay", "clock", "--to", "nats://host", "--replicas", "0"],
        ["relay", "clock", "--to", "nats://host", "--max-age", "soon"],
        ["relay", "clock", "--to", "nats://host", "--stream", "a.b"],
        ["relay", "clock", "--to", "nats://host", "--tls-ca", "/nowhere"],
        ["mirror", "clock", f"nats://me:{SECRET}@host"],
        ["mirror", f"nats://me:{SECRET}@host", "clock", "--capacity", "1000"],
        ["mirror", f"nats://me:{SECRET}@host", "clock", "--mode", "rw"],
        ["mirror", f"nats://me:{SECRET}@host", "clock", f"nats://me:{SECRET}@host"],
        ["replay", "clock"],
        ["replay", "clock", "--from", "0"],
        ["replay", "clock", "--from-nats", f"nats://me:{SECRET}@host", "--speed", "1x"],
        ["verify", "clock", "--from-nats", f"nats://me:{SECRET}@host", "--allow-missed"],
    ],
    ids=lambda arguments: " ".join(arguments).replace(SECRET, "…"),
)
def test_wrong_usage_is_status_2_and_shows_no_password(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("chronostream: ")
    assert SECRET not in printed.out + printed.err


def test_without_nats_py_the_commands_say_what_to_install(programs: Programs) -> None:
    without = """
import sys
sys.modules["nats"] = None
from chronostream.cli import main
sys.exit([main(["relay", "clock", "--to", "nats://host"]), main(["mirror", "nats://host", "clock"])] != [1, 1])
"""
    program = programs.python("-c", without)
    assert program.wait() == 0
    assert program.err.rest().count("pip install 'chronostream[nats]'") == 2


def test_a_ring_is_filled_with_what_jetstream_holds_and_both_verify(url: str, name: str, command: Command) -> None:
    fill(url, name, 100)
    replay = ["replay", f"{name}-past", "--from-nats", url, "--nats-name", name]
    status, printed = command(*replay, "--from", str(START_NS + 11 * S))
    assert (status, printed) == (0, f"stream '{name}-past': 90 events, closed and kept\n")
    with Consumer.attach(f"{name}-past") as consumer:
        assert event_ids(consumer.read()).tolist() == ids_between(11, 101)
    assert command("verify", f"{name}-past")[0] == 0
    status, printed = command("verify", name, "--from-nats", url, "--format", "json")
    assert (status, json.loads(printed)["ok"]) == (0, True)


def test_a_hole_in_jetstream_is_a_fault(url: str, name: str, command: Command) -> None:
    fill(url, name, 20)
    in_jetstream(url, lambda js: js.delete_msg(stream_for(name), 7))
    status, printed = command("verify", name, "--from-nats", url)
    assert (status, ids_between(7, 8)[0] in printed) == (1, True)


def test_what_a_reader_skips_is_a_fault_too(url: str, name: str, command: Command) -> None:
    fill(url, name, 59, frequencies=("second", "minute"))  # with the minute, 60 events
    seconds = [
        (payload(2), HEADERS),  # two duplicates, which are out of order too
        (payload(3), HEADERS),
        (payload(61), HEADERS),  # an event that follows a hole of one
        (b"rubbish", HEADERS),
        (payload(5), {}),
        (payload(5).replace(b'"seed":', b'"seed":1'), HEADERS),
    ]
    publish(url, name, *seconds)
    publish(url, name, (b"rubbish", {}), frequency="week")
    status, printed = command("verify", name, "--from-nats", url, "--format", "json")
    report = json.loads(printed)
    assert (status, report["ok"], report["found"]) == (1, False, 61)
    assert report["counts"] == {
        "absent": 1,
        "foreign": 0,
        "duplicate": 2,
        "altered": 0,
        "disordered": 1,
        "unreadable": 4,
    }
    status, printed = command("verify", name, "--from-nats", url, "--to", str(START_NS + 60 * S))
    assert status == 1
    for number, reason in ((64, "is not JSON"), (65, "header Chronostream-Schema is None"), (66, "seed")):
        assert f": message {number} of {stream_for(name)}: the message on chronostream.{name}.second" in printed
        assert reason in printed
    assert f"message 67 of {stream_for(name)}: the message on chronostream.{name}.week is not an event" in printed
    assert "FAILED: " in printed
    assert "60 of 60 events, 2 duplicate, 1 disordered, 4 unreadable" in printed


def test_an_event_of_a_frequency_that_the_stream_does_not_have_is_foreign(
    url: str, name: str, command: Command
) -> None:
    fill(url, name, 30)
    minute = int(np.flatnonzero(HELD["frequency"] == Frequency.MINUTE)[0])
    publish(url, name, (payload(minute), HEADERS), frequency="minute")
    for frequencies in ((), ("--frequency", "second")):
        status, printed = command("verify", name, "--from-nats", url, *frequencies)
        assert (status, "1 foreign" in printed) == (1, True)
    assert command("verify", name, "--from-nats", url, "--limit", "0")[1].startswith("… and 1 more\nFAILED")

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chronostream import event_ids
from chronostream.bridges.jetstream import default_stream
from chronostream.cli import main
from chronostream.errors import StreamNotFoundError
from chronostream.ring import Consumer, inspect
from tests.bridges.harness import (
    ROOT,
    TIMEOUT_S,
    Command,
    Server,
    Source,
    boundary_events,
    in_jetstream,
    segments,
    status_of,
    stored_ids,
    wait_until,
)

START_NS = 1_700_000_000_000_000_000
SECRET = "s3cr3t-of-ours"


def emit(name: str, seconds: int) -> list[str]:
    """Make a closed stream with so many seconds in it, and return their ids."""
    with Source(name, START_NS) as source:
        source.advance(seconds)
    ids: list[str] = event_ids(boundary_events(("second",), START_NS + 1, START_NS + seconds * 10**9 + 1)).tolist()
    return ids


def test_a_relay_delivers_a_closed_stream_and_ends(url: str, name: str) -> None:
    ids = emit(name, 10)
    status, printed = Command("relay", name, "--to", url).finish()
    assert (status, stored_ids(url, default_stream(name))) == (0, ids)
    assert "stopped: 10 events delivered, 0 could not be" in printed


def test_a_relay_that_could_not_deliver_everything_says_what_and_ends_with_status_1(url: str, name: str) -> None:
    with Source(name, START_NS, coalesce="earliest") as source:
        source.advance(3)
        source.advance(5, asleep=True)
        source.advance(1)
    status, printed = Command("relay", name, "--to", url, "--patience", "0s").finish()
    assert status == 1
    assert "4 of frequency second between event 1-1700000004000000000-1700000004 and event" in printed


def test_a_relay_can_use_other_names(url: str, name: str) -> None:
    ids = emit(name, 3)
    arguments = ["--as", f"{name}-other", "--stream", f"stream-{name}", "--encoding", "record", "--max-age", "1h"]
    assert Command("relay", name, "--to", url, *arguments).finish()[0] == 0
    assert stored_ids(url, f"stream-{name}") == ids


def test_a_mirror_runs_until_it_is_told_to_stop(url: str, name: str) -> None:
    emit(name, 10)
    Command("relay", name, "--to", url).finish()
    with Command("mirror", url, name, "--as", f"{name}-mirror", "--capacity", "64") as mirror:
        wait_until(lambda: _head(f"{name}-mirror") == 10)
        wait_until(lambda: status_of(f"{name}-mirror")["mirror"]["sequence"] == 10)
        shown = status_of(f"{name}-mirror")
        status, printed = mirror.stop()
    assert shown["mirror"]["source"] == name
    assert shown["mirror"]["stale"] is True  # These events are years old.
    assert (status, inspect(f"{name}-mirror").state) == (0, "closed")
    assert "closed, and kept for the next run" in printed


def _head(name: str) -> int:
    try:
        return inspect(name).head
    except StreamNotFoundError:
        return 0


def test_the_status_of_a_mirror_is_told_in_words(url: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    emit(name, 10)
    Command("relay", name, "--to", url).finish()
    with Command("mirror", url, name, "--as", f"{name}-mirror"):
        wait_until(lambda: _head(f"{name}-mirror") == 10 and status_of(f"{name}-mirror")["mirror"]["sequence"] == 10)
        assert main(["status", f"{name}-mirror"]) == 0
    shown = capsys.readouterr().out
    assert f"of {name} through JetStream stream {default_stream(name)}, up to message 10" in shown
    assert "stale since 20" in shown


def test_a_mirror_of_a_live_name_ends_with_status_3(url: str, name: str) -> None:
    emit(name, 3)
    Command("relay", name, "--to", url).finish()
    with Command("mirror", url, name, "--as", f"{name}-mirror"):
        wait_until(lambda: _head(f"{name}-mirror"))
        status, printed = Command("mirror", url, name, "--as", f"{name}-mirror").finish()
    assert (status, f"stream '{name}-mirror' is live" in printed) == (3, True)


def test_a_secret_comes_from_a_file_and_is_never_printed(tmp_path: Path, name: str) -> None:
    emit(name, 3)
    (tmp_path / "password").write_text(f"{SECRET}\n")
    config = f'authorization {{ user: me, password: "{SECRET}" }}'
    with Server(tmp_path, config=config) as server:
        secret = ["--user", "me", "--password-file", str(tmp_path / "password")]
        status, printed = Command("relay", name, "--to", server.url, *secret).finish()
        assert status == 0
        in_url = server.url.replace("//", f"//me:{SECRET}@")
        again, printed_again = Command("relay", name, "--to", in_url).finish()
        assert again == 0
        wrong, refused = Command("relay", name, "--to", in_url.replace("me", "you")).finish()
    assert (wrong, "does not let us in" in refused) == (1, True)
    assert SECRET not in printed + printed_again + refused


@pytest.mark.parametrize(
    "arguments",
    [
        ["relay", "clock", f"nats://me:{SECRET}@host"],
        ["relay", "clock", "--to", f"http://me:{SECRET}@host"],
        ["relay", "clock", "--to", f"nats://me:{SECRET}@host", "--encoding", "xml"],
        ["relay", "clock", "--to", "nats://host", "--token-file", "/nowhere"],
        ["relay", "clock", "--to", "nats://host", "--replicas", "0"],
        ["relay", "clock", "--to", "nats://host", "--max-age", "soon"],
        ["relay", "clock", "--to", "nats://host", "--tls-ca", "/nowhere"],
        ["mirror", "clock", f"nats://me:{SECRET}@host"],
        ["mirror", f"nats://me:{SECRET}@host", "clock", "--capacity", "1000"],
        ["mirror", f"nats://me:{SECRET}@host", "clock", "--mode", "rw"],
        ["mirror", f"nats://me:{SECRET}@host", "clock", f"nats://me:{SECRET}@host"],
    ],
    ids=lambda arguments: " ".join(arguments).replace(SECRET, "…"),
)
def test_wrong_usage_is_status_2_and_shows_no_password(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with segments("unused"):
        assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("chronostream: ")
    assert SECRET not in printed.out + printed.err


@pytest.mark.parametrize(
    "arguments", [["relay", "clock", "--to", "nats://host"], ["mirror", "nats://host", "clock"]], ids=" ".join
)
def test_without_nats_py_the_commands_say_what_to_install(arguments: list[str]) -> None:
    program = (
        f"import sys; sys.modules['nats'] = None; from chronostream.cli import main; sys.exit(main({arguments!r}))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=TIMEOUT_S, check=False
    )
    assert ended.returncode == 1
    assert b"pip install 'chronostream[nats]'" in ended.stderr


def test_a_ring_is_filled_with_what_jetstream_holds_and_both_verify(url: str, name: str) -> None:
    ids = emit(name, 100)
    Command("relay", name, "--to", url).finish()
    replay = ["replay", f"{name}-past", "--from-nats", url, "--nats-name", name]
    status, printed = Command(*replay, "--from", str(START_NS + 11 * 10**9)).finish()
    assert (status, printed) == (0, f"stream '{name}-past': 90 events, closed and kept\n")
    with Consumer.attach(f"{name}-past") as consumer:
        assert event_ids(consumer.read()).tolist() == ids[10:]
    assert Command("verify", f"{name}-past").finish()[0] == 0
    status, printed = Command("verify", name, "--from-nats", url, "--format", "json").finish()
    assert (status, json.loads(printed)["ok"]) == (0, True)


def test_a_hole_in_jetstream_is_a_fault(url: str, name: str) -> None:
    ids = emit(name, 20)
    Command("relay", name, "--to", url).finish()
    in_jetstream(url, lambda js: js.delete_msg(default_stream(name), 7))
    status, printed = Command("verify", name, "--from-nats", url).finish()
    assert (status, ids[6] in printed) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay", "clock"],
        ["replay", "clock", "--from", "0"],
        ["replay", "clock", "--from-nats", "nats://host", "--speed", "1x"],
        ["verify", "clock", "--from-nats", "nats://host", "--allow-missed"],
    ],
    ids=" ".join,
)
def test_what_does_not_go_together_is_wrong_usage(arguments: list[str]) -> None:
    assert main(arguments) == 2

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from chronostream import ring
from chronostream._values import utc_text
from chronostream.cli import main
from chronostream.clock import FakeClock
from chronostream.event import to_events
from chronostream.producer.engine import Engine
from chronostream.ring import CORE, Producer
from chronostream.stream.config import StreamConfig
from chronostream.stream.events import subscribe
from chronostream.stream.status import stream_status
from chronostream.version import __version__
from tests.process_harness import SECOND_NS, Feed, Programs
from tests.ring.harness import NOBODY, TIMEOUT_S, needs_root, path_of, wait_until

Capture = pytest.CaptureFixture[str]

NOON_NS = 1_700_000_000 // 86_400 * 86_400 * SECOND_NS + 43_200 * SECOND_NS


@pytest.fixture
def engine(name: str) -> Iterator[Engine]:
    """A live stream of seconds and hours that missed two of three seconds since noon."""
    config = StreamConfig(
        name=name, frequencies=("hour", "second"), timezone="Asia/Tokyo", capacity=8, instance_id="host"
    )
    clock = FakeClock(NOON_NS + SECOND_NS // 2)
    with Engine(config, clock=clock) as engine:
        engine.step()
        clock.advance(3 * SECOND_NS)
        engine.step()
        yield engine


def shown(capfd: Capture, *arguments: str) -> str:
    assert main(["status", *arguments]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return out


def as_json(capfd: Capture, *arguments: str) -> Any:
    out = shown(capfd, *arguments, "--format", "json")
    assert out.count("\n") == 1
    return json.loads(out)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have only some of the streams on this machine listed, those of the test."""
    return lambda *names: monkeypatch.setattr(ring, "list_names", lambda: list(names))


def test_a_live_stream_as_text(engine: Engine, name: str, capfd: Capture) -> None:
    with subscribe(name, label="plotter", start="oldest"):
        text = shown(capfd, name)
    started = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    lines = [
        rf"{name}  live  pid {os.getpid()}  generation 1  since {started}",
        rf"  ring       head {engine.ring.head}  capacity 8  \d+ KiB  {CORE} core here",
        r"  clock      running  zone Asia/Tokyo  sequence counting  \(gap 1\)",
        r"  second     last 2023-11-14T12:00:01Z sequence 1  missed 2  late p50/p99/p99\.9/max 2\.50 s( / 2\.50 s){3}",
        r"  hour       none yet  missed 0",
        r"  zone data  Asia/Tokyo [0-9a-f]{16} \S+",
        rf"  instance   host  version {re.escape(__version__)}",
        rf"  consumer   plotter  pid {os.getpid()}  lag 1  lost 0\n",
    ]
    assert re.fullmatch("\n".join(lines), text), text


@pytest.mark.usefixtures("engine")
def test_a_live_stream_as_json(name: str, capfd: Capture) -> None:
    with subscribe(name, label="plotter"):
        found = as_json(capfd, name)
        assert found == json.loads(json.dumps(stream_status(name).as_dict()))
    assert [(each["label"], each["lag"], each["lost"]) for each in found["consumers"]] == [("plotter", 0, 0)]


def test_a_closed_stream_a_dead_producer_and_a_ring_of_something_else_are_told_apart(
    name: str, capfd: Capture, only: Any
) -> None:
    closed, dead, plain = (f"{name}-{kind}" for kind in ("closed", "dead", "plain"))
    Feed(closed).ring.close(remove=False)
    Feed(dead).die()
    only(closed, dead, plain)
    try:
        with Producer.create(plain, "<f8", 8) as producer:
            producer.publish(1.5)
            text = shown(capfd).split("\n\n")
            found = as_json(capfd)
    finally:
        for each in (closed, dead):
            path_of(each).unlink()
    assert [(each["name"], each["state"]) for each in found] == [(closed, "closed"), (dead, "dead"), (plain, "live")]
    assert (found[2]["dtype"], found[2]["head"]) == ("float64", 1)
    assert "timezone" not in found[2]
    assert [each.split("  ")[1] for each in text] == ["closed", "dead", "live"]
    assert "  records    float64\n" in text[2]
    assert "consumers  none registered" in text[0]


def test_a_broken_segment_among_others_is_shown_as_such_and_alone_is_an_error(
    engine: Engine, name: str, capfd: Capture, only: Any
) -> None:
    broken = f"broken-{name}"
    path_of(broken).write_bytes(b"something else" * 1000)
    only(broken, f"{name}-just-removed", name)
    try:
        assert [(each["name"], each["state"]) for each in as_json(capfd)] == [(broken, "broken"), (name, "live")]
        assert "not with ChronoStream's mark" in as_json(capfd)[0]["error"]
        assert shown(capfd).startswith(f"{broken}  broken\n  the segment of stream '{broken}' begins with b'somethin'")
        assert main(["status", broken]) == 1
        assert capfd.readouterr().err.startswith("chronostream: the segment of stream")
    finally:
        path_of(broken).unlink()
    assert engine.ring.head == 1


@needs_root
def test_another_users_stream_is_shown_as_such_unless_it_is_to_be_trusted(
    engine: Engine, name: str, capfd: Capture, only: Any
) -> None:
    os.chown(path_of(name), NOBODY, NOBODY)
    only(name)
    assert [each["state"] for each in as_json(capfd)] == ["denied"]
    assert [each["state"] for each in as_json(capfd, "--any-owner")] == ["live"]
    assert as_json(capfd, name, "--any-owner")["head"] == engine.ring.head


def test_a_producer_that_hangs_is_named_while_it_does(name: str, capfd: Capture) -> None:
    def overdue() -> bool:
        return stream_status(name).overdue_since_ns is not None

    with Programs() as programs:
        producer = programs.run(name)
        with subscribe(name, start="oldest") as events:
            assert events.wait(TIMEOUT_S)
            assert not overdue()
            producer.send_signal(signal.SIGSTOP)
            wait_until(overdue)
            last = to_events(events.read())[-1]
        text, found = shown(capfd, name), as_json(capfd, name)
        assert f"  overdue    since {utc_text(found['overdue_since_ns'])}: process {producer.pid} hangs\n" in text
        assert found["state"] == "live"
        # It may have been stopped after it published an event, and before it saved that it did.
        assert last.timestamp <= found["overdue_since_ns"] <= last.timestamp + SECOND_NS
        producer.send_signal(signal.SIGCONT)
        wait_until(lambda: not overdue())
        assert producer.stop()[0] == 0
    assert not overdue()


def test_what_another_program_wrote_cannot_steer_the_terminal(name: str, capfd: Capture) -> None:
    with (
        Producer.create(name, "<f8", 8, instance_id="\x1b[2Jhöst", producer_version="1\n2"),
        ring.Consumer.attach(name, label="a\x1b]0;b\x07"),
    ):
        text = shown(capfd, name)
    assert "instance   \N{REPLACEMENT CHARACTER}[2Jhöst  version 1\N{REPLACEMENT CHARACTER}2\n" in text
    assert "consumer   a\N{REPLACEMENT CHARACTER}]0;b\N{REPLACEMENT CHARACTER}  pid" in text
    assert all(line.isprintable() for line in text.splitlines())

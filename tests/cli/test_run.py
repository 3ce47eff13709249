from __future__ import annotations

import logging
import os
import pty
import re
import signal
import stat
import time

import pytest

from chronostream.cli import main
from chronostream.clock import FakeClock
from chronostream.event import Frequency, to_events
from chronostream.producer.engine import Engine
from chronostream.ring import Consumer, inspect
from chronostream.stream.config import StreamConfig
from chronostream.stream.events import subscribe
from chronostream.stream.status import stream_status
from tests.process_harness import SECOND_NS, Programs, events_of
from tests.ring.harness import path_of, wait_until

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


def test_the_options_make_the_stream(name: str) -> None:
    options = "--frequency minute -f second --timezone Europe/Berlin --capacity 32 --instance-id me --mode 640"
    assert main(["run", name, *options.split(), "--sequencer", "boundary", "--for", "50ms"]) == 0
    status = stream_status(name)
    of, engine = status.ring, status.engine
    assert engine is not None
    assert (of.state, of.capacity, of.instance) == ("closed", 32, "me")
    assert status.description is not None
    assert (status.description.timezone, status.description.sequencer) == ("Europe/Berlin", "boundary")
    assert [known.frequency for known in engine.frequencies] == [Frequency.SECOND, Frequency.MINUTE]
    assert stat.S_IMODE(path_of(name).stat().st_mode) == 0o640


def test_without_options_it_is_the_seconds_of_this_host(name: str) -> None:
    assert main(["run", name, "--for", "10ms"]) == 0
    status = stream_status(name)
    assert status.engine is not None
    assert [known.frequency for known in status.engine.frequencies] == [Frequency.SECOND]
    assert (status.ring.instance, status.ring.capacity) == (os.uname().nodename[:64], 65536)


@pytest.mark.parametrize(("option", "ending"), [([], "closed, and kept for the next run"), (["--remove"], "removed")])
def test_it_is_kept_at_the_end_unless_it_is_to_be_removed(
    name: str, caplog: pytest.LogCaptureFixture, option: list[str], ending: str
) -> None:
    with caplog.at_level(logging.INFO):
        assert main(["run", name, "--for", "10ms", *option]) == 0
    assert caplog.messages[-1] == f"stopped: stream '{name}' {ending}"
    assert path_of(name).exists() == (not option)


def test_a_stream_that_was_stopped_goes_on_with_its_sequences(name: str) -> None:
    clock = FakeClock(time.time_ns() // SECOND_NS * SECOND_NS - 10 * SECOND_NS)
    with Engine(StreamConfig(name=name), clock=clock) as engine:
        for _ in range(5):
            engine.step()
            clock.advance(SECOND_NS)
    assert main(["run", name, "--for", "500ms"]) == 0
    with Consumer.attach(name) as consumer:
        events = to_events(consumer.read())
    assert len(events) > 4
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert inspect(name).generation == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_within_a_second_with_one_line_and_status_0(
    programs: Programs, name: str, number: signal.Signals
) -> None:
    program = programs.chronostream("run", name)
    ready = program.err.line()
    assert re.fullmatch(rf"{STAMP} INFO ready: stream '{name}', second in UTC, process {program.pid}, \w+ core", ready)
    assert inspect(name).pid == program.pid
    status, took_s = program.stop(number)
    assert status == 0
    assert took_s < 1
    assert re.fullmatch(
        rf"{STAMP} INFO stopped: stream '{name}' closed, and kept for the next run\n", program.err.rest()
    )
    assert program.out.rest() == ""
    assert inspect(name).state == "closed"


def test_who_presses_ctrl_c_more_than_once_gets_no_traceback(programs: Programs, name: str) -> None:
    program = programs.run(name)
    while program.process.poll() is None:
        program.send_signal(signal.SIGINT)
        time.sleep(0.001)
    assert program.wait() == 0
    assert re.fullmatch(rf"{STAMP} INFO stopped: .*\n", program.err.rest())


IN_A_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from chronostream.cli import main
sys.exit(main(['run', {name!r}]))
"""


def test_a_terminal_that_is_closed_ends_it_cleanly(programs: Programs, name: str) -> None:
    terminal, slave = pty.openpty()
    try:
        program = programs.python("-c", IN_A_TERMINAL.format(name=name), stdin=slave, stdout=slave, stderr=slave)
        assert b"INFO ready" in os.read(terminal, 1024)
    finally:
        os.close(slave)
        os.close(terminal)
    assert program.wait() == 0
    assert inspect(name).state == "closed"


def test_a_suspended_producer_goes_on_and_counts_what_it_missed(programs: Programs, name: str) -> None:
    program = programs.run(name)
    with subscribe(name, on_gone="raise") as events:
        before = next(events)
        program.send_signal(signal.SIGSTOP)
        # It lives, so that nobody is told otherwise.
        assert not events.wait((before.timestamp + 2.1 * SECOND_NS - time.time_ns()) / SECOND_NS)
        program.send_signal(signal.SIGCONT)
        late, after = next(events), next(events)
    assert (late.timestamp, late.sequence) == (before.timestamp + SECOND_NS, before.sequence + 1)
    assert after.sequence == before.sequence + 2
    engine = stream_status(name).engine
    assert engine is not None
    assert engine.frequencies[0].missed == (after.timestamp - late.timestamp) // SECOND_NS - 1 > 0


def test_consumers_of_a_killed_producer_go_on_with_the_next_and_all_see_the_same(programs: Programs, name: str) -> None:
    first = programs.run(name, "--instance-id", "host")
    early = programs.chronostream("tail", name, "--from", "oldest", "--format", "json")
    seen_early = early.out.line() + "\n"
    late = programs.chronostream("tail", name, "--format", "json")
    seen_late = late.out.line() + "\n"
    refused = programs.chronostream("run", name)
    assert refused.wait() == 3
    assert refused.err.rest() == (
        f"chronostream: stream '{name}' is live: process {first.pid} is its producer; stop that one first, or use "
        "another name\n"
    )
    first.send_signal(signal.SIGKILL)
    wait_until(lambda: inspect(name).state == "dead")
    killed_at = inspect(name).head
    second = programs.run(name, "--instance-id", "host")
    while events_of(seen_late)[-1]["sequence"] < killed_at + 2:
        seen_late += late.out.line() + "\n"
    assert second.stop()[0] == 0
    assert (early.wait(), late.wait()) == (0, 0)
    seen_early += early.out.rest()
    seen_late += late.out.rest()
    assert len(seen_early) > len(seen_late)
    assert seen_early.endswith(seen_late)
    assert (early.err.rest(), late.err.rest()) == ("", "")
    events = events_of(seen_early)
    assert [event["sequence"] for event in events] == list(range(1, inspect(name).head + 1))
    for event, before in zip(events[1:], events, strict=False):
        assert event["timestamp"] % SECOND_NS == 0
        assert event["timestamp"] > before["timestamp"]
        assert event["id"] == f"1-{event['timestamp']}-{event['sequence']}"
        assert event["seed"] == event["timestamp"] ^ event["sequence"]

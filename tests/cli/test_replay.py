"""`chronostream replay` and `verify` as a shell sees them."""

from __future__ import annotations

import json
import signal

import pytest

from chronostream import ring
from chronostream.backfill import expected, replay
from chronostream.calendar.sequencer import BoundarySequencer
from chronostream.cli import main
from chronostream.observe.survey import survey
from chronostream.ring import Consumer
from tests.engine_harness import Run
from tests.process_harness import SECOND_NS, Programs
from tests.ring.harness import wait_until

Capture = pytest.CaptureFixture[str]
START_NS = 1_704_067_200 * SECOND_NS
MINUTE = ["--from", "2024-01-01", "--to", "2024-01-01T00:01Z"]


def done(capfd: Capture, *arguments: str) -> tuple[int, str, str]:
    """Run a command here; return its status, and what it printed on stdout and stderr."""
    status = main(arguments)
    return status, *capfd.readouterr()


def test_a_range_is_replayed_and_verified(name: str, capfd: Capture) -> None:
    range_ = ["--from", "2024-01-01T00:00Z", "--to", str(START_NS + 7200 * SECOND_NS)]
    options = ["-f", "second", "-f", "hour", "--timezone", "Asia/Kathmandu", "--instance-id", "me"]
    assert done(capfd, "replay", name, *range_, *options) == (
        0,
        f"stream '{name}': 7202 of 7202 events, closed and kept\n",
        "",
    )
    with Consumer.attach(name) as consumer:
        wanted = expected(("second", "hour"), START_NS, START_NS + 7200 * SECOND_NS, "Asia/Kathmandu", instance_id="me")
        assert consumer.read().tobytes() == wanted.tobytes()
    assert done(capfd, "verify", name) == (
        0,
        "ok: 2024-01-01T00:00:00Z to 2024-01-01T02:00:00Z, 7202 of 7202 events\n",
        "",
    )


def test_what_is_absent_is_named_with_exit_status_1(name: str, capfd: Capture) -> None:
    assert done(capfd, "replay", name, *MINUTE)[0] == 0
    status, out, err = done(capfd, "verify", name, "--to", "2024-01-01T00:01:02Z")
    assert (status, err) == (1, "")
    assert out.splitlines() == [
        (
            "absent second 2 events, 2024-01-01T00:01:00Z to 2024-01-01T00:01:01Z: "
            "1-1704067260000000000-1704067260 to 1-1704067261000000000-1704067261"
        ),
        "FAILED: 2024-01-01T00:00:00Z to 2024-01-01T00:01:02Z, 60 of 62 events, 2 absent",
    ]
    status, out, _ = done(capfd, "verify", name, "--to", "2024-01-01T00:01:02Z", "--format", "json")
    assert status == 1
    report = json.loads(out)
    assert (report["ok"], report["counts"]["absent"], len(report["faults"])) == (False, 2, 1)


def test_what_a_live_stream_missed_is_absent_unless_that_is_allowed(capfd: Capture) -> None:
    with Run(sequencer="boundary") as run:
        run.start({"sequencer": BoundarySequencer()})
        for seconds in (1, 5, 1):
            run.after(seconds)
        assert done(capfd, "verify", run.name)[0] == 1
        assert done(capfd, "verify", run.name, "--allow-missed")[0] == 0


@pytest.mark.parametrize("arguments", [["--sequencer", "other"], ["--timezone", "Mars"]], ids=" ".join)
def test_what_nothing_can_be_compared_with_is_wrong_usage(name: str, capfd: Capture, arguments: list[str]) -> None:
    replay(name, START_NS, START_NS + SECOND_NS)
    status, out, err = done(capfd, "verify", name, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_a_replay_onto_a_kept_stream_fails_and_onto_a_live_one_with_exit_status_3(name: str) -> None:
    assert main(["replay", name, *MINUTE]) == 0
    assert main(["replay", name, *MINUTE]) == 1
    ring.remove(name)
    with ring.Producer.create(name, "<i8", 8):
        assert main(["replay", name, *MINUTE]) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_paced_replay_and_closes_the_stream(
    programs: Programs, name: str, number: signal.Signals
) -> None:
    program = programs.chronostream("replay", name, "--from", "2024-01-01", "--to", "2024-01-02", "--speed", "20x")
    wait_until(lambda: any(stream.ring.head >= 2 for stream in survey([name]).streams))
    assert program.stop(number)[0] == 1
    assert "of 86400 events, closed and kept" in program.out.rest()
    assert ring.inspect(name).state == "closed"
    assert main(["verify", name]) == 0

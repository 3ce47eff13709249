from __future__ import annotations

import os
import signal

import psutil
import pytest

from chronostream.cli import main
from chronostream.errors import StreamRemovedError
from chronostream.ring import Producer
from chronostream.ring import consumer as consumers
from chronostream.stream.events import subscribe
from tests.process_harness import Feed, Programs
from tests.ring.harness import path_of, wait_until

Capture = pytest.CaptureFixture[str]


def remove(capfd: Capture, *arguments: str) -> tuple[int, str, str]:
    status = main(["remove", *arguments])
    out, err = capfd.readouterr()
    return status, out, err


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["", "by force"])
@pytest.mark.parametrize("condition", ["closed", "dead", "damaged", "half made"])
def test_a_stream_without_a_producer_is_removed_whatever_its_condition(
    name: str, capfd: Capture, condition: str, force: list[str]
) -> None:
    if condition == "closed":
        Feed(name).ring.close(remove=False)
    elif condition == "dead":
        Feed(name).die()
    else:
        path_of(name).write_bytes((b"\0" if condition == "half made" else b"x") * 5000)
    assert remove(capfd, name, *force) == (0, f"stream '{name}' removed\n", "")
    assert not path_of(name).exists()


def test_a_live_stream_is_kept(name: str, capfd: Capture) -> None:
    with Producer.create(name, "<f8", 8):
        status, out, err = remove(capfd, name)
        assert (status, out) == (3, "")
        assert f"process {os.getpid()} is its producer" in err
        assert path_of(name).exists()


def test_waiting_consumers_end_with_an_error_that_says_so(
    name: str, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "LIVENESS_CHECK_S", 0.01)
    Feed(name).die()
    with subscribe(name) as events:
        assert not events.wait(0.05)
        assert remove(capfd, name)[0] == 0
        with pytest.raises(StreamRemovedError, match=f"stream '{name}' was removed"):
            next(events)


@pytest.mark.parametrize("option", [[], ["--remove"]], ids=["kept", "removed by its producer"])
def test_by_force_its_producer_is_stopped_first(
    programs: Programs, name: str, capfd: Capture, option: list[str]
) -> None:
    program = programs.run(name, "--frequency", "day", *option)
    with subscribe(name) as events:
        assert remove(capfd, name, "--force") == (0, f"stream '{name}' removed\n", "")
        assert list(events) == []  # It was closed before it was removed, so that the loop ends by itself.
    assert program.wait() == 0
    assert not path_of(name).exists()


def test_by_force_a_suspended_producer_is_stopped_too(programs: Programs, name: str, capfd: Capture) -> None:
    program = programs.run(name)
    program.send_signal(signal.SIGSTOP)
    wait_until(lambda: psutil.Process(program.pid).status() == psutil.STATUS_STOPPED)
    assert remove(capfd, name, "--force")[0] == 0
    assert program.wait() == 0

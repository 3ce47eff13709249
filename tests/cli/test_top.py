from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chronostream.cli import main
from chronostream.ring import Consumer, Producer
from tests.engine_harness import Run
from tests.process_harness import Programs
from tests.ring.harness import wait_until
from tests.terminal_harness import CHRONOSTREAM, Terminal, needs_tmux


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with Terminal(tmp_path) as terminal:
        yield terminal


@needs_tmux
def test_a_live_stream_is_watched_until_q_and_the_terminal_is_as_it_was(
    programs: Programs, terminal: Terminal, name: str
) -> None:
    programs.run(name, "--frequency", "second", "--frequency", "day")
    programs.chronostream("tail", name).out.line()
    settings = terminal.settings()
    terminal.run(f"{CHRONOSTREAM} top --interval 200ms {name}")
    terminal.wait_for(rf"● {name}  live  running +\d\.\d+/s")
    terminal.wait_for(r"second +\d+s ago +\d+ +0 +\d+(\.\d+)? [µm]s .* [▁▂▃▄▅▆▇█·]{13}")
    terminal.wait_for(r"day +none yet +0")
    terminal.wait_for(r"chronostream tail +\d+ +\S+/s +▕ {20}▏ +0 of 65,536 +0 ")
    first = terminal.wait_for(r"(\d+) published")[1]
    wait_until(lambda: terminal.wait_for(r"(\d+) published")[1] != first)  # it moves by itself
    assert terminal.settings() != settings
    terminal.type("q")
    terminal.wait_for_prompt()
    assert terminal.settings() == settings
    terminal.run("echo status $?")
    terminal.wait_for("^status 0$")


@needs_tmux
@pytest.mark.parametrize("end", ["C-c", "SIGTERM"])
def test_however_it_ends_the_terminal_is_as_it_was(terminal: Terminal, name: str, end: str) -> None:
    settings = terminal.settings()
    with Producer.create(name, "<i8", 8):
        terminal.run(f"{CHRONOSTREAM} top {name}; echo status $?")
        terminal.wait_for(f"● {name}")
        if end == "C-c":
            terminal.type(end)
        else:
            os.kill(child_of_shell(terminal), signal.SIGTERM)
        terminal.wait_for_prompt()
    terminal.wait_for("^status 0$")
    assert "Traceback" not in terminal.screen()
    assert terminal.settings() == settings


@needs_tmux
def test_suspended_it_gives_the_terminal_back_and_takes_it_again(terminal: Terminal, name: str) -> None:
    settings = terminal.settings()
    with Producer.create(name, "<i8", 8):
        terminal.run(f"{CHRONOSTREAM} top {name}")
        terminal.wait_for(f"● {name}")
        terminal.type("C-z")
        terminal.wait_for_prompt()
        assert terminal.settings() == settings
        terminal.run("fg")
        terminal.wait_for(f"● {name}")
        terminal.type("q")
        terminal.wait_for_prompt()
    assert terminal.settings() == settings


@needs_tmux
def test_what_does_not_fit_is_moved_to_and_a_held_picture_stays(terminal: Terminal, name: str) -> None:
    with Producer.create(name, "<i8", 64) as producer:
        consumers = [Consumer.attach(name, label=f"reader {number}") for number in range(40)]
        terminal.run(f"{CHRONOSTREAM} top --interval 100ms {name}")
        terminal.wait_for("reader 1 ")
        assert "reader 39" not in terminal.screen()
        terminal.wait_for(r"^ q quit   space hold   ↑ ↓ lines 1 to 28 of 44$")
        terminal.type("j")
        terminal.wait_for("lines 2 to 29 of 44$")
        terminal.type("Up", "Up", "Escape", "F5")
        terminal.wait_for("lines 1 to 28 of 44$")
        terminal.type("NPage", "NPage", "NPage")
        terminal.wait_for("reader 39")
        terminal.wait_for("lines 17 to 44 of 44$")
        terminal.resize(120, 60)
        terminal.wait_for(r"^ q quit   space hold$")
        terminal.wait_for("reader 0 ")
        terminal.type("Space")
        terminal.wait_for("space go on")
        producer.publish_many(range(10))
        time.sleep(0.5)  # for several looks, if it did not hold
        assert "10 of 64" not in terminal.screen()
        terminal.type("Space")
        terminal.wait_for(r"reader 39 .* 10 of 64")
        for consumer in consumers:
            consumer.close()
        terminal.wait_for("no registered consumers")


def test_a_pipe_gets_one_plain_picture(capfd: pytest.CaptureFixture[str]) -> None:
    with Run() as run:
        run.start()
        run.after(1)
        assert main(["top", run.name, "--interval", "100ms"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert "\x1b" not in out
    assert out.count(f"● {run.name}  live  running  0.00/s") == 1
    assert re.search(r"second +\d+d \d+h ago +1 ", out)
    assert "q quit" not in out
    assert {len(line) for line in out.splitlines()[1:]} == {120}


@needs_tmux
def test_a_terminal_that_can_do_nothing_gets_a_plain_picture_too(terminal: Terminal, name: str) -> None:
    with Producer.create(name, "<i8", 8):
        terminal.run(f"TERM=dumb {CHRONOSTREAM} top --interval 100ms {name}; echo status $?")
        terminal.wait_for("^status 0$")
        terminal.wait_for(f"● {name}  live  0.00/s")


def child_of_shell(terminal: Terminal) -> int:
    """Return the process that the shell waits for."""
    [shell] = re.findall(r"\d+", terminal._tmux("display", "-p", "-t", "0", "#{pane_pid}"))
    [child] = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
    return int(child)

"""Two producers, two relays, a cluster of three nodes and two mirrors, whose processes are killed at random.

The test suite runs this for some seconds, `scripts/soak-nats` for any time.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from chronostream import event_ids, subscribe
from tests.bridges.harness import Cluster, S, Source, boundary_events, segments
from tests.process_harness import Program, Programs

START_NS = 1_711_845_000_000_000_000  # 2024-03-31T00:30Z: half an hour before Europe/Berlin loses an hour
FREQUENCIES = ("second", "minute", "hour", "day")
ZONE = "Europe/Berlin"
CAPACITY = 1 << 18
_TIMEOUT_S = 60.0
_CATCH_UP_S = 0.1  # the probability that one producer sleeps
_SIDES = ("a", "b")


class Outcome(NamedTuple):
    """The result of a run.

    Attributes:
        expected: the ids that each mirror must hold.
        mirrored: the ids that each mirror holds, in order.
        kills: number of kills of each kind of process.
    """

    expected: list[str]
    mirrored: list[list[str]]
    kills: Counter[str]


def run(directory: Path, for_s: float, seed: int, *, log: Callable[[str], None] = lambda _: None) -> Outcome:
    """Run for `for_s` seconds, then until the mirrors hold everything or a timeout expires."""
    with segments("accept") as own, contextlib.ExitStack() as closing:
        stage = _Stage(own, closing.enter_context(Cluster(directory)), closing, random.Random(seed), log)
        end_s = time.monotonic() + for_s
        while time.monotonic() < end_s:
            stage.emit()
            stage.kill_and_revive()
        stage.revive(everything=True)
        expected = event_ids(
            boundary_events(FREQUENCIES, START_NS + 1, START_NS + stage.emitted_s * S + 1, ZONE)
        ).tolist()
        log(f"{len(expected)} events emitted, {dict(stage.kills)} killed; waiting for the mirrors")
        mirrored = [stage.held(side, len(expected)) for side in _SIDES]
    return Outcome(expected, mirrored, stage.kills)


class _Stage:
    """All processes of a run."""

    def __init__(
        self,
        own: str,
        cluster: Cluster,
        closing: contextlib.ExitStack,
        chance: random.Random,
        log: Callable[[str], None],
    ) -> None:
        self.emitted_s = 0
        self.kills: Counter[str] = Counter()
        self._own, self._cluster, self._chance, self._log = own, cluster, chance, log
        self._sources = [closing.enter_context(self._source(side)) for side in _SIDES]
        self._programs = closing.enter_context(Programs())
        self._commands: dict[str, Program] = {}
        closing.callback(self._end)
        self._parts = [f"{role} {side}" for role in ("relay", "mirror") for side in _SIDES]
        for part in self._parts:
            self._start(part)
        self._victims: list[str] = []
        self._dead: list[tuple[float, str, Callable[[], object]]] = []  # when to revive which process, and how
        self._next_kill_s = time.monotonic() + 1

    def emit(self) -> None:
        """Let both producers emit some seconds, one before the other, or asleep so that it misses some of them."""
        seconds = self._chance.randrange(1, 40)
        asleep = self._chance.choice(self._sources) if self._chance.random() < _CATCH_UP_S else None
        for source in self._chance.sample(self._sources, 2):
            source.advance(seconds, asleep=source is asleep)
            time.sleep(self._chance.uniform(0, 0.05))
        self.emitted_s += seconds

    def kill_and_revive(self) -> None:
        """Kill a process from time to time, each equally often, and start it again later."""
        self.revive()
        now_s = time.monotonic()
        if now_s < self._next_kill_s:
            return
        self._next_kill_s = now_s + self._chance.uniform(0.3, 1.2)
        if not self._victims:
            self._victims = self._chance.sample([*self._parts, "node"], len(self._parts) + 1)
        victim = self._victims.pop()
        if victim in (part for _, part, _ in self._dead):
            return
        self.kills[victim.partition(" ")[0]] += 1
        self._log(f"{self.emitted_s} s emitted, killing {victim}")
        if victim == "node":
            node = self._chance.choice(self._cluster.servers)
            node.kill()
            revive: Callable[[], object] = node.start
        else:
            self._log(self._kill(victim))
            revive = partial(self._start, victim)
        self._dead.append((now_s + self._chance.uniform(0, 1.5), victim, revive))

    def revive(self, *, everything: bool = False) -> None:
        """Start the killed processes whose time has come, or all."""
        now_s = time.monotonic()
        due = [entry for entry in self._dead if everything or entry[0] <= now_s]
        for entry in due:
            self._dead.remove(entry)
            entry[2]()

    def held(self, side: str, count: int) -> list[str]:
        """Return the ids in a mirror's ring, once there are `count`, or after a timeout."""
        deadline_s = time.monotonic() + _TIMEOUT_S
        with subscribe(f"{self._own}-mirror-{side}", start="oldest", wait_s=_TIMEOUT_S) as events:
            while events.lag < count and time.monotonic() < deadline_s:
                time.sleep(0.05)
                ended = [part for part, command in self._commands.items() if command.process.poll() is not None]
                assert not ended, "a process ended by itself"
            ids: list[str] = event_ids(events.read()).tolist()
        return ids

    def _source(self, side: str) -> Source:
        return Source(
            f"{self._own}-source-{side}",
            START_NS,
            frequencies=FREQUENCIES,
            timezone=ZONE,
            capacity=CAPACITY,
            coalesce="earliest",
        )

    def _start(self, part: str) -> None:
        role, _, side = part.partition(" ")
        if role == "relay":
            arguments = ["relay", f"{self._own}-source-{side}", "--to", self._cluster.url, "--as", self._own]
            arguments += ["--replicas", "3", "--gap-timeout", "30s"]
        else:
            arguments = ["mirror", self._cluster.url, self._own, "--as", f"{self._own}-mirror-{side}"]
            arguments += ["--capacity", str(CAPACITY)]
        self._commands[part] = self._programs.chronostream(*arguments, stderr=subprocess.STDOUT)

    def _kill(self, part: str) -> str:
        """Kill a process, and return its output."""
        self._commands[part].stop(signal.SIGKILL)
        return self._commands[part].out.rest()

    def _end(self) -> None:
        for part in self._commands:
            self._log(f"{part}:\n{self._kill(part)}")

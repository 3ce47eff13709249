"""Two producers, two relays, a cluster of three, two mirrors, and somebody who kills them at random.

The test suite runs it for some seconds, `scripts/soak-nats` for as long as you like.
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
_PATIENCE_S = 60.0
_CATCH_UP_S = 0.1  # of the time, one producer sleeps
_SIDES = ("a", "b")


class Outcome(NamedTuple):
    """What came of it.

    Attributes:
        expected: the ids that each mirror must hold.
        mirrored: the ids that each does hold, in their order.
        kills: how often each kind of part was killed.
    """

    expected: list[str]
    mirrored: list[list[str]]
    kills: Counter[str]


def run(directory: Path, for_s: float, seed: int, *, say: Callable[[str], None] = lambda _: None) -> Outcome:
    """Run it for so many seconds, and then until the mirrors have everything, or have had time enough."""
    with segments("accept") as own, contextlib.ExitStack() as closing:
        stage = _Stage(own, closing.enter_context(Cluster(directory)), closing, random.Random(seed), say)
        end_s = time.monotonic() + for_s
        while time.monotonic() < end_s:
            stage.emit()
            stage.kill_and_revive()
        stage.revive(everybody=True)
        expected = event_ids(
            boundary_events(FREQUENCIES, START_NS + 1, START_NS + stage.emitted_s * S + 1, ZONE)
        ).tolist()
        say(f"{len(expected)} events emitted, {dict(stage.kills)} killed; waiting for the mirrors")
        mirrored = [stage.held(side, len(expected)) for side in _SIDES]
    return Outcome(expected, mirrored, stage.kills)


class _Stage:
    """All the parts, and what happens to them."""

    def __init__(
        self,
        own: str,
        cluster: Cluster,
        closing: contextlib.ExitStack,
        chance: random.Random,
        say: Callable[[str], None],
    ) -> None:
        self.emitted_s = 0
        self.kills: Counter[str] = Counter()
        self._own, self._cluster, self._chance, self._say = own, cluster, chance, say
        self._sources = [closing.enter_context(self._source(side)) for side in _SIDES]
        self._programs = closing.enter_context(Programs())
        self._commands: dict[str, Program] = {}
        closing.callback(self._end)
        self._parts = [f"{role} {side}" for role in ("relay", "mirror") for side in _SIDES]
        for part in self._parts:
            self._start(part)
        self._victims: list[str] = []
        self._dead: list[tuple[float, str, Callable[[], object]]] = []  # when to revive whom, and how
        self._next_kill_s = time.monotonic() + 1

    def emit(self) -> None:
        """Let both producers emit some seconds; one ahead of the other, or asleep so that it misses some of them."""
        seconds = self._chance.randrange(1, 40)
        asleep = self._chance.choice(self._sources) if self._chance.random() < _CATCH_UP_S else None
        for source in self._chance.sample(self._sources, 2):
            source.advance(seconds, asleep=source is asleep)
            time.sleep(self._chance.uniform(0, 0.05))
        self.emitted_s += seconds

    def kill_and_revive(self) -> None:
        """Kill a part now and then, each kind as often as the others, and start it again after a while."""
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
        self._say(f"{self.emitted_s} s emitted, killing {victim}")
        if victim == "node":
            node = self._chance.choice(self._cluster.servers)
            node.kill()
            revive: Callable[[], object] = node.start
        else:
            self._say(self._kill(victim))
            revive = partial(self._start, victim)
        self._dead.append((now_s + self._chance.uniform(0, 1.5), victim, revive))

    def revive(self, *, everybody: bool = False) -> None:
        """Start what was killed and has been dead for long enough."""
        now_s = time.monotonic()
        due = [entry for entry in self._dead if everybody or entry[0] <= now_s]
        for entry in due:
            self._dead.remove(entry)
            entry[2]()

    def held(self, side: str, count: int) -> list[str]:
        """Return the ids in a mirror's ring, once there are so many, or nothing more can be hoped for."""
        deadline_s = time.monotonic() + _PATIENCE_S
        with subscribe(f"{self._own}-mirror-{side}", start="oldest", wait_s=_PATIENCE_S) as events:
            while events.lag < count and time.monotonic() < deadline_s:
                time.sleep(0.05)
                ended = [part for part, command in self._commands.items() if command.process.poll() is not None]
                assert not ended, "it ended by itself"
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
            arguments += ["--replicas", "3", "--patience", "30s"]
        else:
            arguments = ["mirror", self._cluster.url, self._own, "--as", f"{self._own}-mirror-{side}"]
            arguments += ["--capacity", str(CAPACITY)]
        self._commands[part] = self._programs.chronostream(*arguments, stderr=subprocess.STDOUT)

    def _kill(self, part: str) -> str:
        """Kill it, and return what it had printed."""
        self._commands[part].stop(signal.SIGKILL)
        return self._commands[part].out.rest()

    def _end(self) -> None:
        for part in self._commands:
            self._say(f"{part}:\n{self._kill(part)}")

from __future__ import annotations

import dataclasses
import io
import re

import numpy as np
import pytest
from rich.console import Console

from chronostream.cli.figures import NO_STREAMS
from chronostream.cli.top_view import Frame, shape_text
from chronostream.observe.change import changes
from chronostream.observe.survey import Survey, Unreadable, survey
from chronostream.ring import Consumer, Producer
from chronostream.stream.lateness import BUCKETS, bucket_of
from tests.engine_harness import DAY, NOON_S, NS, SECOND, Run
from tests.mirror_harness import mirrored


def drawn(after: Survey, before: Survey | None = None, width: int = 120, missing: tuple[str, ...] = ()) -> str:
    """Return the picture of a survey as plain text."""
    console = Console(file=io.StringIO(), width=width)
    console.print(Frame(after, changes(before or after, after), 10, missing))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def line_with(picture: str, text: str) -> str:
    [line] = [line.strip("│ ") for line in picture.splitlines() if text in line]
    return line


def test_the_head_counts_streams_by_their_state(name: str) -> None:
    with Producer.create(name, "<i8", 8), Run() as closed:
        closed.start().close()
        found = survey([name, closed.name])
        found = dataclasses.replace(
            found, realtime_ns=NOON_S * NS, unreadable=(Unreadable("torn", "broken", "it is damaged"),)
        )
        picture = drawn(found)
    head = picture.splitlines()[0]
    assert head.split("  ")[:3] == [" chronostream", "3 streams", "1 live, 1 closed, 1 broken"]
    assert head.endswith("  2023-11-14T12:00:00Z")
    assert "it is damaged" in line_with(picture, "it is damaged")


def test_a_stream_is_told_with_its_facts_and_its_frequencies() -> None:
    with Run(SECOND, DAY, timezone="Europe/Berlin") as run:
        run.start()
        run.after(0.5)
        before = survey([run.name])
        run.after(5.25)
        after = dataclasses.replace(survey([run.name]), realtime_ns=run.clock.realtime_ns())
        picture = drawn(after, before)
    assert "generation 1" in picture
    assert "Europe/Berlin, counting sequences   2 published, ring of 64" in picture
    assert line_with(picture, "second ").split() == [
        *["second", "4s", "ago", "2", "4", "+4"],
        *["0", "ns", "4.25", "s", "4.25", "s", "4.25", "s", "4.25", "s"],
        "█··········█·",
    ]
    assert line_with(picture, "day ").split() == ["day", "none", "yet", "0"]


def test_a_clock_that_is_not_trusted_is_told() -> None:
    with Run() as run:
        run.start()
        run.after(1)
        run.clock.step(-1000 * NS)
        run.look()
        assert f"● {run.name}  live  held" in drawn(survey([run.name]))


def test_a_producer_that_hangs_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with Run() as run:
        run.start()
        run.after(1)
        run.hang(7, monkeypatch)
        assert f"● {run.name}  live  overdue" in drawn(survey([run.name]))


@pytest.mark.parametrize(
    ("stale", "connected", "condition"),
    [(False, True, "current"), (True, True, "stale"), (True, False, "not connected")],
)
def test_a_mirror_is_told_with_its_source_and_how_fresh_it_is(
    name: str, stale: bool, connected: bool, condition: str
) -> None:
    with mirrored(name, stale=stale, connected=connected):
        picture = drawn(survey([name]))
    assert f"● {name}  live  {condition} ─" in picture
    assert "mirror of hub-clock, Europe/Berlin" in picture


def test_what_others_wrote_is_shown_without_what_a_terminal_would_obey(name: str) -> None:
    with Producer.create(name, "<i8", 8), Consumer.attach(name, label="\x1b[2Jgone\x07"):
        picture = drawn(survey([name]))
    assert "\x1b" not in picture
    assert "\ufffd[2Jgone\ufffd" in picture


def test_a_stream_that_does_not_live_has_no_rate_and_no_condition() -> None:
    with Run() as run:
        run.start()
        run.die()
        before = survey([run.name])
        assert f"● {run.name}  dead ─" in drawn(survey([run.name]), before)


def test_consumers_are_told_with_their_lag_as_a_bar(name: str) -> None:
    with (
        Producer.create(name, "<i8", 64) as producer,
        Consumer.attach(name, label="quick") as quick,
        Consumer.attach(name, label="slow") as slow,
        Consumer.attach(name, label="") as lost,
    ):
        producer.publish_many(range(64))
        slow.read(28)
        lost.read(1)
        before = survey([name])
        producer.publish_many(range(28))
        quick.read()
        lost.read(5)
        picture = drawn(survey([name]), before)
    assert bar(picture, "quick ") == ("▕                    ▏", "0 of 64", "28 +28")
    assert bar(picture, "slow ") == ("▕████████████████████▏", "64 of 64", "0")
    assert bar(picture, "unnamed ") == ("▕██████████████████▌ ▏", "59 of 64", "27 +27")


def bar(picture: str, label: str) -> tuple[str, str, str]:
    """Return a consumer's lag as a bar and in figures, and its losses."""
    found = re.search(r"(▕.{20}▏) +(\d+ of \d+) +(\S+( \+\d+)?)", line_with(picture, label))
    assert found
    return found[1], found[2], found[3]


@pytest.mark.parametrize(
    ("lateness_ns", "shape"),
    [
        ([], "·" * 13),
        ([1023], "█" + "·" * 12),
        ([1024, 4095], "·█" + "·" * 11),
        ([1 << 32], "·" * 12 + "█"),
        ([100, *[5000] * 1000], "▂·█" + "·" * 10),
    ],
)
def test_a_shape_has_a_column_for_each_four_times_later(lateness_ns: list[int], shape: str) -> None:
    counts = np.zeros(BUCKETS, np.uint64)
    for late_ns in lateness_ns:
        counts[bucket_of(late_ns)] += 1
    assert shape_text(counts) == shape


def test_without_streams_it_says_how_to_start_one() -> None:
    assert NO_STREAMS in drawn(survey([]))


def test_a_stream_that_was_asked_for_and_is_not_there_is_named() -> None:
    assert "not on this machine: nowhere" in drawn(survey([]), missing=("nowhere",))


def test_on_a_narrow_terminal_losses_are_not_cut_off(name: str) -> None:
    with (
        Producer.create(name, "<i8", 1024) as producer,
        Consumer.attach(name, label="a reader of a long name") as reader,
    ):
        producer.publish_many(range(1536))
        reader.read(512)
        picture = drawn(survey([name]), width=80)
    assert re.search(r"▕████    ▏ +512 +512 +│", picture)


def test_on_a_very_narrow_terminal_misses_and_losses_are_still_there(name: str) -> None:
    with (
        Run(SECOND, DAY) as run,
        Producer.create(name, "<i8", 1024) as producer,
        Consumer.attach(name, label="plotter") as reader,
    ):
        run.start()
        run.after(0.5)
        producer.publish_many(range(1024))
        before = survey([run.name, name])
        run.after(86_000)
        producer.publish_many(range(512))
        reader.read(512)
        picture = drawn(survey([run.name, name]), before, width=40)
    assert all(len(line) == 40 for line in picture.splitlines())
    assert line_with(picture, "EVENT").split() == ["EVENT", "LAST", "MISSED"]
    assert line_with(picture, "second ").split()[-2:] == ["85,999", "+85,999"]
    assert line_with(picture, "CONSUMER").split() == ["CONSUMER", "LAG", "LOST"]
    assert line_with(picture, "plotter").split() == ["plotter", "512", "512", "+512"]


def test_it_is_as_wide_as_the_paper(name: str) -> None:
    with Producer.create(name, "<i8", 8), Consumer.attach(name, label="a reader with a rather long name"):
        for width in (60, 100, 200):
            assert max(map(len, drawn(survey([name]), width=width).splitlines())) == width

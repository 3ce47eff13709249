"""Streams whose bytes are not what they must be: each command and each observer goes on, and writes nothing raw."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from rich.console import Console

import chronostream as cs
from chronostream import ring
from chronostream.backfill import verify_stream
from chronostream.cli import main
from chronostream.cli.top_view import Frame
from chronostream.errors import ChronoStreamError, CorruptSegmentError
from chronostream.event import EVENT_DTYPE, FREQUENCIES, build_events
from chronostream.observe.change import changes
from chronostream.observe.metrics import StreamCollector
from chronostream.observe.survey import survey
from chronostream.recorder import Recorder
from chronostream.ring import Consumer, Producer
from chronostream.scheduler import FrequencyState, SchedulerState
from chronostream.stream.description import Description, MirrorSource
from chronostream.stream.state import STATE_SIZE, Checkpoint, Freshness, Published, StateWriter
from tests.ring.harness import overwrite
from tests.streams import NOON_NS, seconds

DIRECTORY, CHECKPOINTS, CHECKPOINT_SIZE = slice(0, 256), (512, 1024), 184
SECTIONS = (0, 16, 20, 24, 36, 256, 264, 280, 512, 1024, 1536, 1544, 2048, 2112, 2368, 2560, 4096, 4104)


def sound(kind: str) -> bytes:
    """Return the application area of an engine or a mirror."""
    area = bytearray(STATE_SIZE)
    state = StateWriter(memoryview(area))
    source = MirrorSource("hub", "HUB", "2026a") if kind == "mirror" else None
    state.describe(Description(FREQUENCIES, "Europe/Berlin", "boundary", source))
    floors = tuple(FrequencyState(frequency, NOON_NS, 1) for frequency in FREQUENCIES)
    published = dict.fromkeys(FREQUENCIES, Published(3, NOON_NS))
    state.save(Checkpoint(3, bytes(16), SchedulerState(NOON_NS, 1, floors), published))
    for frequency in FREQUENCIES:
        state.count_lateness(frequency, 1000)
    state.save_freshness(Freshness(NOON_NS, None, True, 3, 0))
    return bytes(area)


SOUND = {kind: sound(kind) for kind in ("engine", "mirror")}
BYTES = st.one_of(
    st.binary(min_size=1, max_size=64),
    st.sampled_from(
        [b"\xff" * 8, b"\0" * 8, b"\xff" * 400, b"\x7f" * 8, b"\0" * 7 + b"\x80", b"\x1b[2J", b"../../etc"]
    ),
)
PATCHES = st.lists(st.tuples(st.one_of(st.sampled_from(SECTIONS), st.integers(0, STATE_SIZE - 1)), BYTES), max_size=8)


CASES = st.tuples(st.sampled_from(sorted(SOUND)), st.none() | st.integers(0, 1 << 32), PATCHES, st.integers(0, 3))
"""What an area is made from: a kind of producer, maybe a seed, changes, and whether its checksums are mended."""


def area_of(kind: str, seed: int | None, patches: list[tuple[int, bytes]], mended: int) -> bytes:
    """Return an area in which anything may stand, mostly behind a directory and checksums that are right."""
    area = bytearray(SOUND[kind]) if seed is None else bytearray(random.Random(seed).randbytes(STATE_SIZE))
    for offset, data in patches:
        area[offset : offset + len(data)] = data[: STATE_SIZE - offset]
    if mended:
        area[DIRECTORY] = SOUND[kind][DIRECTORY]
        for start in CHECKPOINTS:
            checksum = zlib.crc32(area[start + 8 : start + CHECKPOINT_SIZE])
            area[start : start + 4] = checksum.to_bytes(4, "little")
    return bytes(area)


def run(*arguments: str) -> tuple[int, str, str]:
    """Run a command in this process; return its status, and what it printed on stdout and stderr."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = main(arguments)
    return status, out.getvalue(), err.getvalue()


def in_our_tree(action: Callable[[], object]) -> None:
    """Do something that may end with an error of ours, and no other."""
    with contextlib.suppress(ChronoStreamError):
        action()


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have only these streams of the machine listed."""
    return lambda *names: monkeypatch.setattr(ring, "list_names", lambda: list(names))


@pytest.fixture
def producer(name: str, only: Callable[..., None]) -> Iterator[Producer]:
    """A ring of three events with room for a state; the only one that is listed."""
    only(name)
    with Producer.create(name, EVENT_DTYPE, 8, application_size=STATE_SIZE) as producer:
        producer.publish_many(seconds(1, 3))
        yield producer


_SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@settings(_SHARED, max_examples=200)
@given(case=CASES)
def test_whatever_stands_in_the_application_area_every_observer_answers(producer: Producer, case: Any) -> None:
    before = survey()
    producer.application[:] = area_of(*case)
    found = survey()
    assert [stream.ring.name for stream in found.streams] == [producer.name]
    console = Console(file=io.StringIO(), width=100)
    console.print(Frame(found, changes(before, found), 10))
    registry = CollectorRegistry()
    registry.register(StreamCollector())
    metrics = generate_latest(registry).decode()
    assert f'chronostream_state{{state="live",stream="{producer.name}"}} 1.0' in metrics


@settings(_SHARED, max_examples=15)
@given(case=CASES)
def test_whatever_stands_in_the_application_area_every_command_answers(producer: Producer, case: Any) -> None:
    producer.application[:] = area_of(*case)
    for command in (["list"], ["status"], ["status", producer.name], ["top", "--once", "--interval", "50ms"]):
        status, out, err = run(*command)
        assert (status, err) == (0, "")
        assert producer.name in out
    plain = json.loads(run("status", producer.name, "--format", "json")[1])
    assert plain["state"] == "live"
    assert json.loads(run("status", "--format", "json")[1]) == [plain]
    assert run("verify", producer.name)[0] in (0, 1, 2)


@settings(_SHARED, max_examples=100)
@given(case=CASES)
@example(case=("engine", None, [(280, b"../../etc")], 1))
@example(case=("engine", None, [(280, b"Nowhere/A")], 1))
def test_whatever_stands_in_the_application_area_every_reader_gets_an_answer_or_an_error_of_ours(
    producer: Producer, tmp_path: Path, case: Any
) -> None:
    name, numbers = producer.name, itertools.count(len(list(tmp_path.iterdir())))
    producer.application[:] = area_of(*case)
    in_our_tree(lambda: verify_stream(name))
    in_our_tree(lambda: verify_stream(name, frequencies=["second"], timezone="UTC", sequencer="counting"))
    in_our_tree(lambda: cs.every("second", name).close())

    def record() -> None:
        with Recorder(name, tmp_path / str(next(numbers))) as recorder:
            recorder.run(for_s=0)
            recorder.take()
            recorder.finish_file()

    in_our_tree(record)


@settings(_SHARED, max_examples=60)
@given(case=CASES)
def test_whatever_stands_in_the_application_area_an_engine_takes_it_over_or_refuses_it(name: str, case: Any) -> None:
    with Producer.create(name, EVENT_DTYPE, 8, application_size=STATE_SIZE) as producer:
        producer.publish_many(seconds(1, 3))
        producer.application[:] = area_of(*case)
        config = cs.StreamConfig(name=name, frequencies=FREQUENCIES, timezone="Europe/Berlin", sequencer="boundary")
        in_our_tree(lambda: cs.Engine(config, ring=producer).close())


def test_the_mark_of_a_mirror_on_a_ring_of_somebodys_own_hides_no_other_stream(
    producer: Producer, only: Callable[..., None]
) -> None:
    producer.application[:7] = b"MIRROR\x01"
    other = f"{producer.name}-other"
    with Producer.create(other, "<i8", 8):
        only(producer.name, other)
        status, out, err = run("list")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["NAME", producer.name, other]


def test_a_state_of_another_version_is_told_beside_the_ring(producer: Producer) -> None:
    producer.application[:] = SOUND["engine"]
    producer.application[20] = 2
    _, out, _ = run("status", producer.name)
    assert (
        "\n  state      the stream's state has version 2, this program reads 1: remove the stream (`chronostream re"
        in out
    )
    assert json.loads(run("status", "--format", "json")[1])[0]["error"].startswith("the stream's state has version 2")
    assert "the stream's state has version 2" in run("top", "--once", "--interval", "50ms")[1]
    assert f"{producer.name} cannot be described (the stream's state has version 2" in run("doctor")[1]


def test_an_engine_that_finds_a_state_of_another_version_says_what_to_do(name: str) -> None:
    with Producer.create(name, EVENT_DTYPE, 8, application_size=STATE_SIZE) as producer:
        producer.application[:] = SOUND["engine"]
        producer.application[20] = 2
        config = cs.StreamConfig(name=name)
        with pytest.raises(CorruptSegmentError, match=r"has version 2, this program reads 1: .*`chronostream remove`"):
            cs.Engine(config, ring=producer)
        assert bytes(producer.application[21:]) == SOUND["engine"][21:]


def test_an_engine_does_not_take_a_mirror_over(name: str) -> None:
    with Producer.create(name, EVENT_DTYPE, 8, application_size=STATE_SIZE) as producer:
        producer.application[:] = SOUND["mirror"]
        config = cs.StreamConfig(name=name, frequencies=FREQUENCIES, timezone="Europe/Berlin", sequencer="boundary")
        with pytest.raises(cs.errors.StreamMismatchError, match=f"mirrored from 'hub', .*chronostream remove {name}"):
            cs.Engine(config, ring=producer)
        assert bytes(producer.application) == SOUND["mirror"]


ODD = "\x1b[31m\n\x9b\u202e"


@pytest.fixture
def raw(name: str, only: Callable[..., None]) -> Iterator[tuple[str, ...]]:
    """Streams with escapes and line ends in every text of theirs."""
    names = mirror, damaged, plain, broken = tuple(
        f"{name}-{kind}" for kind in ("mirror", "damaged", "plain", "broken")
    )
    only(*names)
    with contextlib.ExitStack() as opened:

        def create(name: str, dtype: Any, size: int = 0) -> Producer:
            made = Producer.create(name, dtype, 8, application_size=size, producer_version=ODD, instance_id=ODD)
            opened.enter_context(made)
            opened.enter_context(Consumer.attach(name, label=ODD))
            return made

        for each in (mirror, damaged):
            events = create(each, EVENT_DTYPE, STATE_SIZE)
            events.publish_many(build_events("second", [NOON_NS, NOON_NS + 1], [1, 2], ODD, ODD))
            state = StateWriter(events.application)
            state.describe(Description(FREQUENCIES, "UTC", "boundary", MirrorSource(ODD, ODD, ODD)))
            if each == damaged:
                events.application[280:284] = ODD[:4].encode()
        create(plain, np.dtype([(ODD, "<i8")]))
        create(broken, "<i8")
        text = rb'"\u001b[2J\u009b"'
        overwrite(broken, 12, len(text).to_bytes(4, "little"))
        overwrite(broken, 1024, text)
        yield names


def shown(*arguments: str) -> str:
    """Return what a command printed, all of it; nothing in that is anything but text."""
    _, out, err = run(*arguments)
    text = out + err
    assert all(character.isprintable() or character == "\n" for character in text), ascii(text)
    return text


def test_no_command_writes_a_text_of_a_segment_raw(raw: tuple[str, ...], tmp_path: Path) -> None:
    mirror, *_ = raw
    everything = shown("status")
    assert everything.count("\n\n") == len(raw) - 1
    for label in ("mirror     of", "instance  ", "consumer  "):
        assert f"  {label} �[31m���" in everything
    assert "the header's dtype" in everything
    assert "consumer" not in shown("list")
    assert "�[31m���" in shown("top", "--once", "--interval", "50ms")
    assert "�[2J�" in shown("doctor")
    for name in raw:
        assert shown("status", name)
        for command in (
            ["tail", name, "--count", "1"],
            ["verify", name],
            ["verify", name, "--frequency", "second", "--timezone", "UTC", "--sequence", "boundary"],
            ["record", name, "--to", str(tmp_path / name), "--for", "10ms"],
            ["run", name],
            ["replay", name, "--from", "2024-01-01", "--to", "2024-01-02"],
            ["remove", name],
        ):
            assert shown(*command)
    assert "\\u001b" in shown("status", mirror, "--format", "json")
    assert shown("list", "--format", "json")


def test_no_command_writes_a_text_of_a_stream_raw_that_it_does_not_take_over(raw: tuple[str, ...]) -> None:
    for name in raw:
        Producer.create(f"{name}-dead", "<i8", 8, producer_version=ODD, instance_id=ODD).close(remove=False)
        assert "requested was" in shown("run", f"{name}-dead")
        assert shown("remove", f"{name}-dead") == f"stream '{name}-dead' removed\n"

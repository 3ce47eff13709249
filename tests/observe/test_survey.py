from __future__ import annotations

import time

import pytest

from chronostream import ring
from chronostream.observe.survey import survey
from chronostream.ring import Producer
from tests.engine_harness import Run
from tests.ring.harness import overwrite, path_of


def test_all_streams_of_the_machine_are_found(run: Run, name: str) -> None:
    with Producer.create(name, "<i8", 8):
        found = {stream.ring.name: stream for stream in survey().streams}
    assert found[run.name].engine is not None
    assert found[name].engine is None


def test_only_those_that_were_asked_for_are_looked_at_and_each_once(run: Run, name: str) -> None:
    found = survey([run.name, name, run.name])
    assert [stream.ring.name for stream in found.streams] == [run.name]
    assert found.unreadable == ()


def test_a_broken_stream_hides_no_other_and_says_why(run: Run, name: str) -> None:
    Producer.create(name, "<i8", 8).close(remove=False)
    overwrite(name, 12, b"\xff" * 4)  # the size of the dtype's text
    found = survey([name, run.name])
    assert [stream.ring.name for stream in found.streams] == [run.name]
    [broken] = found.unreadable
    assert (broken.name, broken.state) == (name, "broken")
    assert "damaged" in broken.error


def test_what_this_user_may_not_trust_is_denied(name: str) -> None:
    path_of(name).mkdir()
    try:
        [denied] = survey([name]).unreadable
    finally:
        path_of(name).rmdir()
    assert (denied.name, denied.state) == (name, "denied")
    assert "is not a regular file" in denied.error


def test_a_stream_that_vanishes_while_one_looks_is_left_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "list_names", lambda: [run.name, "vanished"])
    found = survey()
    assert ([stream.ring.name for stream in found.streams], found.unreadable) == ([run.name], ())


def test_it_says_when(run: Run) -> None:
    before = time.time_ns(), time.monotonic_ns()
    found = survey([run.name])
    assert before[0] <= found.realtime_ns <= time.time_ns()
    assert before[1] <= found.monotonic_ns <= time.monotonic_ns()

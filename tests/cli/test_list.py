from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest

from chronostream.cli import main
from chronostream.event import EVENT_DTYPE
from chronostream.ring import Consumer, Producer
from tests.engine_harness import DAY, NOON_S, NS, SECOND, Run
from tests.mirror_harness import mirrored
from tests.ring.harness import overwrite


def line(capfd: pytest.CaptureFixture[str], name: str) -> list[str]:
    """Return the columns of a stream's line."""
    assert main(["list"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    [columns] = [line.split() for line in out.splitlines() if line.split()[0] == name]
    return columns


def test_each_stream_has_one_line_under_its_columns(capfd: pytest.CaptureFixture[str]) -> None:
    pid = str(os.getpid())
    with Run(SECOND, DAY) as run:
        run.start()
        with Consumer.attach(run.name):
            run.after(1)
            assert line(capfd, "NAME") == ["NAME", "STATE", "PID", "CARRIES", "HEAD", "CAPACITY", "CONSUMERS", "LOST"]
            assert line(capfd, run.name) == [run.name, "live", pid, "second,day", "1", "64", "1", "0"]


@pytest.mark.parametrize(
    ("dtype", "carries"),
    [
        (EVENT_DTYPE, "events"),
        ("<i8", "int64"),
        (np.dtype([("price", "f8"), ("size", "i8")]), "records"),
    ],
    ids=str,
)
def test_a_ring_without_an_engine_says_what_it_carries_in_one_word(
    name: str, capfd: pytest.CaptureFixture[str], dtype: Any, carries: str
) -> None:
    with Producer.create(name, dtype, 8):
        assert line(capfd, name)[3] == carries


def test_a_mirror_carries_what_it_mirrors(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with mirrored(name):
        assert line(capfd, name)[3] == "second,hour"


def test_a_producer_that_hangs_has_an_overdue_stream(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Run() as run:
        run.start()
        run.after(1)
        run.hang(7, monkeypatch)
        assert line(capfd, run.name)[:4] == [run.name, "overdue", str(os.getpid()), "second"]
        assert main(["list", "--format", "json"]) == 0
    [found] = [row for row in json.loads(capfd.readouterr().out) if row["name"] == run.name]
    assert (found["state"], found["overdue_since_ns"]) == ("live", (NOON_S + 2) * NS)


def test_losses_of_all_consumers_are_added_up(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with Producer.create(name, "<i8", 8) as producer, Consumer.attach(name) as one, Consumer.attach(name) as other:
        producer.publish_many(range(20))
        one.read()
        other.read()
        assert line(capfd, name)[-2:] == ["2", "24"]


def test_a_broken_stream_is_one_line_too(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    Producer.create(name, "<i8", 8).close(remove=False)
    overwrite(name, 12, b"\xff" * 4)
    assert line(capfd, name) == [name, "broken", *["-"] * 6]


def test_programs_get_one_json_value(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with Producer.create(name, "<i8", 8) as producer:
        producer.publish(1)
        assert main(["list", "--format", "json"]) == 0
    [found] = [row for row in json.loads(capfd.readouterr().out) if row["name"] == name]
    assert found == {
        "name": name,
        "state": "live",
        "pid": os.getpid(),
        "carries": "int64",
        "head": 1,
        "capacity": 8,
        "consumers": 0,
        "lost": 0,
        "overdue_since_ns": None,
    }

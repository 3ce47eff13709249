from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bridges.harness import HELD_S, Server, fill, segments


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a NATS server that all tests share; each test has streams of its own."""
    with Server(tmp_path_factory.mktemp("nats")) as server:
        yield server.url


@pytest.fixture(scope="session")
def small_batches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of another shared server, which allows at most 100 events in a batch."""
    config = "jetstream { limits { batch { max_msgs: 100 } } }"
    with Server(tmp_path_factory.mktemp("small"), config=config) as server:
        yield server.url


@pytest.fixture(scope="session")
def held(url: str) -> Iterator[str]:
    """The name of a stream whose events, those of `HELD`, JetStream holds; tests only read it."""
    with segments("held") as name:
        fill(url, name, HELD_S, frequencies=("second", "minute"))
        yield name


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A NATS server of the test's own, which it may kill; timeouts are shorter than usual."""
    monkeypatch.setattr("chronostream.bridges.connection._REQUEST_TIMEOUT_S", 0.5)
    monkeypatch.setattr("chronostream.bridges.reader._SILENCE_S", 1.0)
    with Server(tmp_path) as server:
        yield server


@pytest.fixture
def name() -> Iterator[str]:
    """A stream name of the test's own, also a prefix of others; their segments are removed afterwards."""
    with segments("bridge") as name:
        yield name

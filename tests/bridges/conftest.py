from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bridges.harness import Server, segments


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a NATS server is that all tests share: each has streams of its own."""
    with Server(tmp_path_factory.mktemp("nats")) as server:
        yield server.url


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A NATS server of the test's own, which it may kill."""
    with Server(tmp_path) as server:
        yield server


@pytest.fixture
def name() -> Iterator[str]:
    """A stream name of the test's own, and the beginning of others; their segments are gone afterwards."""
    with segments("bridge") as name:
        yield name

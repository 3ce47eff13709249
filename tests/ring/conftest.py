from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from chronostream.ring import consumer, shm
from tests.ring.harness import CORES, FORK, PAIRS, Handles


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> str:
    """Each core that runs here."""
    name: str = request.param
    return name


@pytest.fixture(params=PAIRS, ids="-".join)
def ring(request: pytest.FixtureRequest, name: str) -> Iterator[Handles]:
    """A stream whose two sides run each on each core."""
    with Handles(name, *request.param) as handles:
        yield handles


@pytest.fixture
def own(core: str, name: str) -> Iterator[Handles]:
    """A stream whose two sides run on the same core: for what the other side has no part in."""
    with Handles(name, core, core) as handles:
        yield handles


@pytest.fixture
def checks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer that waits looks often whether its producer lives."""
    monkeypatch.setattr(consumer, "LIVENESS_CHECK_S", 0.01)


@pytest.fixture
def never_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a wake can end a wait: one that is lost runs into the test's timeout."""
    monkeypatch.setattr(consumer, "LIVENESS_CHECK_S", 3600.0)


@pytest.fixture
def ready() -> Any:
    """An event that both processes see."""
    return FORK.Event()


@pytest.fixture
def done() -> Iterator[Any]:
    event = FORK.Event()
    yield event
    event.set()


@pytest.fixture
def fd(name: str) -> Iterator[int]:
    fd = shm.create(name)
    yield fd
    os.close(fd)


@pytest.fixture
def other_fd(fd: int, name: str) -> Iterator[int]:
    """Another open file description of the same segment."""
    assert fd >= 0
    other = shm.open_existing(name, writable=True)
    yield other
    os.close(other)

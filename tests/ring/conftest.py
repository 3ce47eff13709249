from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from tests.ring.harness import CORES, PAIRS, Handles, path_of

_numbers = itertools.count()


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> str:
    """Each core that runs here."""
    name: str = request.param
    return name


@pytest.fixture
def name() -> Iterator[str]:
    """A stream name of the test's own; its segment is gone afterwards, whatever happened."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    yield name
    path_of(name).unlink(missing_ok=True)


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

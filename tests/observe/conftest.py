from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from tests.engine_harness import DAY, SECOND, Run
from tests.ring.harness import path_of

_numbers = itertools.count()


@pytest.fixture
def name() -> Iterator[str]:
    """A stream name of the test's own; its segment is gone afterwards, whatever happened."""
    name = f"observe-{os.getpid()}-{next(_numbers)}"
    yield name
    path_of(name).unlink(missing_ok=True)


@pytest.fixture
def run() -> Iterator[Run]:
    """A stream of seconds and days, half a second after noon."""
    with Run(SECOND, DAY, timezone="Europe/Berlin") as run:
        run.start()
        yield run

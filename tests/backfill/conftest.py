from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from tests.ring.harness import path_of

_numbers = itertools.count()


@pytest.fixture
def name() -> Iterator[str]:
    """A stream name of the test's own; its segment is gone afterwards, whatever happened."""
    name = f"test-backfill-{os.getpid()}-{next(_numbers)}"
    yield name
    path_of(name).unlink(missing_ok=True)

"""What every test needs: property tests that try the same examples each time, and names and processes of its own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.process_harness import Programs
from tests.ring.harness import path_of

settings.register_profile("chronostream", deadline=None, derandomize=True, database=None)
settings.load_profile("chronostream")

_numbers = itertools.count()


@pytest.fixture
def name() -> Iterator[str]:
    """A stream name of the test's own; its segment is gone afterwards, whatever happened."""
    name = f"case-{os.getpid()}-{next(_numbers)}"
    yield name
    path_of(name).unlink(missing_ok=True)


@pytest.fixture
def programs() -> Iterator[Programs]:
    """Starts programs; those that still run at the end of the test are killed."""
    with Programs() as programs:
        yield programs

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine_harness import DAY, SECOND, Run


@pytest.fixture
def run() -> Iterator[Run]:
    """A stream of seconds and days, half a second after noon."""
    with Run(SECOND, DAY, timezone="Europe/Berlin") as run:
        run.start()
        yield run

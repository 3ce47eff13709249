from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Undo what a command sets for the rest of its process, which here is the tests' own."""
    logger = logging.getLogger("chronostream")
    level = logger.level
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    logger.setLevel(level)

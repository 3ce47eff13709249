from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Undo what a command, run within the tests' own process, sets for its log."""
    logger = logging.getLogger("chronostream")
    level, converter = logger.level, logging.Formatter.converter
    yield
    logger.setLevel(level)
    logging.Formatter.converter = converter

"""A fixture for pytest: ``pytest_plugins = ["chronostream.testing.pytest"]`` in `conftest.py` makes it available."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from chronostream.testing.feed import Feed

__all__ = ["chronostream_feed"]


@pytest.fixture
def chronostream_feed() -> Iterator[Callable[..., Feed]]:
    """Make feeds, with the arguments of `Feed`, which are deleted after the test."""
    with ExitStack() as feeds:

        def make(*arguments: Any, **options: Any) -> Feed:
            return feeds.enter_context(Feed(*arguments, **options))

        yield make

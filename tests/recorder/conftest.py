from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.streams import stream_name


@pytest.fixture
def name() -> Iterator[str]:
    with stream_name() as name:
        yield name

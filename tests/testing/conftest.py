from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from chronostream.stream.config import StreamConfig
from chronostream.testing.host import SimulatedHost


@pytest.fixture
def host(name: str) -> Iterator[SimulatedHost]:
    """A host a nanosecond after a second, whose stream catches up with all missed boundaries."""
    config = StreamConfig(name=name, frequencies=("second", "minute"), capacity=64, coalesce="all")
    host = SimulatedHost(config, 1_700_000_000_000_000_001, random.Random(1))
    yield host
    host.remove()

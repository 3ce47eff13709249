from __future__ import annotations

from pathlib import Path

import pytest

from tests.bridges.acceptance import run


@pytest.mark.timeout(120)
def test_every_mirror_holds_every_boundary_once_whatever_is_killed(tmp_path: Path) -> None:
    outcome = run(tmp_path, for_s=6.5, seed=2024)
    assert set(outcome.kills) == {"relay", "mirror", "node"}
    assert len(outcome.expected) > 1000
    for mirrored in outcome.mirrored:
        assert mirrored == outcome.expected

"""What importing the ring needs, and what it does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.ring.harness import ROOT, TIMEOUT_S


def run(code: str) -> tuple[str, str]:
    """Run some Python in a process of its own and return what it printed."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    return done.stdout, done.stderr


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_than_on_linux_importing_the_ring_says_so(platform: str) -> None:
    _, err = run(f"import sys; sys.platform = {platform!r}; import chronostream.ring")
    assert err.splitlines()[-1] == (
        f"chronostream.errors.CoreUnavailableError: ChronoStream runs on Linux; this is {platform}"
    )

"""What importing the ring needs, and what it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ring.harness import ROOT, TIMEOUT_S, mount_read_only, needs_mounts, needs_root, own_mounts


def run(code: str, first: Callable[[], object] | None = None) -> tuple[str, str]:
    """Run some Python in a process of its own, with a bare environment, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={},
        preexec_fn=first,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_than_on_linux_importing_the_ring_says_so(platform: str) -> None:
    _, err = run(f"import sys; sys.platform = {platform!r}; import chronostream.ring")
    assert err.splitlines()[-1] == (
        f"chronostream.errors.CoreUnavailableError: ChronoStream runs on Linux; this is {platform}"
    )


@needs_root
@needs_mounts
def test_the_ring_needs_no_directory_that_it_may_write_to(name: str) -> None:
    code = f"""
import tempfile
try:
    tempfile.gettempdir()
except FileNotFoundError:
    pass
else:
    raise SystemExit("there is a temporary directory")
from chronostream.ring import Consumer, Producer
with Producer.create({name!r}, "<i8", 8) as producer, Consumer.attach({name!r}) as consumer:
    producer.publish(1)
    print(consumer.read().tolist())
"""

    def read_only() -> None:
        own_mounts()
        places = (Path(place).resolve() for place in ("/", "/tmp", "/var/tmp", "/usr/tmp", ROOT))
        for directory in dict.fromkeys(filter(Path.is_dir, places)):
            mount_read_only(directory)
        os.chdir(ROOT)

    assert run(code, read_only) == ("[1]\n", "")

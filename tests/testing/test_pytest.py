from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from chronostream import ring
from tests.docs_harness import blocks_of
from tests.ring.harness import ROOT, TIMEOUT_S

DOCUMENT = ROOT / "docs/testing.md"
LEAVES_FEEDS = """
def test_it(chronostream_feed):
    feeds = [chronostream_feed(), chronostream_feed(frequencies=["hour"]), chronostream_feed(NAME)]
    feeds[1].crash()
    print("made:", *(feed.name for feed in feeds))
    assert [len(feed.advance(10)) for feed in feeds] == [10, 0, 10]
"""


def run(directory: Path, test: str) -> str:
    """Run a test with the documented `conftest.py`; return what pytest printed."""
    [conftest, _] = [block.text for block in blocks_of(DOCUMENT) if block.remark.startswith("run by tests/testing/")]
    (directory / "conftest.py").write_text(conftest)
    (directory / "test_it.py").write_text(test)
    command = [sys.executable, "-W", "error", "-m", "pytest", "-s", "-p", "no:cacheprovider", str(directory)]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_documented_test_passes(tmp_path: Path) -> None:
    [_, test] = [block.text for block in blocks_of(DOCUMENT) if block.remark.startswith("run by tests/testing/")]
    assert "1 passed" in run(tmp_path, test)


def test_feeds_are_deleted_after_the_test(tmp_path: Path, name: str) -> None:
    made = re.findall(r"made: (.*)", run(tmp_path, LEAVES_FEEDS.replace("NAME", repr(name))))[0].split()
    assert len(made) == 3
    assert name in made
    assert set(made).isdisjoint(ring.list_names())

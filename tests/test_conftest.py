"""What tests/conftest.py promises for every test, seen from outside: a run of pytest on a test made for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ring.harness import ROOT, TIMEOUT_S

FORGETS = """
import asyncio

def test_it():
    loop = asyncio.new_event_loop()
    async def wait_for_itself():
        await done
    done = loop.create_future()
    task = loop.create_task(wait_for_itself())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
"""
LEAVES_AN_ERROR = """
import asyncio

def test_it():
    async def fail():
        raise ValueError("this went wrong")
    async def start():
        task = asyncio.create_task(fail())
        await asyncio.sleep(0)
    asyncio.run(start())
"""
IS_SKIPPED = """
import pytest

@pytest.mark.skipif(True, reason="there is no tmux")
def test_it():
    pass
"""
NEEDS_ROOT = """
import pytest

def test_it():
    pass

@pytest.mark.needs_root
def test_as_root():
    pass
"""


def run(directory: Path, test: str, **variables: str) -> tuple[int, str]:
    """Run pytest, with our conftest.py, on a test of its own; return its exit status and what it printed."""
    (directory / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-c", str(ROOT / "pyproject.toml"), str(directory / "test_it.py")],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "CI"} | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (FORGETS, "Task was destroyed but it is pending!"),
        (LEAVES_AN_ERROR, "Task exception was never retrieved"),
    ],
)
def test_what_asyncio_can_only_log_fails_a_test(tmp_path: Path, test: str, message: str) -> None:
    status, printed = run(tmp_path, test)
    assert status == 1
    assert message in printed


def test_a_test_that_is_skipped_fails_in_ci_and_only_there(tmp_path: Path) -> None:
    assert run(tmp_path, IS_SKIPPED)[0] == 0
    status, printed = run(tmp_path, IS_SKIPPED, CI="true")
    assert status == 1
    assert "there is no tmux" in printed


def test_what_needs_root_is_left_out_for_other_users(tmp_path: Path) -> None:
    status, printed = run(tmp_path, NEEDS_ROOT)
    assert status == 0
    assert ("2 passed" if os.geteuid() == 0 else "1 passed, 1 deselected") in printed

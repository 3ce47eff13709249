"""Helpers of the recorder's tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chronostream.recorder import Recorder, RecordingReport, recorded_files
from tests.ring.harness import wait_until


@contextmanager
def recorded(name: str, directory: Path, **options: Any) -> Iterator[Recorder]:
    """Give a recorder; at the end of the block, all records in the ring are written to finished files."""
    with Recorder(name, directory, **options) as recorder:
        yield recorder
        while recorder.take():
            pass
        recorder.finish_file()


def record(name: str, directory: Path) -> RecordingReport:
    """Record all records in the ring."""
    with recorded(name, directory) as recorder:
        pass
    return recorder.report


def wait_for_files(directory: Path, name: str, count: int) -> None:
    wait_until(lambda: len(recorded_files(directory, name)) >= count)

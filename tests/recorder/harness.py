"""What the recorder's tests share: recording what a ring holds, and waiting for files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chronostream.recorder import Recorder, RecordingReport, recorded_files
from tests.ring.harness import wait_until


@contextmanager
def recorded(name: str, directory: Path, **options: Any) -> Iterator[Recorder]:
    """Give a recorder; what the ring holds at the end of the block is in finished files afterwards."""
    with Recorder(name, directory, **options) as recorder:
        yield recorder
        while recorder.take():
            pass
        recorder.finish_file()


def record(name: str, directory: Path) -> RecordingReport:
    """Record what the ring holds."""
    with recorded(name, directory) as recorder:
        pass
    return recorder.report


def wait_for_files(directory: Path, name: str, count: int) -> None:
    wait_until(lambda: len(recorded_files(directory, name)) >= count)

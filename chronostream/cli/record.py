"""``chronostream record``: a stream into Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chronostream._log import flush_log, log_to_stderr
from chronostream.cli.figures import print_result
from chronostream.cli.progress import progress
from chronostream.producer.life import stopped_by_signals
from chronostream.recorder import Recorder, RecordingReport
from chronostream.recorder.report import ranges_text

__all__ = ["record"]


def record(name: str, directory: Path, format_: str, for_s: float | None = None, **options: Any) -> None:
    """Record until the stream is closed or a signal comes; print what was recorded. `options` are of `Recorder`."""
    log_to_stderr()
    with Recorder(name, directory, **options) as recorder:
        try:
            with stopped_by_signals() as stop, progress(f"recording {name}") as on_progress:
                recorder.run(stop, for_s=for_s, on_progress=on_progress)
        finally:
            report = recorder.report
            flush_log()
            print_result(format_, _plain(name, directory, report), _lines(name, directory, report))


def _plain(name: str, directory: Path, report: RecordingReport) -> dict[str, object]:
    return {
        "stream": name,
        "directory": str(directory),
        "records": report.records,
        "files": [str(file.path.relative_to(directory)) for file in report.files],
        "first": report.files[0].first if report.files else None,
        "last": report.files[-1].last if report.files else None,
        "lost_records": report.lost_records,
        "lost": [[lost[0], lost[-1]] for lost in report.lost],
        "rejected_records": report.rejected_records,
        "rejected": [[rejected[0], rejected[-1]] for rejected in report.rejected],
        "resumed_behind": report.resumed.last if report.resumed else None,
        "made_anew": report.recreated,
    }


def _lines(name: str, directory: Path, report: RecordingReport) -> Iterator[str]:
    files = len(report.files)
    positions = f", positions {report.files[0].first} to {report.files[-1].last}" if files else ""
    yield f"{name}: {report.records} records in {files} {'file' if files == 1 else 'files'} in {directory}{positions}"
    if report.resumed:
        yield f"went on behind {report.resumed.path.name}"
    if report.recreated:
        yield "the stream was made anew since: what the old one still had is gone, positions begin at 0 again"
    if report.rejected:
        positions = ranges_text(report.rejected)
        yield f"set aside {report.rejected_records} records that no table can hold, positions {positions}"
    for lost in report.lost:
        yield f"lost {len(lost)} records, positions {lost[0]} to {lost[-1]}"
    yield f"{report.lost_records} records lost"

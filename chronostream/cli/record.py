"""``chronostream record``: a stream into Parquet files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import click

from chronostream._log import flush_log, log_to_stderr
from chronostream.cli.progress import progress
from chronostream.producer.life import stopped_by_signals
from chronostream.recorder import Recorder, Report

__all__ = ["record"]


def record(
    name: str,
    directory: Path,
    every_s: float,
    start: Literal["oldest", "next"],
    format_: str,
    for_s: float | None = None,
    **options: Any,
) -> None:
    """Record until the stream is closed or a signal comes; print what was recorded. `options` are of `Recorder`."""
    log_to_stderr()
    with Recorder(name, directory, every_s=every_s, start=start, **options) as recorder:
        try:
            with stopped_by_signals() as stop, progress(f"recording {name}") as on_progress:
                recorder.run(stop, for_s=for_s, on_progress=on_progress)
        finally:
            report = recorder.report
            flush_log()
            plain = format_ == "json"
            click.echo(json.dumps(_plain(name, directory, report)) if plain else _text(name, directory, report))


def _plain(name: str, directory: Path, report: Report) -> dict[str, object]:
    return {
        "stream": name,
        "directory": str(directory),
        "records": report.records,
        "files": [file.path.name for file in report.files],
        "first": report.files[0].first if report.files else None,
        "last": report.files[-1].last if report.files else None,
        "lost_records": report.lost_records,
        "lost": [[lost[0], lost[-1]] for lost in report.lost],
        "resumed_behind": report.resumed.last if report.resumed else None,
        "made_anew": report.made_anew,
    }


def _text(name: str, directory: Path, report: Report) -> str:
    files = len(report.files)
    lines = [f"{name}: {report.records} records in {files} {'file' if files == 1 else 'files'} in {directory}"]
    if report.files:
        lines[0] += f", positions {report.files[0].first} to {report.files[-1].last}"
    if report.resumed:
        lines.append(f"went on behind {report.resumed.path.name}")
    if report.made_anew:
        lines.append("the stream was made anew since: what the old one still had is gone, positions begin at 0 again")
    lines += [f"lost {len(lost)} records, positions {lost[0]} to {lost[-1]}" for lost in report.lost]
    lines.append(f"{report.lost_records} records lost")
    return "\n".join(lines)

"""``chronostream record``: a stream into Parquet files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from chronostream.cli.log import log_to_stderr
from chronostream.cli.options import AnyOwner, For, Format, FormatOption, Name, Start, Wait, seconds_of
from chronostream.cli.progress import progress
from chronostream.errors import InvalidValueError
from chronostream.producer.life import stopped_by_signals
from chronostream.recorder import Recorder, Report

__all__ = ["record"]

_SIZE = re.compile(r"(\d+)\s*(k|M|G)?B?", re.ASCII)
_UNITS = {None: 1, "k": 10**3, "M": 10**6, "G": 10**9}

_To = Annotated[Path, typer.Option("--to", help="Directory of the files; made if it is not there.", show_default=False)]
_Every = Annotated[str, typer.Option(help="How long at most records wait for a file, such as 1h or 10m.")]
_MaxSize = Annotated[str | None, typer.Option(help="About how large a file gets, such as 64MB.", show_default=False)]
_Daily = Annotated[bool, typer.Option(help="Begin a new file at each midnight of the stream's time zone.")]
_From = Annotated[
    Start, typer.Option("--from", help="Where the first recording begins: oldest, what the ring still holds; or next.")
]


def record(
    name: Name,
    to: _To,
    every: _Every = "1h",
    max_size: _MaxSize = None,
    daily: _Daily = True,
    from_: _From = Start.OLDEST,
    for_: For = None,
    wait: Wait = "0s",
    format_: FormatOption = Format.TEXT,
    any_owner: AnyOwner = False,
) -> None:
    """Record a stream into Parquet files.

    It ends when the stream is closed, or by SIGTERM or Ctrl-C. Each file is complete or absent. Run it again, after a
    crash as well, and it goes on behind the last file; what the ring no longer held by then is reported. A file is
    finished when its day is over, when it is old or large enough, when half a ring waits for it, and at the end. Needs
    pyarrow: pip install 'chronostream[arrow]'.
    """
    every_s = seconds_of("--every", every)
    max_bytes = None if max_size is None else _bytes_of("--max-size", max_size)
    for_s = None if for_ is None else seconds_of("--for", for_)
    log_to_stderr()
    with Recorder(
        name,
        to,
        every_s=every_s,
        max_bytes=max_bytes,
        daily=daily,
        start=from_,  # type: ignore[arg-type]  # one of its values
        wait_s=seconds_of("--wait", wait),
        any_owner=any_owner,
    ) as recorder:
        try:
            with stopped_by_signals() as stop, progress(f"recording {name}") as on_progress:
                recorder.run(stop, for_s=for_s, on_progress=on_progress)
        finally:
            report = recorder.report
            typer.echo(json.dumps(_plain(name, to, report)) if format_ is Format.JSON else _text(name, to, report))


def _plain(name: str, to: Path, report: Report) -> dict[str, object]:
    return {
        "stream": name,
        "directory": str(to),
        "records": report.records,
        "files": [file.path.name for file in report.files],
        "first": report.files[0].first if report.files else None,
        "last": report.files[-1].last if report.files else None,
        "lost_records": report.lost_records,
        "lost": [[lost[0], lost[-1]] for lost in report.lost],
        "resumed_behind": report.resumed.last if report.resumed else None,
        "made_anew": report.made_anew,
    }


def _text(name: str, to: Path, report: Report) -> str:
    files = len(report.files)
    lines = [f"{name}: {report.records} records in {files} {'file' if files == 1 else 'files'} in {to}"]
    if report.files:
        lines[0] += f", positions {report.files[0].first} to {report.files[-1].last}"
    if report.resumed:
        lines.append(f"went on behind {report.resumed.path.name}")
    if report.made_anew:
        lines.append("the stream was made anew since: what the old one still had is gone, positions begin at 0 again")
    lines += [f"lost {len(lost)} records, positions {lost[0]} to {lost[-1]}" for lost in report.lost]
    lines.append(f"{report.lost_records} records lost")
    return "\n".join(lines)


def _bytes_of(option: str, text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidValueError(f"{option} is {text!r}, expected a size such as 64MB, 500kB or 1GB")
    return int(match[1]) * _UNITS[match[2]]

"""``chronostream doctor``: whether this machine is fit for it."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from chronostream.cli.options import Format, FormatOption
from chronostream.observe.doctor import Finding, Verdict, examine

__all__ = ["doctor"]

_COLOURS = {Verdict.OK: typer.colors.GREEN, Verdict.WARN: typer.colors.YELLOW, Verdict.BAD: typer.colors.RED}


def doctor(format_: FormatOption = Format.TEXT) -> int:
    """Look whether this machine is fit for exact time.

    It looks at the core in use, the kernel, shared memory, the clock and how one waits for it, permissions, the zone
    data and the streams that there are, and tries a stream of its own.

    Each finding has a verdict and, unless all is well, what to do. With a bad one streams do not work, and the exit
    status is 1.
    """
    findings = examine()
    if format_ is Format.JSON:
        typer.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            _show(finding, max(len(other.name) for other in findings))
    return 1 if any(finding.verdict is Verdict.BAD for finding in findings) else 0


def _show(finding: Finding, width: int) -> None:
    mark = typer.style(f"{finding.verdict:<4}", fg=_COLOURS[finding.verdict])
    typer.echo(f"{mark}  {finding.name:<{width}}  {finding.found}")
    if finding.advice:
        typer.echo(f"{'':<{width + 8}}→ {finding.advice}")

"""``chronostream doctor``: whether this machine is fit for it."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

import click

from chronostream._stdio import printable_text
from chronostream.observe.doctor import Finding, Verdict, examine

__all__ = ["doctor"]

_COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.BAD: "red"}


def doctor(format_: str) -> int:
    """Print what is found; return 1 if something is bad."""
    findings = examine()
    if format_ == "json":
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        _show(findings)
    return 1 if any(finding.verdict is Verdict.BAD for finding in findings) else 0


def _show(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    names = max(len(finding.name) for finding in findings)
    lines = textwrap.TextWrapper(
        # In a pipe, each finding and each advice is one line.
        width=console.width if console.is_terminal else sys.maxsize,
        subsequent_indent=" " * (names + 8),
    )
    for finding in findings:
        text = Text(lines.fill(f"{finding.verdict:<4}  {finding.name:<{names}}  {printable_text(finding.found)}"))
        text.stylize(_COLOURS[finding.verdict], 0, len(finding.verdict))
        if finding.advice:
            text.append("\n" + lines.fill(f"{'':<{names + 8}}→ {finding.advice}"))
        console.print(text, soft_wrap=True)

"""``chronostream doctor``: checks whether this machine is fit for ChronoStream."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from chronostream._stdio import printable_text
from chronostream.cli.figures import print_result
from chronostream.observe.doctor import Verdict, examine

__all__ = ["doctor"]

_COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.BAD: "red"}


def doctor(format_: str) -> int:
    """Print the findings; return 1 if one is bad."""
    findings = examine()
    status = 1 if any(finding.verdict is Verdict.BAD for finding in findings) else 0
    if format_ == "json":
        print_result(format_, [asdict(finding) for finding in findings], [])
        return status
    console = Console()
    names = max(len(finding.name) for finding in findings)
    indent = " " * (names + 8)
    # In a pipe, each finding and each advice is one line.
    lines = textwrap.TextWrapper(console.width if console.is_terminal else sys.maxsize, subsequent_indent=indent)
    for finding in findings:
        text = Text(lines.fill(f"{finding.verdict:<4}  {finding.name:<{names}}  {printable_text(finding.found)}"))
        text.stylize(_COLOURS[finding.verdict], 0, len(finding.verdict))
        if finding.advice:
            text.append("\n" + lines.fill(f"{indent}→ {finding.advice}"))
        console.print(text, soft_wrap=True)
    return status

"""The help of a command, as wide as the terminal: its options in sections, with their choices and defaults."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from chronostream.cli.examples import EXAMPLES
from chronostream.cli.options import Argument, Option

__all__ = ["help_text"]

_TERM_WIDTH = 26  # of the left column; what a longer flag takes goes on in the next line, beside the rest of its help
_Row = tuple[Text, Text]


def help_text(command: click.Command, context: click.Context) -> str:
    """Return the help of a command as it suits stdout: its width, its colours, its characters."""
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    sections = _sections(command, context)
    width = min(_TERM_WIDTH, max(len(term) for rows in sections.values() for term, _ in rows))
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print()
        for part in (Text.assemble(("Usage: ", "bold yellow"), usage), *_paragraphs(command.help)):
            console.print(Padding(part, (0, 1, 1, 1)))
        for title, rows in sections.items():
            table = Table.grid(padding=(0, 2, 0, 0), expand=True)
            table.add_column(width=width)
            table.add_column(ratio=1)
            for row in rows:
                table.add_row(*row)
            console.print(Panel(table, title=title, title_align="left", border_style="dim"))
        for part in (*_paragraphs(command.epilog), *_examples(command.name or "")):
            console.print(Padding(part, (1, 1, 0, 1)))
    return captured.get().rstrip("\n")


def _paragraphs(text: str | None) -> Iterator[Text]:
    for paragraph in filter(None, inspect.cleandoc(text or "").split("\n\n")):
        yield Text(" ".join(paragraph.split()))


def _examples(name: str) -> Iterator[Text]:
    if examples := EXAMPLES.get(name):
        lines = [Text("Examples", "bold")]
        for arguments, meaning in examples:
            lines += [Text(f"# {meaning}", "dim"), Text(f"chronostream {arguments}")]
        yield Text("\n").join(lines)


def _sections(command: click.Command, context: click.Context) -> dict[str, list[_Row]]:
    sections: dict[str, list[_Row]] = {}
    for param in command.get_params(context):
        if isinstance(param, Argument | Option):
            title = param.section
        else:  # --help and --version, which click makes
            title = "Options" if "Options" in sections or not sections else [*sections][-1]
        sections.setdefault(title, []).append((_term(param, context), _meaning(param)))
    if isinstance(command, click.Group):
        sections["Commands"] = [
            (Text(name, "bold cyan"), next(_paragraphs(each.help))) for name, each in command.commands.items()
        ]
    return sections


def _term(param: click.Parameter, context: click.Context) -> Text:
    metavar = param.make_metavar(context).removesuffix(" RANGE")
    if isinstance(param, click.Argument):
        return Text(metavar, "bold yellow")
    former = getattr(param, "former", ())
    parts = [[name for name in part if name not in former] for part in (param.opts, param.secondary_opts)]
    names = Text(" / ".join(", ".join(part) for part in parts if part), "bold cyan")
    return names if getattr(param, "is_flag", False) else Text.assemble(names, " ", (metavar, "yellow"))


def _meaning(param: click.Parameter) -> Text:
    text = Text(getattr(param, "help", None) or "")
    if param.required and isinstance(param, click.Option):
        text.append(" [required]", "red")
    if getattr(param, "multiple", False):
        text.append(" [repeatable]", "dim")
    default = getattr(param, "default_text", None) or param.default
    if isinstance(default, str):
        text.append(f" [default: {default}]", "dim")
    return text

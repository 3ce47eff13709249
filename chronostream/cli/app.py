"""The command line as a whole: which commands there are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated

import typer

from chronostream.cli.doctor import doctor
from chronostream.cli.examples import EXAMPLES
from chronostream.cli.list import list_
from chronostream.cli.metrics import metrics
from chronostream.cli.mirror import mirror
from chronostream.cli.record import record
from chronostream.cli.relay import relay
from chronostream.cli.remove import remove
from chronostream.cli.replay import replay
from chronostream.cli.run import run
from chronostream.cli.status import status
from chronostream.cli.tail import tail
from chronostream.cli.top import top
from chronostream.cli.verify import verify
from chronostream.version import __version__

__all__ = ["app"]

app = typer.Typer(
    help="One heartbeat for every process on this machine: aligned wall-clock events in a shared-memory ring.",
    epilog="Exit statuses: 0 done, 1 failed, 2 wrong usage, 3 the name is live already.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"chronostream {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and end.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


def _help(command: Callable[..., object]) -> str:
    """Return a command's docstring with each paragraph in one line, which the terminal's width then breaks."""
    text = (inspect.getdoc(command) or "").replace("[", "\\[")  # It is no markup.
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _examples(name: str) -> str:
    return "\n".join(
        ["Examples", *(f"  [dim]# {meaning}[/]\n  chronostream {arguments}" for arguments, meaning in EXAMPLES[name])]
    )


_COMMANDS = (run, tail, list_, status, top, record, replay, verify, relay, mirror, metrics, doctor, remove)
for command in _COMMANDS:
    name = command.__name__.rstrip("_")
    app.command(name, help=_help(command), epilog=_examples(name))(command)

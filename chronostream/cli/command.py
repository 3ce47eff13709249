"""Commands whose work is loaded when they run, so that help and errors are quick."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

import click

__all__ = ["Command", "Group"]


class _Documented(click.Command):
    def get_help(self, ctx: click.Context) -> str:
        """Return the help that `chronostream.cli.help` makes."""
        from chronostream.cli.help import help_text

        return help_text(self, ctx)


class Command(_Documented):
    """A command whose work is a function of the module of its name, called with the options that were given.

    The first paragraph of `help_` is one short sentence. `declare` returns the parameters; it is called when they are
    first needed, since those of a stream take a while to load.
    """

    def __init__(
        self, name: str, help_: str, declare: Callable[[], Iterable[click.Parameter]], function: str | None = None
    ) -> None:
        super().__init__(name, help=help_, callback=self._work)
        self._declare = declare
        self._function = function or name

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return its parameters."""
        self.params = self.params or [*self._declare()]
        return super().get_params(ctx)

    def work(self) -> Callable[..., int | None]:
        """Return the function that does its work, which may return an exit status."""
        module = importlib.import_module(f"chronostream.cli.{self.name}")
        work: Callable[..., int | None] = getattr(module, self._function)
        return work

    def _work(self, **arguments: Any) -> int | None:
        return self.work()(**{name: value for name, value in arguments.items() if value not in (None, ())})


class Group(_Documented, click.Group):
    """Commands in the order in which they are declared."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names."""
        return list(self.commands)

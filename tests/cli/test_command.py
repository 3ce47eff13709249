from __future__ import annotations

import inspect

import click
import pytest

from chronostream.cli.app import app
from chronostream.cli.command import Command


@pytest.mark.parametrize("name", app.commands)
def test_the_function_of_a_command_takes_what_the_command_does(name: str) -> None:
    command = app.commands[name]
    assert isinstance(command, Command)
    context = click.Context(command)
    signature = inspect.signature(command.work())
    given = {param.name: None for param in command.get_params(context) if param.expose_value}
    signature.bind(**given)
    has_default = [param for param in command.get_params(context) if isinstance(param.default, str) or param.required]
    signature.bind(**{param.name: None for param in has_default})


def test_commands_are_listed_in_their_order() -> None:
    assert app.list_commands(click.Context(app))[:3] == ["run", "tail", "list"]

"""The arguments and options of commands; those of a stream are declared in `chronostream.stream.config`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from chronostream.cli.types import Type, type_of

__all__ = ["Argument", "Option", "stream_option", "variable"]


class Argument(click.Argument):
    """An argument with a help text."""

    def __init__(self, name: str, type_: Type, help_: str, *, section: str = "Arguments", **attributes: Any) -> None:
        super().__init__([name], type=type_, **attributes)
        self.help = help_
        self.section = section

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Return what messages call it."""
        return f"'{self.name}'"


class Option(click.Option):
    """An option with a place in the help.

    `names` are its flags, and the parameter of the command's function if that has another name. `type_` is None for a
    flag that takes no value. `default_text` describes the default in the help. `former` are flags of earlier releases,
    which still work.
    """

    def __init__(
        self,
        names: str,
        type_: click.ParamType[Any] | None,
        help_: str,
        default: str | None = None,
        *,
        default_text: str | None = None,
        section: str = "Options",
        former: Sequence[str] = (),
        **attributes: Any,
    ) -> None:
        if type_ is None:
            attributes |= {"is_flag": True, "default": None}  # not False, which would mean that it was given
        elif default is not None:
            attributes["default"] = default
        super().__init__([*names.split(), *former], type=type_, help=help_, **attributes)
        self.section = section
        self.default_text = default_text or default
        self.former = former


def stream_option(field: str, *, environment: bool = False, **changes: Any) -> Option:
    """Return the flag of a field of `StreamConfig`, with a variable too if `environment`.

    `changes` are arguments of `Option` that differ for this command.
    """
    from chronostream.stream.config import OPTIONS

    declared = OPTIONS[field]
    key, type_ = declared.key or field, type_of(declared.kind)
    names, text = f"--{key} {field}", declared.words
    if declared.letter:
        names = f"-{declared.letter} {names}"
    is_switch = declared.kind.name == "switch"
    if is_switch:
        off = declared.off or f"no-{key}"
        names, text = f"--{key}/--{off} {field}", key if declared.default else off
    elif text is None and declared.default is not None:
        text = type_.write(declared.default)
    former = [f"--{each}" for each in declared.former]
    attributes: dict[str, Any] = {"default_text": text, "former": former, "multiple": type_.multiple}
    if environment:
        attributes |= variable(key, *declared.former) | {"section": declared.section}
    return Option(names, None if is_switch else type_, declared.help, **(attributes | changes))


def variable(*keys: str) -> dict[str, Any]:
    """Return what gives an option an environment variable, for its key and for former ones."""
    names = [f"CHRONOSTREAM_{key.upper().replace('-', '_')}" for key in keys]
    return {"envvar": names if len(names) > 1 else names[0], "show_envvar": True}

"""How commands declare what they take: the parameters that several of them share, and the options of a stream.

`chronostream.stream.config.StreamConfig` declares the options of a stream; here they become flags.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from chronostream.cli.types import DURATION, INSTANT, STREAM_NAME, Type, type_of

__all__ = [
    "ANY_OWNER",
    "CONNECTION",
    "FOR",
    "FORMAT",
    "FROM_NATS",
    "JETSTREAM",
    "NAME",
    "RANGE",
    "WAIT",
    "Argument",
    "Option",
    "run_options",
    "stream_option",
]


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

    Args:
        names: its flags; and the parameter of the command's function, if it is called otherwise.
        type_: what it takes; None if it is a flag that takes nothing.
        help_: what it means.
        default: the text that it has if it is not given.
        default_text: what happens without it, in words.
        section: where the help lists it.
        former: flags of earlier releases, still understood.
        attributes: what else `click.Option` takes.
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
    """Return the flag of a field of `StreamConfig`.

    Args:
        field: which one.
        environment: whether a variable may give it, too.
        changes: arguments of `Option` that differ for this command.
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
        attributes |= _variable(key, *declared.former) | {"section": declared.section}
    return Option(names, None if is_switch else type_, declared.help, **(attributes | changes))


def run_options() -> list[click.Parameter]:
    """Return what ``chronostream run`` takes: each field of `StreamConfig` that has a flag, and some more."""
    from chronostream.stream.config import OPTIONS
    from chronostream.stream.options import Section

    name_help = "Name of the stream; with --config, run only this one."
    file_help = "TOML file with a table [streams.NAME] for each stream."
    return [
        Argument("name", STREAM_NAME, name_help, required=False, section=Section.STREAM),
        Option("--config", _FILE, file_help, section=Section.STREAM, **_variable("config")),
        *(stream_option(field, environment=True) for field, declared in OPTIONS.items() if declared.key),
        Option("--for for_s", DURATION, _FOR, section=Section.PROCESS),
    ]


def _variable(*keys: str) -> dict[str, Any]:
    """Return what gives an option an environment variable, for its key and for former ones."""
    names = [f"CHRONOSTREAM_{key.upper().replace('-', '_')}" for key in keys]
    return {"envvar": names if len(names) > 1 else names[0], "show_envvar": True}


def _connection(names: str, type_: click.ParamType[Any] | None, help_: str) -> Option:
    return Option(names, type_, help_, section="How to reach NATS")


_FOR = "Stop after this long, such as 10s."
_FILE = click.Path(dir_okay=False, path_type=Path)
_NAME = Type("name")

NAME = Argument("name", STREAM_NAME, "Name of the stream.")
FORMAT = Option("--format format_", click.Choice(["text", "json"]), "Text for people, or JSON for programs.", "text")
ANY_OWNER = Option("--any-owner", None, "Also accept a stream that another user owns.")
FOR = Option("--for for_s", DURATION, _FOR)
WAIT = Option("--wait wait_s", DURATION, "Wait up to this long, such as 10s, until the stream exists.")
RANGE = (
    Option("--from start_ns", INSTANT, "Start of the range: ISO 8601 such as 2024-01-31T12:00Z, or Unix nanoseconds."),
    Option("--to end_ns", INSTANT, "End of the range (exclusive)."),
)
JETSTREAM = Option(
    "--stream", Type("stream"), "Name of the JetStream stream.", default_text="CHRONOSTREAM_ and the stream's name"
)
FROM_NATS = (
    Option("--from-nats", Type("url"), "Take the events from JetStream, by the URL of a NATS server."),
    Option("--nats-name", _NAME, "Name of the stream there.", default_text="NAME"),
    JETSTREAM,
)
CONNECTION = (
    _connection("--user", Type("user"), "User name, with --password-file; the URL may hold both instead."),
    _connection("--password-file", _FILE, "File with the user's password."),
    _connection("--token-file", _FILE, "File with a token."),
    _connection("--creds credentials", _FILE, "File with a JWT and the seed of its key."),
    _connection("--nkey nkey_seed", _FILE, "File with the seed of a key."),
    _connection("--tls-ca", _FILE, "Certificates to trust instead of the system's."),
    _connection("--tls-cert tls_certificate", _FILE, "Certificate of this side."),
    _connection("--tls-key", _FILE, "Key of that certificate."),
    _connection("--tls-first", None, "Begin with TLS; the server must do the same."),
)
"""How to be let in. Secrets come from files: everybody on the machine can read the command line."""

"""What options take: how each kind of value is read from a text, and from what TOML makes of it in a file."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from chronostream.errors import ConfigError, InvalidValueError

if TYPE_CHECKING:
    from chronostream.stream.options import Kind

__all__ = ["DURATION", "INSTANT", "INTERVAL", "OCTAL", "SIZE", "STREAM_NAME", "TOML_TYPES", "Type", "type_of"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", re.ASCII)
_UNITS_S = {"d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
_LONGEST_S = threading.TIMEOUT_MAX  # 292 years: the system waits no longer, and int64 counts no more nanoseconds.
_SHORTEST_INTERVAL_S = 0.05
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(k|K|M|G|Ki|Mi|Gi)?B?", re.ASCII)
_UNITS = {None: 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
_LARGEST = 1 << 62
_GROUP_NUMBER = re.compile(r"\d{1,10}", re.ASCII)
TOML_TYPES = {
    bool: "a boolean",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a table",
    **dict.fromkeys((date, datetime, time), "a time"),
}
"""What people call the types of values in a TOML file."""


def _as_it_is(_option: str, value: Any) -> Any:
    return value


@dataclass(eq=False)
class Type(click.ParamType):  # type: ignore[type-arg]  # before click 8.4 it takes no argument
    """What an option takes; by itself, any text.

    Attributes:
        name: what the help calls such a value.
        parse: returns the value of a text, or of a value in a file; its first argument names the option in messages.
        in_file: the types that a value in a file may have.
        expected: what messages expect there.
        write: returns the text of a value.
        choices: the words that the help shows. The command or `StreamConfig` checks them.
        words: returns the words that the shell completes; the choices if it is None.
        multiple: whether there may be several.
    """

    name: str = "text"
    parse: Callable[[str, Any], Any] = _as_it_is
    in_file: tuple[type, ...] = (str,)
    expected: str = "text in quotes"
    write: Callable[[Any], str] = str
    choices: tuple[str, ...] = ()
    words: Callable[[], Iterable[str]] | None = None
    multiple: bool = False

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value of a flag, a variable or a default."""
        return self.parse(param.opts[0] if param else self.name, value)

    def read(self, where: str, value: Any) -> Any:
        """Return the value of a key in a file."""
        values = value if self.multiple and isinstance(value, list) else [value]
        if not all(type(each) in self.in_file for each in values):
            raise ConfigError(f"{where} is {TOML_TYPES[type(value)]}, expected {self.expected}")
        parsed = [self.parse(where, each) for each in values]
        return parsed if self.multiple else parsed[0]

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """Return what the help shows in place of a value; an argument has its own name there."""
        if isinstance(param, click.Argument):
            return None
        return f"[{'|'.join(self.choices)}]" if self.choices else self.name.upper()

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the words that begin so."""
        words = self.choices if self.words is None else self.words()
        return [CompletionItem(each) for each in words if each.startswith(incomplete)]


def _stream_names() -> list[str]:
    from chronostream.ring import list_names

    return list_names()


def _integer(_option: str, value: Any) -> int:
    try:
        return int(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a valid integer.") from None


def _seconds(option: str, value: str | float) -> float:
    """Return ``10s``, ``500ms``, ``5m``, ``1h`` or ``2.5`` (seconds) in seconds."""
    if not isinstance(value, str):
        if not 0 <= value <= _LONGEST_S:
            raise ConfigError(f"{option} is {value}, expected 0 seconds or more, up to 292 years")
        return value
    match = _DURATION.fullmatch(value.strip())
    if not match or (seconds := float(match[1]) * _UNITS_S[match[2] or "s"]) > _LONGEST_S:
        raise InvalidValueError(f"{option} is {value!r}, expected a duration such as 10s, 500ms, 5m or 1h")
    return seconds


def _interval(option: str, value: str) -> float:
    seconds = _seconds(option, value)
    if seconds < _SHORTEST_INTERVAL_S:
        raise InvalidValueError(f"{option} is {value!r}, expected {_SHORTEST_INTERVAL_S:g}s or more")
    return seconds


def _duration_text(seconds: float) -> str:
    unit, unit_s = next((each for each in _UNITS_S.items() if seconds % each[1] == 0), ("s", 1))
    return f"{seconds / unit_s:g}{unit}"


def _octal(option: str, value: str) -> int:
    try:
        return int(value, 8)
    except ValueError:
        raise InvalidValueError(f"{option} is {value!r}, expected octal permissions such as 600 or 640") from None


def _size(option: str, value: str) -> int:
    match = _SIZE.fullmatch(value.strip())
    if not match or (size := float(match[1]) * _UNITS[match[2]]) > _LARGEST:
        raise InvalidValueError(f"{option} is {value!r}, expected a size such as 64MB, 500kB, 1GB or 64MiB")
    return round(size)


def _instant(option: str, value: str) -> int:
    from chronostream._values import instant_ns

    return instant_ns(option, value)


def _group(_option: str, value: str | int) -> str | int:
    return int(value) if isinstance(value, str) and _GROUP_NUMBER.fullmatch(value) else value


_TEXT = Type()
_INTEGER = Type("integer", _integer, (int,), "a whole number such as 65536")
DURATION = Type(
    "duration", _seconds, (str, int, float), 'a duration such as "10s" or "1h", or a number of seconds', _duration_text
)
INTERVAL = Type("duration", _interval)
# A file has permissions as text: TOML would read a number as a decimal one.
OCTAL = Type("octal", _octal, (str,), 'text with octal permissions such as "640"', "{:o}".format)
SIZE = Type("size", _size)
INSTANT = Type("instant", _instant)
STREAM_NAME = Type(words=_stream_names)
_OF_KINDS = {
    "zone": Type("zone"),
    "integer": _INTEGER,
    "processor": _INTEGER,
    "duration": DURATION,
    "permissions": OCTAL,
    "group": Type("group", _group, (str, int)),
    "switch": Type("boolean", in_file=(bool,), expected="true or false"),
    "frequency": Type(
        expected='text such as "second", or a list of them',
        write=lambda frequencies: ", ".join(each.label for each in frequencies),
        multiple=True,
    ),
}


def type_of(kind: Kind) -> Type:
    """Return how the command line, and a file, give an option of this kind."""
    return replace(_OF_KINDS.get(kind.name, _TEXT), choices=kind.choices)

"""How an option of a stream is declared: once, as a field of `chronostream.stream.config.StreamConfig`.

The field has the option's kind of value, its meaning and its name outside Python. The checks of `StreamConfig`, the
flags, variables and file keys of ``chronostream run``, its help and the table in docs/operating.md follow from it.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chronostream._values import INT64_MAX, checked_duration_ns, checked_int, encode_text
from chronostream.errors import ConfigError, InvalidTypeError, InvalidValueError
from chronostream.event import FREQUENCIES as ALL_FREQUENCIES
from chronostream.event import Frequency

__all__ = [
    "DURATION",
    "FREQUENCIES",
    "GROUP",
    "INTEGER",
    "PERMISSIONS",
    "PROCESSOR",
    "SWITCH",
    "ZONE",
    "Kind",
    "Option",
    "Section",
    "choice",
    "declared_options",
    "option",
    "text",
]

_METADATA = "option"
_PERMISSIONS, _OWNER = 0o777, 0o600
_MAX_GROUP, _MAX_PROCESSOR = (1 << 32) - 2, (1 << 31) - 1


class Section(StrEnum):
    """The groups of options, in the order in which the help lists them."""

    STREAM = "The stream"
    CLOCK = "When the clock misbehaves"
    ACCESS = "Who may read"
    PROCESS = "The process"


@dataclass(frozen=True)
class Kind:
    """A kind of values.

    Attributes:
        check: takes a field's name, for messages, and a value; returns the value in its plain form, or raises.
        choices: the only values, if they are words.
    """

    name: str
    check: Callable[[str, Any], Any]
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Option:
    """The declaration of a field.

    Attributes:
        key: its name as a flag and in a file, and in capitals in the environment; None for one that only Python has.
        default: its value if none is given, or a function that returns that.
        help: what it means, in one sentence.
        letter: its letter as a flag.
        off: for a switch, the flag that means False, if it is not ``no-`` and the key.
        words: the default in words, where the value explains nothing.
        former: keys of earlier releases, still understood.
    """

    key: str | None
    kind: Kind
    default: Any
    section: Section
    help: str
    letter: str | None = None
    off: str | None = None
    words: str | None = None
    former: tuple[str, ...] = ()

    def check(self, name: str, value: Any) -> Any:
        """Return a value for the field `name` in its plain form, or raise. None is fine if it is the default."""
        return None if value is None and self.default is None else self.kind.check(name, value)


def option(key: str | None, kind: Kind, default: Any, section: Section, help_: str, **more: Any) -> Any:
    """Declare a field of a dataclass; the arguments are the attributes of `Option`."""
    metadata = {_METADATA: Option(key, kind, default, section, help_, **more)}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def declared_options(cls: type) -> dict[str, Option]:
    """Return the declarations of a dataclass by field, in its order."""
    return {field.name: field.metadata[_METADATA] for field in dataclasses.fields(cls) if _METADATA in field.metadata}


def text(room: int) -> Kind:
    """Return the kind of texts that fit `room` bytes of UTF-8."""
    return Kind("text", lambda name, value: encode_text(name, value, room).decode())


def choice(*choices: str) -> Kind:
    """Return the kind whose values are some words."""

    def check(name: str, value: Any) -> Any:
        if value not in choices:
            raise ConfigError(f"{name} is {value!r}, expected one of {', '.join(choices)}")
        return value

    return Kind("choice", check, choices)


def _seconds(name: str, value: Any) -> int | float:
    checked_duration_ns(name, value)
    return value if isinstance(value, int) else float(value)


def _permissions(name: str, value: Any) -> int:
    try:
        mode = operator.index(value)
    except TypeError:
        mode = None
    if mode is None or mode & ~_PERMISSIONS or mode & _OWNER != _OWNER:
        found = repr(value) if mode is None else f"{mode:#o}"
        raise ConfigError(
            f"{name} is {found}, expected permissions such as 0o600 or 0o640, by which its owner reads and writes"
        )
    return mode


def _processor(name: str, value: Any) -> int:
    try:
        return checked_int(name, value, 0, _MAX_PROCESSOR)
    except (InvalidTypeError, InvalidValueError) as error:
        raise ConfigError(f"{error}, the number of a processor") from None


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidTypeError(f"{name} is {type(value).__name__}, expected True or False")
    return value


FREQUENCIES = Kind(
    "frequency",
    lambda _, value: Frequency.parse_all(value),
    tuple(frequency.label for frequency in ALL_FREQUENCIES),
)
ZONE = Kind("zone", lambda _, value: value)  # The scheduler checks it, which needs its data.
INTEGER = Kind("integer", lambda name, value: checked_int(name, value, 1, INT64_MAX))
DURATION = Kind("duration", _seconds)
PERMISSIONS = Kind("permissions", _permissions)
GROUP = Kind("group", lambda name, value: value if isinstance(value, str) else checked_int(name, value, 0, _MAX_GROUP))
PROCESSOR = Kind("processor", _processor)
SWITCH = Kind("switch", _switch)

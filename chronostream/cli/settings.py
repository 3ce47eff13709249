"""What a stream is to be, as flags and as a file say it: one table of keys for both.

The file is TOML with a table for each stream, whose keys are the names of the flags of ``chronostream run``::

    [streams.market-clock]
    frequency = ["second", "minute"]
    timezone = "America/New_York"

    [streams.billing]
    frequency = "day"
    capacity = 1024
    max-step = "10m"

Whatever is set in more than one place is taken from the first of these: flag, environment, file, default.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from chronostream.cli.options import octal, seconds_of
from chronostream.errors import ConfigError, InvalidTypeError, InvalidValueError
from chronostream.stream.config import StreamConfig

__all__ = ["KEYS", "Settings", "read_streams", "settings_of", "stream_config"]

Settings = Mapping[str, Any]
"""Values by key, as they were given."""

_TABLE = "streams"
_KINDS = (
    (bool, "a boolean"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "text"),
    (list, "a list"),
    (dict, "a table"),
    ((date, datetime, time), "a time"),
)


def read_streams(path: Path) -> dict[str, Settings]:
    """Return the settings of each stream of a file, in the file's order.

    Raises:
        ConfigError: the file is not there or no TOML, or has keys, values or tables that mean nothing.
    """
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"the configuration {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"the configuration {path} is not TOML: {error}") from error
    _check_keys(str(path), document, [_TABLE])
    tables = document.get(_TABLE, {})
    if not isinstance(tables, dict) or not tables:
        raise ConfigError(f"{path} has no streams, expected a table for each such as [{_TABLE}.market-clock]")
    for name, settings in tables.items():
        where = f"{path}, stream {name!r}"
        if not isinstance(settings, dict):
            raise ConfigError(f"{where} is {_kind(settings)}, expected a table such as [{_TABLE}.{name}]")
        _check_keys(where, settings, KEYS)
    return tables


def settings_of(name: str, streams: Mapping[str, Settings], path: Path) -> Settings:
    """Return the settings of one stream of a file.

    Raises:
        ConfigError: the file has no such stream.
    """
    if name not in streams:
        raise ConfigError(f"{path} has no stream {name!r}{_nearest(name, streams)}")
    return streams[name]


def stream_config(name: str, flags: Settings, settings: Settings, path: Path | None = None) -> StreamConfig:
    """Return the configuration of a stream.

    Args:
        name: the stream's name.
        flags: what was given on the command line or in the environment; it comes first.
        settings: what the file says.
        path: the file, to be named where something in it is wrong.

    Raises:
        InvalidValueError: a value is out of its range, or of the wrong kind.
    """
    origin = "" if path is None else f"{path}, stream {name!r}: "
    fields: dict[str, Any] = {}
    for key, (field, read) in KEYS.items():
        if flags.get(key) is not None:
            fields[field] = read(f"--{key}", flags[key])
        elif key in settings:
            fields[field] = read(f"{origin}{key}", settings[key])
    try:
        return StreamConfig(name=name, **fields)
    except (InvalidValueError, InvalidTypeError) as error:
        if path is None:
            raise
        raise ConfigError(f"{origin}{error}") from error


def _check_keys(where: str, table: Mapping[str, object], known: Iterable[str]) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{where} has a key {key!r} that means nothing{_nearest(key, known)}")


def _nearest(word: str, known: Iterable[str]) -> str:
    choices = list(known)
    nearest = difflib.get_close_matches(word.replace("_", "-").lower(), choices, n=1)
    return f": did you mean {nearest[0]!r}?" if nearest else f": expected one of {', '.join(choices)}"


def _kind(value: object) -> str:
    return next(text for kind, text in _KINDS if isinstance(value, kind))


def _wrong(where: str, value: object, expected: str) -> ConfigError:
    return ConfigError(f"{where} is {_kind(value)}, expected {expected}")


def _text(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(where, value, "text in quotes")
    return value


def _frequencies(where: str, value: object) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(each, str) for each in values):
        raise _wrong(where, value, 'text such as "second", or a list of them')
    return tuple(values)


def _whole_number(where: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(where, value, "a whole number such as 65536")
    return value


def _yes_or_no(where: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(where, value, "true or false")
    return value


def _duration_s(where: str, value: object) -> float:
    if isinstance(value, str):
        return seconds_of(where, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(where, value, 'a duration such as "10s" or "1h", or a number of seconds')
    if not 0 <= value < math.inf:
        raise ConfigError(f"{where} is {value}, expected 0 seconds or more")
    return value


def _permissions(where: str, value: object) -> int:
    if not isinstance(value, str):
        # A number would be read as a decimal one by TOML, and mean something else than the same flag.
        raise _wrong(where, value, 'text with octal permissions such as "640"')
    return octal(where, value)


def _group(where: str, value: object) -> str | int:
    return value if isinstance(value, int) and not isinstance(value, bool) else _text(where, value)


KEYS: dict[str, tuple[str, Callable[[str, object], Any]]] = {
    "frequency": ("frequencies", _frequencies),
    "timezone": ("timezone", _text),
    "capacity": ("capacity", _whole_number),
    "instance-id": ("instance_id", _text),
    "sequence": ("sequencer", _text),
    "coalesce": ("coalesce", _text),
    "catch-up-window": ("catch_up_window_s", _duration_s),
    "max-step": ("max_step_s", _duration_s),
    "max-hold": ("max_hold_s", _duration_s),
    "settle": ("settle_s", _duration_s),
    "mode": ("mode", _permissions),
    "group": ("group", _group),
    "remove": ("remove", _yes_or_no),
    "realtime": ("realtime", _yes_or_no),
    "cpu": ("cpu", _whole_number),
}
"""Each key with the field of `StreamConfig` that it sets, and with what reads its value."""

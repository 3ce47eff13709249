"""The file of ``chronostream run``: TOML with a table for each stream, whose keys are the names of the flags.

An option is taken from the first of these that has it: flag, environment, file, default. docs/operating.md has an
example.
"""

from __future__ import annotations

import codecs
import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from chronostream.cli.types import TOML_TYPES, type_of
from chronostream.errors import ConfigError, InvalidTypeError, InvalidValueError
from chronostream.stream.config import OPTIONS, StreamConfig

__all__ = ["KEYS", "Settings", "read_streams", "settings_of", "stream_config"]

Settings = Mapping[str, Any]
"""The values of one stream in a file, by key."""

KEYS: dict[str, str] = {declared.key: field for field, declared in OPTIONS.items() if declared.key}
"""The field of `StreamConfig` that each key sets."""

_CURRENT = {former: key for key, field in KEYS.items() for former in OPTIONS[field].former}
_TABLE = "streams"
_BYTE_ORDER_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_streams(path: Path) -> dict[str, Settings]:
    """Return the settings of each stream of a file, in the file's order.

    Raises:
        ConfigError: the file does not exist, is not TOML, or has an unknown key or table.
    """
    try:
        content = path.read_bytes()
        document = tomllib.loads(content.decode())
    except OSError as error:
        raise ConfigError(f"the configuration {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        marked = content.startswith(_BYTE_ORDER_MARKS)
        why = "it begins with a byte-order mark; save it as UTF-8 without one" if marked else error
        raise ConfigError(f"the configuration {path} is not TOML: {why}") from error
    _check_keys(str(path), document, [_TABLE])
    tables = document.get(_TABLE, {})
    if not isinstance(tables, dict) or not tables:
        raise ConfigError(f"{path} has no streams, expected a table for each such as [{_TABLE}.market-clock]")
    return {name: _checked_settings(f"{path}, stream {name!r}", name, table) for name, table in tables.items()}


def settings_of(name: str, streams: Mapping[str, Settings], path: Path) -> Settings:
    """Return the settings of one stream of a file; `ConfigError` if it has none of that name."""
    if name not in streams:
        raise ConfigError(f"{path} has no stream {name!r}{_nearest(name, streams)}")
    return streams[name]


def stream_config(name: str, fields: Mapping[str, Any], settings: Settings, path: Path) -> StreamConfig:
    """Return the configuration of a stream of the file `path`; `fields` of `StreamConfig` come before its settings."""
    StreamConfig(name="flags", **fields)  # Checked alone: their errors must not name the file.
    origin = f"{path}, stream {name!r}: "
    in_file = {
        KEYS[key]: type_of(OPTIONS[KEYS[key]].kind).read(f"{origin}{key}", value)
        for key, value in settings.items()
        if KEYS[key] not in fields
    }
    try:
        return StreamConfig(name=name, **fields, **in_file)
    except (InvalidValueError, InvalidTypeError) as error:
        raise ConfigError(f"{origin}{error}") from error


def _checked_settings(where: str, name: str, table: Any) -> Settings:
    if not isinstance(table, dict):
        raise ConfigError(f"{where} is {TOML_TYPES[type(table)]}, expected a table such as [{_TABLE}.{name}]")
    settings: dict[str, Any] = {}
    for key, value in table.items():
        current = _CURRENT.get(key) or key
        if current in settings:
            raise ConfigError(f"{where} has {current!r} twice: {key!r} is its former name")
        if isinstance(value, dict) and current not in KEYS:
            raise ConfigError(
                f'{where}: unknown key {key!r}: a stream name with dots needs quotes, as in [{_TABLE}."{name}.{key}"]'
            )
        settings[current] = value
    _check_keys(where, settings, KEYS)
    return settings


def _check_keys(where: str, table: Mapping[str, object], known: Iterable[str]) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}{_nearest(key, known)}")


def _nearest(word: str, known: Iterable[str]) -> str:
    choices = list(known)
    nearest = difflib.get_close_matches(word.replace("_", "-").lower(), choices, n=1)
    return f": did you mean {nearest[0]!r}?" if nearest else f": expected one of {', '.join(choices)}"

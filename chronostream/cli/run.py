"""``chronostream run``: be the producer of a stream, in the foreground; or look after those of several."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from chronostream._log import log_to_stderr
from chronostream.cli.settings import read_streams, settings_of, stream_config
from chronostream.cli.supervise import log_ready, log_stopped, supervise
from chronostream.errors import AccessDeniedError, InvalidValueError
from chronostream.producer.life import check_host
from chronostream.producer.life import run as run_process
from chronostream.producer.priority import realtime_problem
from chronostream.stream.config import StreamConfig

__all__ = ["run"]

_log = logging.getLogger("chronostream")


def run(name: str | None = None, config: Path | None = None, for_s: float | None = None, **fields: Any) -> int:
    """Emit until stopped; `fields` of `StreamConfig` come before those of the file `config`."""
    configs = _configs(name, config, fields)
    log_to_stderr()
    configs = [_permitted(each, config) for each in configs]
    if len(configs) > 1:
        return supervise(configs, for_s=for_s)
    [only] = configs
    run_process(only, for_s=for_s, on_ready=lambda _: log_ready(only, os.getpid()), for_good=True)
    log_stopped(only)
    return 0


def _configs(name: str | None, path: Path | None, fields: Mapping[str, Any]) -> list[StreamConfig]:
    """Return what is to run: each stream is checked before any is started."""
    if path is None:
        if name is None:
            raise InvalidValueError("Missing argument 'name': name a stream, or give a file of them with --config")
        return [StreamConfig(name=name, **fields)]
    streams = read_streams(path)
    if name is not None:
        streams = {name: settings_of(name, streams, path)}
    return [stream_config(each, fields, settings, path) for each, settings in streams.items()]


def _permitted(config: StreamConfig, path: Path | None) -> StreamConfig:
    """Return a stream as this machine and this user's permissions allow it; refuse it if they do not."""
    where = config.name if path is None else f"{path}, stream {config.name!r}"
    try:
        check_host(config)
    except (InvalidValueError, AccessDeniedError) as error:
        if path is None:
            raise
        raise type(error)(f"{where}: {error}") from error
    if config.realtime and (problem := realtime_problem()):
        _log.warning("%s: %s", where, problem)
        return replace(config, realtime=False)
    return config

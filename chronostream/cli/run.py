"""``chronostream run``: be the producer of a stream, in the foreground; or look after those of several."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from chronostream.cli.log import log_to_stderr
from chronostream.cli.options import For, seconds_of
from chronostream.cli.settings import Settings, read_streams, settings_of, stream_config
from chronostream.cli.supervise import log_ready, supervise
from chronostream.errors import InvalidValueError
from chronostream.producer.life import run as run_process
from chronostream.stream.config import StreamConfig

__all__ = ["run"]

_log = logging.getLogger("chronostream")


def _option(help_: str, key: str, default: str | bool, *names: str, **more: Any) -> Any:
    """Return an option that the environment can set too; without any, what it does comes from the file or `default`."""
    return typer.Option(*names, help=help_, envvar=f"CHRONOSTREAM_{key}", show_default=default, **more)


_Name = Annotated[
    str | None, typer.Argument(help="The stream's name; with --config, only this stream of it.", show_default=False)
]
_Config = Annotated[
    Path | None, _option("TOML file with a table \\[streams.NAME] for each.", "CONFIG", False, dir_okay=False)
]
_Frequencies = Annotated[
    list[str] | None,
    _option("second, minute, hour or day; give it again for more.", "FREQUENCY", "second", "--frequency", "-f"),
]
_Timezone = Annotated[str | None, _option("IANA time zone of hours and days.", "TIMEZONE", "UTC")]
_Capacity = Annotated[int | None, _option("Events that the ring holds, a power of two.", "CAPACITY", "65536")]
_InstanceId = Annotated[str | None, _option("Who emits, in every event.", "INSTANCE_ID", "the host's name")]
_Sequence = Annotated[
    str | None,
    _option("counting: 1, 2, 3, … for each frequency; boundary: computed alike on every host.", "SEQUENCE", "counting"),
]
_Coalesce = Annotated[
    str | None,
    _option("Of several boundaries that passed at once, emit: earliest, latest, all.", "COALESCE", "earliest"),
]
_CatchUp = Annotated[str | None, _option("How far back 'all' goes.", "CATCH_UP_WINDOW", "1h")]
_MaxStep = Annotated[str | None, _option("How far the clock may jump ahead and be believed at once.", "MAX_STEP", "1h")]
_MaxHold = Annotated[
    str | None, _option("How long the clock may be behind before the status says 'held'.", "MAX_HOLD", "5m")
]
_Settle = Annotated[str | None, _option("How long a clock that jumped further must stay there.", "SETTLE", "10s")]
_Mode = Annotated[str | None, _option("Permissions of the segment, octal.", "MODE", "600")]
_Group = Annotated[str | None, _option("Group of the segment.", "GROUP", False)]
_Remove = Annotated[
    bool | None,
    _option("At the end delete the stream, or keep it for the next run.", "REMOVE", "keep", "--remove/--keep"),
]
_Realtime = Annotated[
    bool | None,
    _option(
        "Ask for real-time scheduling (SCHED_FIFO), and say so if it is not permitted.",
        "REALTIME",
        "no-realtime",
        "--realtime/--no-realtime",
    ),
]
_Cpu = Annotated[int | None, _option("Run on this processor only.", "CPU", False, min=0)]


def run(
    name: _Name = None,
    config: _Config = None,
    frequency: _Frequencies = None,
    timezone: _Timezone = None,
    capacity: _Capacity = None,
    instance_id: _InstanceId = None,
    sequence: _Sequence = None,
    coalesce: _Coalesce = None,
    catch_up_window: _CatchUp = None,
    max_step: _MaxStep = None,
    max_hold: _MaxHold = None,
    settle: _Settle = None,
    mode: _Mode = None,
    group: _Group = None,
    for_: For = None,
    remove: _Remove = None,
    realtime: _Realtime = None,
    cpu: _Cpu = None,
) -> int:
    """Be the producer of a stream: emit its events until stopped.

    SIGTERM and Ctrl-C stop it. A stream that was stopped, or whose producer died, is taken over where it ended. A name
    that is live is refused with exit status 3. Under systemd it tells when it is ready, and that it is alive.

    With --config and without a name, all streams of the file are emitted, each by a process of its own that ends with
    this one; if one fails, the others go on, and the exit status is 1 in the end. Keys in the file are named as the
    options here. An option comes before the environment, that before the file, and that before the default.
    """
    flags = {
        "frequency": frequency or None,
        "timezone": timezone,
        "capacity": capacity,
        "instance-id": instance_id,
        "sequence": sequence,
        "coalesce": coalesce,
        "catch-up-window": catch_up_window,
        "max-step": max_step,
        "max-hold": max_hold,
        "settle": settle,
        "mode": mode,
        "group": group,
        "remove": remove,
        "realtime": realtime,
        "cpu": cpu,
    }
    configs = _configs(name, config, flags)
    for_s = None if for_ is None else seconds_of("--for", for_)
    log_to_stderr()
    if len(configs) > 1:
        return supervise(configs, for_s=for_s)
    [only] = configs
    run_process(only, for_s=for_s, on_ready=lambda _: log_ready(only, os.getpid()), for_good=True)
    _log.info("stopped: stream %r %s", only.name, "removed" if only.remove else "closed, and kept for the next run")
    return 0


def _configs(name: str | None, path: Path | None, flags: Settings) -> list[StreamConfig]:
    """Return what is to run: each stream is checked before any is started."""
    if path is None:
        if name is None:
            raise InvalidValueError("Missing argument 'name': name a stream, or give a file of them with --config")
        return [stream_config(name, flags, {})]
    streams: Mapping[str, Settings] = read_streams(path)
    if name is not None:
        streams = {name: settings_of(name, streams, path)}
    return [stream_config(each, flags, settings, path) for each, settings in streams.items()]

"""``chronostream run``: be the producer of a stream, in the foreground."""

from __future__ import annotations

import logging
import os
import time
from typing import Annotated, Any

import typer

from chronostream.cli.options import Frequencies, Name, octal, seconds_of
from chronostream.config import StreamConfig
from chronostream.engine import Engine
from chronostream.event import Frequency
from chronostream.process import run as run_process
from chronostream.ring import CORE

__all__ = ["run"]

_log = logging.getLogger("chronostream")

_Timezone = Annotated[str, typer.Option(help="IANA time zone of hours and days.")]
_Capacity = Annotated[int, typer.Option(help="Events that the ring holds, a power of two.")]
_InstanceId = Annotated[
    str | None, typer.Option(help="Who emits, in every event; the host's name by default.", show_default=False)
]
_Sequence = Annotated[
    str, typer.Option(help="counting: 1, 2, 3, … for each frequency; boundary: computed alike on every host.")
]
_Coalesce = Annotated[str, typer.Option(help="Of several boundaries that passed at once, emit: earliest, latest, all.")]
_CatchUp = Annotated[str, typer.Option(help="How far back 'all' goes.")]
_MaxStep = Annotated[str, typer.Option(help="How far the clock may jump ahead and be believed at once.")]
_MaxHold = Annotated[str, typer.Option(help="How long the clock may be behind before the status says 'held'.")]
_Settle = Annotated[str, typer.Option(help="How long a clock that jumped further must stay there.")]
_Mode = Annotated[str, typer.Option(help="Permissions of the segment, octal.")]
_Group = Annotated[str | None, typer.Option(help="Group of the segment.", show_default=False)]
_For = Annotated[
    str | None, typer.Option("--for", help="Stop by itself after this long, such as 10s.", show_default=False)
]
_Remove = Annotated[bool, typer.Option("--remove", help="Delete the stream at the end instead of keeping it.")]
_Realtime = Annotated[
    bool,
    typer.Option("--realtime", help="Ask for real-time scheduling (SCHED_FIFO), and say so if it is not permitted."),
]
_Cpu = Annotated[int | None, typer.Option(help="Run on this processor only.", min=0, show_default=False)]


def run(
    name: Name,
    frequency: Frequencies = None,
    timezone: _Timezone = "UTC",
    capacity: _Capacity = 65536,
    instance_id: _InstanceId = None,
    sequence: _Sequence = "counting",
    coalesce: _Coalesce = "earliest",
    catch_up_window: _CatchUp = "1h",
    max_step: _MaxStep = "1h",
    max_hold: _MaxHold = "5m",
    settle: _Settle = "10s",
    mode: _Mode = "600",
    group: _Group = None,
    for_: _For = None,
    remove: _Remove = False,
    realtime: _Realtime = False,
    cpu: _Cpu = None,
) -> None:
    """Emit the events of a stream until SIGTERM or Ctrl-C; this process is its producer.

    A stream that was stopped, or whose producer died, is taken over where it ended. A name that is live is refused
    with exit status 3.
    """
    options: dict[str, Any] = {} if instance_id is None else {"instance_id": instance_id}
    config = StreamConfig(
        name=name,
        frequencies=tuple(frequency or ("second",)),
        timezone=timezone,
        capacity=capacity,
        sequencer=sequence,  # type: ignore[arg-type]  # any text: the configuration checks it
        coalesce=coalesce,  # type: ignore[arg-type]  # likewise
        catch_up_window_s=seconds_of("--catch-up-window", catch_up_window) or 0,
        max_step_s=seconds_of("--max-step", max_step) or 0,
        max_hold_s=seconds_of("--max-hold", max_hold) or 0,
        settle_s=seconds_of("--settle", settle) or 0,
        mode=octal(mode),
        group=group,
        remove=remove,
        realtime=realtime,
        cpu=cpu,
        **options,
    )
    for_s = seconds_of("--for", for_)
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(format="%(asctime)sZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")
    logging.getLogger("chronostream").setLevel(logging.INFO)
    run_process(config, for_s=for_s, on_ready=_log_ready, for_good=True)
    _log.info("stopped: stream %r %s", name, "removed" if remove else "closed, and kept for the next run")


def _log_ready(engine: Engine) -> None:
    config = engine.config
    _log.info(
        "ready: stream %r, %s in %s, process %d, %s core",
        config.name,
        ", ".join(Frequency.parse(frequency).label for frequency in config.frequencies),
        config.timezone,
        os.getpid(),
        CORE,
    )

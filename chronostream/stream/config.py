"""The configuration of a stream: one value, checked as a whole before anything is made."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from chronostream.clock.credibility import ClockTrust
from chronostream.errors import InvalidTypeError
from chronostream.event import EVENT_DTYPE, Frequency
from chronostream.ring import Layout, Producer, segment_name
from chronostream.scheduler import Coalesce, Scheduler, SchedulerState
from chronostream.stream.options import (
    DURATION,
    FREQUENCIES,
    GROUP,
    INTEGER,
    PERMISSIONS,
    PROCESSOR,
    SWITCH,
    ZONE,
    Section,
    choice,
    declared_options,
    option,
    text,
)
from chronostream.stream.state import STATE_SIZE
from chronostream.version import __version__

__all__ = ["OPTIONS", "REALTIME_PRIORITY", "SequencerKind", "StreamConfig", "checked_config", "default_instance"]

REALTIME_PRIORITY = 40
"""The priority under SCHED_FIFO that `realtime` requests: above usual programs, below the kernel's interrupts (50)."""

_STREAM, _CLOCK, _ACCESS, _PROCESS = Section
_INSTANCE, _VERSION = (text(EVENT_DTYPE[field].itemsize) for field in ("instance_id", "producer_version"))
SequencerKind = Literal["counting", "boundary"]
_SEQUENCER, _COALESCE, _TRUST = (choice(*get_args(kind)) for kind in (SequencerKind, Coalesce, ClockTrust))


def default_instance() -> str:
    """Return the name of this host, as far as it fits an event."""
    return os.uname().nodename[:64]


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """The configuration of a stream.

    An `Engine` ignores `realtime` and `cpu`: they are for a scheduler process.
    """

    name: str
    frequencies: Iterable[Frequency | str | int] = option(
        "frequency", FREQUENCIES, (Frequency.SECOND,), _STREAM, "Frequencies of the events.", letter="f"
    )
    timezone: str = option("timezone", ZONE, "UTC", _STREAM, "IANA time zone of hours and days.")
    capacity: int = option("capacity", INTEGER, 65536, _STREAM, "Events that the ring holds, a power of two.")
    instance_id: str = option(
        "instance-id",
        _INSTANCE,
        default_instance,
        _STREAM,
        "Name of the emitter, in every event.",
        words="the host's name",
    )
    producer_version: str = option(None, _VERSION, __version__, _STREAM, "Version of the emitter, in every event.")
    sequencer: SequencerKind = option(
        "sequencer",
        _SEQUENCER,
        "counting",
        _STREAM,
        "How to number events: counting (1, 2, 3, …), or boundary: from the time alone, the same on every host.",
        former=("sequence",),
    )
    coalesce: Coalesce = option(
        "coalesce", _COALESCE, "earliest", _CLOCK, "Which boundaries to emit when several passed at once."
    )
    catch_up_window_s: float = option("catch-up-window", DURATION, 3600, _CLOCK, "How far back coalesce 'all' emits.")
    max_step_s: float = option(
        "max-step", DURATION, 60, _CLOCK, "Largest forward jump of the clock that is believed at once."
    )
    max_hold_s: float = option(
        "max-hold", DURATION, 300, _CLOCK, "How long the clock may be behind before the status says 'held'."
    )
    settle_s: float = option("settle", DURATION, 10, _CLOCK, "How long the clock must be stable after a larger jump.")
    trust: ClockTrust = option(
        "trust",
        _TRUST,
        "plausible",
        _CLOCK,
        "Which clock to believe that no earlier reading confirms: one with a plausible date, one that a time service "
        "has synchronized, or any.",
    )
    max_consumers: int = option(None, INTEGER, 64, _ACCESS, "Slots for registered consumers.")
    mode: int = option("mode", PERMISSIONS, 0o600, _ACCESS, "Permissions of the segment, octal.")
    group: str | int | None = option("group", GROUP, None, _ACCESS, "Group of the segment, by name or number.")
    remove: bool = option(
        "remove", SWITCH, False, _PROCESS, "Delete the stream at the end, or keep it for the next run.", off="keep"
    )
    realtime: bool = option(
        "realtime", SWITCH, False, _PROCESS, "Request real-time scheduling (SCHED_FIFO); warn if it is not permitted."
    )
    cpu: int | None = option("cpu", PROCESSOR, None, _PROCESS, "Run on this processor only.")

    def __post_init__(self) -> None:
        """Check everything, and bring each value into its plain form."""
        segment_name(self.name)
        for name, declared in OPTIONS.items():
            object.__setattr__(self, name, declared.check(name, getattr(self, name)))
        self.scheduler()  # It checks the zone.
        Layout.plan(EVENT_DTYPE, self.capacity, 0, self.max_consumers)

    def scheduler(
        self,
        state: SchedulerState | None = None,
        *,
        same_boot: bool = True,
        barred_ns: Mapping[Frequency, int] | None = None,
    ) -> Scheduler:
        """Return the scheduler of this stream, from `state` on."""
        return Scheduler(
            self.frequencies,
            self.timezone,
            coalesce=self.coalesce,
            catch_up_window_s=self.catch_up_window_s,
            max_step_s=self.max_step_s,
            max_hold_s=self.max_hold_s,
            settle_s=self.settle_s,
            state=state,
            same_boot=same_boot,
            barred_ns=barred_ns,
        )

    def open_ring(self, before_live: Callable[[Producer], object]) -> Producer:
        """Return the ring of this stream, made or taken over; `before_live` and the errors are `Producer.create`'s."""
        return Producer.create(
            self.name,
            EVENT_DTYPE,
            self.capacity,
            application_size=STATE_SIZE,
            max_consumers=self.max_consumers,
            always_wake=True,  # A few records a second cost nothing, and lets a process block that may only read.
            mode=self.mode,
            group=self.group,
            producer_version=self.producer_version,
            instance_id=self.instance_id,
            before_live=before_live,
        )


def checked_config(config: StreamConfig) -> StreamConfig:
    """Return the configuration as it is, if it is one and not, say, a stream's name."""
    if not isinstance(config, StreamConfig):
        raise InvalidTypeError(f"config is {type(config).__name__}, expected a StreamConfig")
    return config


OPTIONS = declared_options(StreamConfig)
"""The declaration of each field but the name."""
if StreamConfig.__doc__:  # Python keeps none under -OO.
    StreamConfig.__doc__ = "\n".join(
        [
            f"{inspect.cleandoc(StreamConfig.__doc__)}\n\nAttributes:",
            "    name: 1 to 64 letters, digits, ``.``, ``_`` or ``-``.",
            *(f"    {name}: {declared.help}" for name, declared in OPTIONS.items()),
        ]
    )

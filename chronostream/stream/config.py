"""What a stream is to be: one value, checked as a whole before anything is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

from chronostream.errors import ConfigError, InvalidTypeError
from chronostream.event import EVENT_DTYPE, Frequency, encode_text
from chronostream.ring import Layout, Producer, segment_name
from chronostream.scheduler import Coalesce, Scheduler, SchedulerState
from chronostream.stream.state import STATE_SIZE
from chronostream.version import __version__

__all__ = ["SequencerKind", "StreamConfig", "checked_config", "default_instance"]

_PERMISSIONS, _OWNER = 0o777, 0o600
SequencerKind = Literal["counting", "boundary"]


def default_instance() -> str:
    """Return the name of this host, as far as it fits an event: who emits, if nobody says otherwise."""
    return os.uname().nodename[:64]


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """What a stream is to be.

    Attributes:
        name: 1 to 64 letters, digits, ``.``, ``_`` or ``-``.
        frequencies: one or more of `Frequency`, as such, by name or by number.
        timezone: the IANA zone of hours and days.
        capacity: events that the ring holds, a power of two.
        instance_id: who emits them, in every event; at most 64 bytes of UTF-8, the host's name by default.
        producer_version: version of the program, in every event; at most 32 bytes of UTF-8.
        sequencer: ``"counting"``, or ``"boundary"``, which numbers alike on every host.
        coalesce: which of several boundaries that passed at once is emitted: ``"earliest"``, ``"latest"``, ``"all"``.
        catch_up_window_s: how far back ``"all"`` goes.
        max_step_s: how far the clock may go forward, unconfirmed, and be believed at once.
        max_hold_s: how long the clock may be behind before the status calls for somebody to look at it.
        settle_s: how long a clock that went further than `max_step_s` must stay there to be believed.
        max_consumers: places in the table of registered consumers.
        mode: permissions of the stream's segment.
        group: its group, by name or number.
        remove: delete the stream when it stops, instead of keeping it for the next run.
        realtime: ask for real-time scheduling of the scheduler process; an `Engine` in this process does not.
        cpu: the only processor that the scheduler process runs on; likewise.

    Raises:
        InvalidValueError: something is out of its range; the message says what, and what was expected.
        InvalidTypeError: something is of the wrong kind.
    """

    name: str
    frequencies: Iterable[Frequency | str | int] = (Frequency.SECOND,)
    timezone: str = "UTC"
    capacity: int = 65536
    instance_id: str = field(default_factory=default_instance)
    producer_version: str = __version__
    sequencer: SequencerKind = "counting"
    coalesce: Coalesce = "earliest"
    catch_up_window_s: float = 3600
    max_step_s: float = 3600
    max_hold_s: float = 300
    settle_s: float = 10
    max_consumers: int = 64
    mode: int = 0o600
    group: str | int | None = None
    remove: bool = False
    realtime: bool = False
    cpu: int | None = None

    def __post_init__(self) -> None:
        """Check everything, and put the frequencies into their order."""
        segment_name(self.name)
        object.__setattr__(self, "frequencies", self.scheduler().frequencies)
        Layout.plan(EVENT_DTYPE, self.capacity, 0, self.max_consumers)
        encode_text("instance_id", self.instance_id)
        encode_text("producer_version", self.producer_version)
        if self.sequencer not in get_args(SequencerKind):
            raise ConfigError(f"sequencer is {self.sequencer!r}, expected one of {', '.join(get_args(SequencerKind))}")
        for what, flag in (("remove", self.remove), ("realtime", self.realtime)):
            if not isinstance(flag, bool):
                raise InvalidTypeError(f"{what} is {type(flag).__name__}, expected True or False")
        if not isinstance(self.mode, int) or self.mode & ~_PERMISSIONS or self.mode & _OWNER != _OWNER:
            shown = f"{self.mode:#o}" if isinstance(self.mode, int) else repr(self.mode)
            raise ConfigError(
                f"mode is {shown}, expected permissions such as 0o600 or 0o640, by which its owner reads and writes"
            )
        if self.cpu is not None and (not isinstance(self.cpu, int) or isinstance(self.cpu, bool) or self.cpu < 0):
            raise ConfigError(f"cpu is {self.cpu!r}, expected the number of a processor, from 0 on")

    def scheduler(self, state: SchedulerState | None = None, *, same_boot: bool = True) -> Scheduler:
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
        )

    def open_ring(self, before_live: Callable[[Producer], object]) -> Producer:
        """Return the ring of this stream, made or taken over; `before_live` and the errors are `Producer.create`'s."""
        return Producer.create(
            self.name,
            EVENT_DTYPE,
            self.capacity,
            application_size=STATE_SIZE,
            max_consumers=self.max_consumers,
            always_wake=True,  # A few records a second cost nothing, and who may only read can block too.
            mode=self.mode,
            group=self.group,
            version=self.producer_version,
            instance=self.instance_id,
            before_live=before_live,
        )


def checked_config(config: StreamConfig) -> StreamConfig:
    """Return the configuration as it is, if it is one.

    Raises:
        InvalidTypeError: it is something else, such as the stream's name.
    """
    if not isinstance(config, StreamConfig):
        raise InvalidTypeError(f"config is {type(config).__name__}, expected a StreamConfig")
    return config

"""The composition root: clock + scheduler + sequencer + event → ring.

One turn asks the scheduler what is due, publishes it, and saves a checkpoint; `Engine.run` waits in between. The engine
first publishes and then saves. So after a crash, the next producer finds in the ring what the checkpoint does not have
yet, and counts it in (docs/time.md, "What survives a crash").
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

import numpy as np
import numpy.typing as npt

from chronostream import ring as rings
from chronostream._values import SECOND_NS, checked_seconds, utc_text
from chronostream.calendar.calendar import Calendar
from chronostream.calendar.sequencer import BoundarySequencer, CountingSequencer, Sequencer
from chronostream.clock import Clock, Stop, StopFlag, SystemClock
from chronostream.errors import (
    ClosedError,
    ConfigError,
    CorruptSegmentError,
    InvalidTypeError,
    InvalidValueError,
    LayoutMismatchError,
    StreamMismatchError,
)
from chronostream.event import EVENT_DTYPE, Event, Frequency, build_mixed_events, to_events
from chronostream.producer.zones import ZoneWatch, barred_boundaries, behind_published, missed_between
from chronostream.scheduler import SchedulerState, Step, Tick
from chronostream.stream.config import StreamConfig, checked_config
from chronostream.stream.description import Description
from chronostream.stream.state import Checkpoint, Published, StateWriter

__all__ = ["Engine"]

_log = logging.getLogger(__name__)

# Within this time an engine notices that its stream was removed, however rare its events are.
_LONGEST_WAIT_S = 5.0
# How often to look whether the zone data on disk changed, and how long before the next boundary: a look may take 0.1 s.
_LOOK_EVERY_NS, _LOOK_AWAY_NS = 3600 * SECOND_NS, SECOND_NS // 2
_NOTHING = np.empty(0, EVENT_DTYPE)


class Engine:
    """Emits one stream. Opens it when made, closes it when `run` ends or by `close`; one thread at a time.

    If the engine cannot be made, an existing stream stays as it was, dead or closed, and a given `ring` stays open.

    Args:
        config: the stream's configuration.
        clock: `SystemClock` if not given.
        sequencer: of the kind that `config` names if not given.
        ring: a ring of `EVENT_DTYPE` with an application area of `STATE_SIZE`, which the engine closes in the end; made
            by `config` if not given.

    Raises:
        ProducerActiveError: the name is live.
        LayoutMismatchError: the stream exists with another capacity.
        StreamMismatchError: it exists with another zone, sequencer or set of frequencies.
        CorruptSegmentError: it is damaged, or another program's.
        AccessDeniedError: it is another user's.
        OutOfSharedMemoryError: there is no room for it.
        InvalidValueError: the sequencer is of another zone than `config`, or has already given a number above the
            stream's last.
    """

    def __init__(
        self,
        config: StreamConfig,
        *,
        clock: Clock | None = None,
        sequencer: Sequencer | None = None,
        ring: rings.Producer | None = None,
    ) -> None:
        self.config = checked_config(config)
        _check_part("clock", clock, "both_ns")
        _check_part("sequencer", sequencer, "assign")
        _check_part("ring", ring, "publish_many")
        self._frequencies = config.scheduler().frequencies
        if sequencer is None:
            sequencer = BoundarySequencer(config.timezone) if config.sequencer == "boundary" else CountingSequencer()
        elif isinstance(sequencer, BoundarySequencer) and sequencer.timezone != config.timezone:
            raise ConfigError(
                f"the sequencer numbers the days of {sequencer.timezone}, the stream is of {config.timezone}: they "
                "must be the same"
            )
        self._sequencer = sequencer
        self._calendar = Calendar.for_zone(config.timezone)
        self._prepared: npt.NDArray[np.void] | None = None  # the records of the next deadline
        self._published_at: tuple[int, int, int] | None = None  # both clocks before it, and the wall clock behind
        self._saved: Checkpoint | None = None
        self._closed = False
        with ExitStack() as own:
            self._clock = own.enter_context(SystemClock()) if clock is None else clock
            self._boot_id = self._clock.boot_id()
            self._look_at_ns = self._clock.boottime_ns() + _LOOK_EVERY_NS
            if ring is None:
                config.open_ring(self._begin)
            else:
                self._begin(ring)
            self._own = own.pop_all()

    @property
    def ring(self) -> rings.Producer:
        """The ring that this engine publishes into."""
        return self._ring

    def run(
        self,
        stop: StopFlag | None = None,
        *,
        each_turn: Callable[[], object] | None = None,
        longest_wait_s: float | None = None,
    ) -> None:
        """Emit until `stop` is set, then mark the stream closed.

        Args:
            stop: any object with ``is_set()``. A `Stop` ends a wait at once, a `threading.Event` within 0.25 s. Without
                it, only an exception such as KeyboardInterrupt ends the run.
            each_turn: called before each look at what is due, for example to send a supervisor a sign of life.
            longest_wait_s: the longest time from one such call to the next, at most 5 seconds.

        Raises:
            StreamRemovedError: the stream was deleted.
            ClosedError: the engine was closed.
        """
        _check_part("stop", stop, "is_set")
        longest_s = _LONGEST_WAIT_S if longest_wait_s is None else checked_seconds("longest_wait_s", longest_wait_s)
        longest_wait_ns = int(min(longest_s, _LONGEST_WAIT_S) * SECOND_NS)
        with Stop() as never:
            flag = never if stop is None else stop
            try:
                while not flag.is_set():
                    if each_turn is not None:
                        each_turn()
                    deadline_ns = self.step()
                    self._ring.check()
                    latest_ns = self._clock.realtime_ns() + longest_wait_ns
                    self._clock.wait(min(deadline_ns, latest_ns), flag, while_spinning=self._publish_when_due)
                if self._published_at is not None:
                    self.step()
            finally:
                self.close()

    def step(self) -> int:
        """Publish what is due now, and build what comes next; return when to look again, in Unix nanoseconds.

        `run` calls this. A test that moves a `FakeClock` without threads may call it, too.
        """
        if self._closed:
            raise ClosedError(f"the engine of stream {self.config.name!r} was closed: make another one")
        if self._published_at is None:
            self._publish_when_due()
        if self._prepared is not None and self._published_at is not None:
            realtime_ns, boottime_ns, visible_ns = self._published_at
            self._count(self._prepared, visible_ns)
            for tick in self._scheduler.upcoming():
                self._sequencer.assign(tick.frequency, tick.boundary_ns)
            step = self._scheduler.step(realtime_ns, boottime_ns)
        else:
            realtime_ns, boottime_ns = self._clock.both_ns()
            step = self._look(realtime_ns, boottime_ns)
            self._emit_ticks(step.ticks)
        self._record(step)
        self._prepare()
        if boottime_ns >= self._look_at_ns and step.deadline_ns - realtime_ns > _LOOK_AWAY_NS:
            self._look_at_ns = boottime_ns + _LOOK_EVERY_NS
            self._look_at_zone_data()
        return step.deadline_ns

    def close(self) -> None:
        """Mark the stream closed; delete it if its configuration says so. Twice is fine."""
        self._closed = True
        self._ring.close(remove=self.config.remove)
        self._own.close()

    def __repr__(self) -> str:
        frequencies = ", ".join(each.label for each in self._frequencies)
        position = 0 if self._saved is None else self._saved.position
        state = "closed" if self._closed else f"open, {position} events"
        return f"<Engine {self.config.name!r}: {frequencies} in {self.config.timezone}, {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _look(self, realtime_ns: int, boottime_ns: int) -> Step:
        """Take a step of the scheduler at these readings, unless there is a reason to doubt the clock."""
        return self._scheduler.step(realtime_ns, boottime_ns, self._clock.doubt(self.config.trust, realtime_ns))

    def _record(self, step: Step) -> None:
        """Save and log the result of a step. A stream that has not begun has nothing to save."""
        # The first step of a boot is saved, too: only then do readings of its boot clock compare with what is saved.
        new = self._saved is None or self._saved.boot_id != self._boot_id
        if self._scheduler.has_begun and (step.ticks or step.notices or new):
            self._save(self._scheduler.state, self._boot_id)
        if step.notices:
            self._state.save_status(self._scheduler.status())
        for notice in step.notices:
            _log.log(notice.kind.level, "%s: %s", self.config.name, notice.message)

    def _prepare(self) -> None:
        """Build what the deadline will bring, so that only a comparison and the publish are left to do then."""
        self._published_at = None
        ticks = self._scheduler.upcoming()
        # More than a ring of them needs checkpoints in between, so `_emit_ticks` publishes those.
        fits = 0 < len(ticks) <= self._ring.capacity
        self._prepared = self._build(ticks, self._sequencer.peek) if fits else None

    def _publish_when_due(self) -> None:
        """Publish what was prepared, once, if it is due; otherwise publish nothing, by the same calls.

        `Clock.wait` calls this over and over while it spins: that keeps caches and branch predictors warm.
        """
        if self._prepared is None:
            return
        readings = self._clock.both_ns()
        due = self._scheduler.is_ordinary(*readings) and self._published_at is None
        self._ring.publish_many(self._prepared if due else _NOTHING)
        if due:
            self._published_at = (*readings, self._clock.realtime_ns())

    def _emit_ticks(self, ticks: tuple[Tick, ...]) -> None:
        """Publish any number of ticks, at most a ring of them between two checkpoints.

        A takeover counts in what it finds in the ring behind the checkpoint, so nothing there may be overwritten yet.
        """
        if self._saved is None:
            return  # The stream has not begun, so nothing is due.
        state = self._saved.scheduler
        for start in range(0, len(ticks), self._ring.capacity):
            if start:
                for tick in ticks[start - self._ring.capacity : start]:
                    state = state.with_published(tick.frequency, tick.boundary_ns, self._calendar)
                self._save(state, self._saved.boot_id)
            records = self._build(ticks[start : start + self._ring.capacity], self._sequencer.assign)
            self._ring.publish_many(records)
            self._count(records, self._clock.realtime_ns())

    def _build(self, ticks: tuple[Tick, ...], number: Callable[[Frequency, int], int]) -> npt.NDArray[np.void]:
        """Return the records of boundaries, which `number` numbers."""
        stamps = np.array([tick.boundary_ns for tick in ticks], np.int64)
        sequences = [number(tick.frequency, tick.boundary_ns) for tick in ticks]
        texts = self.config.producer_version, self.config.instance_id
        frequencies = [tick.frequency for tick in ticks]
        return build_mixed_events(frequencies, stamps, np.array(sequences, np.uint64), *texts)

    def _count(self, records: npt.NDArray[np.void], visible_ns: int) -> None:
        """Take into account what was published, and when it became visible."""
        columns = (records[field].tolist() for field in ("frequency", "sequence", "timestamp"))
        for number, sequence, boundary_ns in zip(*columns, strict=True):
            frequency = Frequency(number)
            self._published[frequency] = Published(sequence, boundary_ns)
            self._state.count_lateness(frequency, visible_ns - boundary_ns)

    def _save(self, state: SchedulerState, boot_id: bytes) -> None:
        """Save a state whose clock readings are of the boot `boot_id`: before the first step, an earlier one."""
        self._saved = Checkpoint(self._ring.head, boot_id, state, self._published)
        self._state.save(self._saved)

    def _begin(self, ring: rings.Producer) -> None:
        """Continue from what is in the ring; change nothing there before the last check."""
        if ring.dtype != EVENT_DTYPE:
            raise LayoutMismatchError(f"the ring's dtype is {ring.dtype}, an engine's is EVENT_DTYPE")
        self._ring = ring
        self._state = StateWriter(ring.application)
        requested = Description(self._frequencies, self.config.timezone, self._sequencer.kind)
        found = self._state.description()
        if found is not None and found != requested:
            raise StreamMismatchError(
                f"stream {self.config.name!r} has {found}, requested were {requested}: use the same, another name, or "
                f"remove it first (`chronostream remove {self.config.name}`)"
            )
        state, boot_id = self._restore()
        now_ns, kept = self._clock.realtime_ns(), self._state.zone_data()
        self._zones = ZoneWatch(self.config.name, self._calendar, kept, now_ns, is_new=found is None)
        barred_ns = None
        if state is not None:
            state, barred_ns = self._adapt_to_zone_data(state)
        self._scheduler = self.config.scheduler(state, same_boot=boot_id == self._boot_id, barred_ns=barred_ns)
        first = self._look(*self._clock.both_ns()) if state is None else None
        if found is None:
            self._state.describe(requested)
        if state is not None:
            self._save(state, boot_id)
        # After the state: if this process dies in between, the next producer reports the change of zone data again.
        self._state.save_zone_data(self._zones.stream_data)
        self._state.save_status(self._scheduler.status())
        if first is not None:
            self._record(first)

    def _restore(self) -> tuple[SchedulerState | None, bytes]:
        """Return the state in which the stream ended, None for a new one, and the boot."""
        checkpoint = self._state.checkpoint()
        if checkpoint is None:
            if self._ring.head:
                raise CorruptSegmentError(
                    f"stream {self.config.name!r} has events but no whole checkpoint: remove it (`chronostream remove "
                    f"{self.config.name}`), and start it anew"
                )
            self._published = dict.fromkeys(self._frequencies, Published())
            return None, self._boot_id
        self._published = checkpoint.published
        try:
            state = self._counted_in(checkpoint.scheduler, self._published_since(checkpoint.position))
        except InvalidValueError as error:
            raise self._damaged(error) from error
        for frequency, last in self._published.items():
            self._sequencer.restore(frequency, last.sequence)
        return state, checkpoint.boot_id

    def _damaged(self, error: InvalidValueError) -> CorruptSegmentError:
        return CorruptSegmentError(f"stream {self.config.name!r} is damaged: {error}; remove it")

    def _counted_in(self, saved: SchedulerState, events: list[Event]) -> SchedulerState:
        """Return the state after what was published but not saved, and log what that producer missed."""
        state = saved
        for event in events:
            state = state.with_published(event.frequency, event.timestamp, self._calendar)
            self._published[event.frequency] = Published(event.sequence, event.timestamp)
        if missed := missed_between(saved, state):
            _log.warning("%s: the producer before this one died having missed %s", self.config.name, ", ".join(missed))
        return state

    def _adapt_to_zone_data(self, restored: SchedulerState) -> tuple[SchedulerState, dict[Frequency, int]]:
        """Return the state to continue from with these zone data, and up to which boundaries none may be emitted."""
        state, barred_ns = restored, dict[Frequency, int]()
        if self._zones.stream_data.replaced_at_ns:
            try:
                state = behind_published(restored, self._published, self._calendar)
                barred_ns = barred_boundaries(state, self._published, self._calendar, self._sequencer)
            except InvalidValueError as error:
                raise self._damaged(error) from error
        missed = missed_between(restored, state)
        missed += [f"the {frequency.label} {utc_text(last_ns)}" for frequency, last_ns in barred_ns.items()]
        if self._zones.difference or missed:
            _log.warning(
                "%s: %s; the stream goes on behind its last event%s",
                self.config.name,
                self._zones.difference
                or f"some events were made with other zone data than {self._zones.stream_data.current}",
                f", and misses {', '.join(missed)}, so as to repeat nothing" if missed else "",
            )
        return state, barred_ns

    def _look_at_zone_data(self) -> None:
        """Report that the zone data on disk changed, once; this engine keeps its own."""
        if self._zones.look():
            self._state.save_zone_data(self._zones.stream_data)
            current, on_disk = self._zones.stream_data.current, self._zones.stream_data.on_disk
            if on_disk is None:
                _log.info("%s: the zone data on disk are again those in use, %s", self.config.name, current)
            else:
                text = "%s: the zone data on disk changed to %s: this producer goes on with %s until it is restarted"
                _log.warning(text, self.config.name, on_disk, current)

    def _published_since(self, position: int) -> list[Event]:
        """Return the events that were published after a checkpoint and before a crash."""
        head, capacity = self._ring.head, self._ring.capacity
        if not 0 <= head - position <= capacity:
            raise CorruptSegmentError(
                f"stream {self.config.name!r} has head {head} but its checkpoint is of {position}: remove it, and "
                "start it anew"
            )
        return to_events(self._ring.records[np.arange(position, head) & (capacity - 1)])


def _check_part(what: str, part: object, method: str) -> None:
    if part is not None and not hasattr(part, method):
        raise InvalidTypeError(f"{what} is {type(part).__name__}, expected what has a method {method}()")

"""Whether to believe the wall clock, by its offset from the clock that nobody can set (docs/time.md).

It knows nothing of boundaries. A quarantine is the time during which the wall clock is not believed.
"""

from __future__ import annotations

from chronostream._values import SECOND_NS, seconds_text, utc_text
from chronostream.scheduler.state import SchedulerState
from chronostream.scheduler.step import Condition, Notice, NoticeKind

__all__ = ["Trust"]

# If the offset moves by less between two looks, the clock was not set. A time service slews a clock by a tenth at most,
# and the two clocks are read one after the other. This decides which steps are reported, and whether a quarantined
# clock has stayed; it does not decide what is due.
_SLACK_NS, _SLACK_DIVISOR = 50_000_000, 8


class Trust:
    """The offset between the clocks that is believed.

    An offset ahead of it by at most `max_step_ns` is believed at once, one further ahead when it stayed for
    `settle_ns`.
    """

    def __init__(self, max_step_ns: int, settle_ns: int) -> None:
        self._max_step_ns = max_step_ns
        self._settle_ns = settle_ns
        self._trusted_ns = self._offset_ns = self._boottime_ns = 0
        self._settles_at_ns: int | None = None

    def begin(self, state: SchedulerState, realtime_ns: int, boottime_ns: int, *, same_boot: bool) -> None:
        """Continue from `state` at these readings, which are not judged yet."""
        if same_boot:
            self._trusted_ns = self._offset_ns = state.realtime_ns - state.boottime_ns
            self._boottime_ns = state.boottime_ns
        else:
            # As though no time had passed since, because none is confirmed; and no step of the clock is reported.
            self._trusted_ns = state.realtime_ns - boottime_ns
            self._offset_ns = realtime_ns - boottime_ns
            self._boottime_ns = boottime_ns

    @property
    def quarantined(self) -> bool:
        """Whether the wall clock is not believed."""
        return self._settles_at_ns is not None

    @property
    def settling_ns(self) -> int | None:
        """When to look at a quarantined clock again: once it has stayed; None while the clock is believed."""
        if self._settles_at_ns is None:
            return None
        remaining_ns = self._settles_at_ns - self._boottime_ns
        return remaining_ns if remaining_ns > 0 else SECOND_NS  # With a doubt, the clock does not settle.

    def reference(self) -> tuple[int, int]:
        """Return what the wall clock should read at the last judgement, and what the boot clock read."""
        return self._trusted_ns + self._boottime_ns, self._boottime_ns

    def believes(self, realtime_ns: int, boottime_ns: int) -> bool:
        """Return whether these readings would be believed at once."""
        return realtime_ns - boottime_ns - self._trusted_ns <= self._max_step_ns

    def doubt_first(self, realtime_ns: int, boottime_ns: int, doubt: str) -> list[Notice]:
        """Do not believe the first reading of a new stream; return what there is to log."""
        notices = [] if self.quarantined else [_doubted(utc_text(realtime_ns), doubt)]
        self._settles_at_ns = self._boottime_ns = boottime_ns
        return notices

    def judge(self, realtime_ns: int, boottime_ns: int, floor_ns: int, doubt: str) -> list[Notice]:
        """Take readings of both clocks into account and return the notices; `quarantined` is the verdict.

        With a `doubt`, which says why the wall clock may be wrong, a quarantine does not end by settling.
        """
        notices: list[Notice] = []
        offset_ns = realtime_ns - boottime_ns
        moved_ns = offset_ns - self._offset_ns
        moved = abs(moved_ns) > _SLACK_NS + (boottime_ns - self._boottime_ns) // _SLACK_DIVISOR
        self._offset_ns, self._boottime_ns = offset_ns, boottime_ns
        if moved:
            kind, way = (NoticeKind.STEP_FORWARD, "forward") if moved_ns > 0 else (NoticeKind.STEP_BACK, "back")
            text = f"the clock was set {way} by {seconds_text(abs(moved_ns))}, to {utc_text(realtime_ns)}"
            notices.append(Notice(kind, text))

        ahead_ns = offset_ns - self._trusted_ns
        if ahead_ns > self._max_step_ns:
            self._settle(ahead_ns, notices, doubt, moved=moved)
            return notices
        if self._settles_at_ns is not None:
            self._settles_at_ns = None
            notices.append(
                Notice(NoticeKind.RETURNED, f"the clock reads {utc_text(realtime_ns)} and is believed: quarantine over")
            )
        # Before the floor nothing is due anyway, and a clock that then returns to its place must find it believed.
        if realtime_ns >= floor_ns:
            self._trusted_ns = offset_ns
        return notices

    def _settle(self, ahead_ns: int, notices: list[Notice], doubt: str, *, moved: bool) -> None:
        now = utc_text(self._offset_ns + self._boottime_ns)
        if self._settles_at_ns is None:
            ahead = seconds_text(ahead_ns)
            text = f"the clock reads {now}, {ahead} more than is confirmed: nothing is emitted until it has stayed"
            notices.append(_doubted(now, doubt) if doubt else Notice(NoticeKind.QUARANTINE, text))
        if self._settles_at_ns is None or moved:
            self._settles_at_ns = self._boottime_ns + self._settle_ns
        if self._boottime_ns >= self._settles_at_ns and not doubt:
            self._settles_at_ns = None
            self._trusted_ns = self._offset_ns
            notices.append(Notice(NoticeKind.SETTLED, f"the clock stayed and is believed at {now}: quarantine over"))


def _doubted(now: str, doubt: str) -> Notice:
    """Return the notice that the clock, which reads `now`, is not to be believed, however long it stays there."""
    text = f"the clock reads {now}, {doubt}: nothing is emitted; {Condition.QUARANTINED.advice}"
    return Notice(NoticeKind.QUARANTINE, text)

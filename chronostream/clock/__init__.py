"""The clock: the only place that asks the system for the time, and the only one that waits for it.

`SystemClock` is the machine's; `FakeClock` moves only when told, for tests and simulated years. Neither knows what a
boundary is: they are given deadlines in Unix nanoseconds (docs/time.md).
"""

from __future__ import annotations

from chronostream.clock.fake import FakeClock
from chronostream.clock.protocol import Clock, StopFlag, Wake
from chronostream.clock.stop import Stop
from chronostream.clock.system import SystemClock

__all__ = ["Clock", "FakeClock", "Stop", "StopFlag", "SystemClock", "Wake"]

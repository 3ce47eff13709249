"""Clocks: the only place that reads the system's time and waits for it.

`SystemClock` is the machine's clock. `FakeClock` is moved by a test or a simulation. Neither knows what a boundary is:
both wait for deadlines in Unix nanoseconds (docs/time.md).
"""

from __future__ import annotations

from chronostream.clock.fake import FakeClock
from chronostream.clock.protocol import Clock, StopFlag, Wake
from chronostream.clock.stop import Stop
from chronostream.clock.system import SystemClock

__all__ = ["Clock", "FakeClock", "Stop", "StopFlag", "SystemClock", "Wake"]

"""Roll your own records up on each boundary: a second ring with a sensor's readings, joined to the clock.

The sensor does not know the clock, and the clock does not know the sensor. At each boundary, whatever the sensor
measured before it belongs to the period that ends there; what it has measured since waits for the next one. A reading
that comes after its period was rolled up is counted as late, and not mixed into another one.
"""

from __future__ import annotations

import math
import threading
import time
from datetime import UTC, datetime
from itertools import islice

import numpy as np
from _demo import demo

import chronostream as cs

READING = np.dtype([("time_ns", "<i8"), ("value", "<f8")])


def measure(sensor: cs.ring.Producer, stop: threading.Event) -> None:
    """Be the sensor: a reading every few milliseconds. It would be a process of its own."""
    while not stop.wait(0.005):
        now_ns = time.time_ns()
        sensor.publish((now_ns, math.sin(now_ns / 1e9)))


class Rollup:
    """Cuts a ring of readings at the clock's boundaries.

    Attributes:
        late: how many readings came after their period had been rolled up.
    """

    def __init__(self, readings: cs.ring.Consumer) -> None:
        self.late = 0
        self._readings = readings
        self._start_ns = 0
        self._pending = np.empty(0, READING)

    def until(self, boundary_ns: int) -> np.ndarray:
        """Return the readings of the period that ends at this boundary."""
        rows = np.concatenate([self._pending, self._readings.read()])
        times = rows["time_ns"]
        self.late += int(np.count_nonzero(times < self._start_ns))
        period = rows[(times >= self._start_ns) & (times < boundary_ns)]
        self._pending = rows[times >= boundary_ns]
        self._start_ns = boundary_ns
        return period


with (
    demo(__doc__) as wanted,
    cs.ring.Producer.create(f"{wanted.name}-sensor", READING, 4096) as sensor,
    cs.ring.Consumer.attach(sensor.name) as readings,
    cs.every("second", wanted.name) as seconds,
):
    stop = threading.Event()
    measuring = threading.Thread(target=measure, args=(sensor, stop))
    measuring.start()
    try:
        rollup = Rollup(readings)
        rollup.until(next(seconds).timestamp)  # a period that began without us
        for event in islice(seconds, wanted.count):
            period = rollup.until(event.timestamp)
            values = period["value"]
            print(
                f"{datetime.fromtimestamp(event.timestamp // 10**9, UTC):%H:%M:%S}  {len(values)} readings  "
                f"min {values.min():+.3f}  mean {values.mean():+.3f}  max {values.max():+.3f}  late {rollup.late}"
            )
    finally:
        stop.set()
        measuring.join()

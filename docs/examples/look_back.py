"""Look back at what the ring still holds, by time and by sequence, and ask what is missing.

The gap report tells two things apart: boundaries at which nothing was emitted, and events that were emitted and are
not in what was read. Here, one event is taken out on purpose, so that there is something to report.
"""

from __future__ import annotations

import numpy as np
from _demo import demo

import chronostream as cs

with demo(__doc__, count=4) as wanted, cs.every("second", wanted.name) as seconds:
    events = [next(seconds) for _ in range(wanted.count)]
    first, last = events[0], events[-1]

    by_time = cs.history(wanted.name, {"second"}, start_ns=first.timestamp, end_ns=last.timestamp)
    print(f"by time, the end excluded: {cs.event_ids(by_time).tolist()}")

    by_sequence = cs.history(wanted.name, {"second"}, sequences=range(first.sequence, last.sequence + 1))
    print(f"by sequence: {cs.event_ids(by_sequence).tolist()}")

    print(f"missing from it: {cs.find_gaps(by_sequence)}")
    for gap in cs.find_gaps(np.delete(by_sequence, slice(1, 2))):
        print(f"missing with one taken out: {gap}")

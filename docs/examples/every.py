"""Be called at each boundary: one turn of the loop for each second, and none is ever forgotten.

A turn that takes longer than a period falls behind; ``coalesce="latest"`` catches up instead, with the newest event.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import islice

from _demo import demo

import chronostream as cs

with demo(__doc__) as wanted, cs.every("second", wanted.name) as seconds:
    for event in islice(seconds, wanted.count):
        late_ms = (time.time_ns() - event.timestamp) / 1e6
        print(f"{datetime.fromtimestamp(event.timestamp // 10**9, UTC):%H:%M:%S}  {event.id}  {late_ms:.3f} ms late")

"""A broadcast ring for any fixed-width dtype, in shared memory; it knows nothing of events, time or scheduling.

One producer, any number of consumers, in any processes of one machine::

    producer.py ─┐                 ┌─ consumer.py        handles; _handle.py is what they have in common
                 ├─▶ segment.py ◀──┤                     one mapped segment: life, locks, takeover
    core.py ─────┘   layout.py     └─ inspect.py         which core; where each byte is; the view from outside
      _portable.py  _native          records.py          the protocol, twice; what callers hand in
                     dtypes.py  shm.py                   a dtype as text; what the operating system does

docs/ring.md has the byte layout and the numbered steps that the cores cite.
"""

import sys

from chronostream.errors import CoreUnavailableError

if sys.platform != "linux":
    raise CoreUnavailableError(f"ChronoStream runs on Linux; this is {sys.platform}")

from chronostream.ring.consumer import Consumer
from chronostream.ring.core import CORE
from chronostream.ring.inspect import ConsumerStatus, RingStatus, inspect, list_names, remove
from chronostream.ring.layout import Layout
from chronostream.ring.producer import Producer
from chronostream.ring.shm import PREFIX, segment_name

__all__ = [
    "CORE",
    "PREFIX",
    "Consumer",
    "ConsumerStatus",
    "Layout",
    "Producer",
    "RingStatus",
    "inspect",
    "list_names",
    "remove",
    "segment_name",
]

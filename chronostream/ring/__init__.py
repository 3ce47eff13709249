"""A broadcast ring for any fixed-width dtype, in shared memory; it knows nothing of events, time or scheduling.

One producer, any number of consumers, in any processes of one machine::

    producer.py ─┐                 ┌─ consumer.py        handles
                 ├─▶ segment.py ◀──┤                     one mapped segment, and its locks
    core.py ─────┘   opening.py    └─ inspect.py         which core; found, made, taken over; the view from outside
      _portable.py  _native          layout.py           the protocol, twice; where each byte is
       _side.py, _futex.py                               what the portable core is made on
    records.py  dtypes.py             shm.py             what callers hand in; a dtype as text; the operating system

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

"""A broadcast ring for any fixed-width dtype, in shared memory; it does not depend on events, time or scheduling.

One producer publishes to any number of consumers, in any processes of one machine. docs/architecture.md lists the
modules; docs/ring.md has the byte layout and the numbered steps that the cores cite.
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

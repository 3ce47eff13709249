"""Bridges to other hosts, by NATS JetStream: none of it is a transport of our own (docs/distributed.md).

::

    ring ─▶ backlog ─▶ relay ═▶ JetStream ═▶ reader ─▶ mirror ─▶ ring of the same layout
                         │                     └─────▶ history ─▶ arrays
        encoding · continuity · zones · jetstream · connection

A relay is a consumer like any other, and a mirror a producer like any other: neither side of a ring knows of them.
Importing this package needs nats-py, the extra ``nats``.
"""

from chronostream._extras import require

require("nats", "chronostream[nats]")

"""Bridges to other hosts through NATS JetStream (docs/distributed.md).

::

    ring ─▶ backlog ─▶ relay ═▶ JetStream ═▶ reader ─▶ mirror ─▶ ring of the same layout
                         │                     └─────▶ history ─▶ arrays
        encoding · continuity · zones · jetstream · connection

A relay is an ordinary consumer, and a mirror an ordinary producer. This package needs nats-py, the extra ``nats``.
"""

from chronostream._extras import require

require("nats", "chronostream[nats]")

"""How a relay fares, as a text file for Prometheus: node_exporter's textfile collector reads it."""

from __future__ import annotations

from pathlib import Path

from chronostream._values import SECOND_NS

__all__ = ["write_metrics"]


def write_metrics(
    path: Path, stream: str, *, delivered: int, lost: int, pending: int, connected: bool, success_ns: int
) -> None:
    """Replace the file as a whole.

    Args:
        path: the file; a file beside it with the suffix ``.tmp`` is used in between.
        stream: the stream's name.
        delivered: events that the relay stored.
        lost: events that neither the ring nor JetStream holds.
        pending: events of the ring that are not known to be stored.
        connected: whether it is connected to NATS.
        success_ns: when the relay last stored something, Unix nanoseconds; 0 for never.

    Raises:
        OSError: the file cannot be written.
    """
    lines = [
        f'# TYPE chronostream_relay_{name} {kind}\nchronostream_relay_{name}{{stream="{stream}"}} {value}\n'
        for name, kind, value in (
            ("delivered_events_total", "counter", delivered),
            ("lost_events_total", "counter", lost),
            ("pending_events", "gauge", pending),
            ("connected", "gauge", int(connected)),
            ("last_success_timestamp_seconds", "gauge", success_ns / SECOND_NS),
        )
    ]
    draft = path.with_name(f"{path.name}.tmp")
    draft.write_text("".join(lines))
    draft.replace(path)

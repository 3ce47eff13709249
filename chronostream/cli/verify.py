"""``chronostream verify``: compare a stream with the events that it must have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from chronostream.backfill import Fault, FaultKind, Report, verify_stream
from chronostream.backfill import verify as verify_records
from chronostream.calendar.order import in_range
from chronostream.cli.figures import print_result
from chronostream.cli.nats import nats_source, split_options
from chronostream.cli.progress import progress
from chronostream.errors import InvalidValueError
from chronostream.event import Frequency
from chronostream.ring import inspect

__all__ = ["verify"]


def verify(name: str, format_: str, start_ns: int | None = None, end_ns: int | None = None, **options: Any) -> int:
    """Print the faults; return 1 if there are some. `options` are those of `nats_source` and of `verify_stream`."""
    nats, options = split_options(options)
    if "from_nats" in nats:
        if options.pop("allow_missed", False):
            raise InvalidValueError("--allow-missed does not go with --from-nats: what a producer missed is not there")
        options.pop("any_owner", None)
        report = _verify_nats(nats_source(name, **nats), start_ns, end_ns, **options)
    else:
        found = inspect(name, any_owner=options.get("any_owner", False))
        with progress(name, min(found.head, found.capacity)) as on_progress:
            report = verify_stream(name, start_ns, end_ns, on_progress=on_progress, **options)
    print_result(format_, report.as_dict(), report.lines())
    return 0 if report.ok else 1


def _verify_nats(
    source: dict[str, Any],
    start_ns: int | None,
    end_ns: int | None,
    frequencies: Any = None,
    limit: int = 1000,
    **options: Any,
) -> Report:
    """Verify every message that JetStream holds; of the events, those of the range and of the chosen frequencies."""
    from chronostream.bridges.history import audit, fetch_origin

    origin = fetch_origin(**source)
    chosen = origin.frequencies if frequencies is None else Frequency.parse_all(frequencies)
    others = [frequency for frequency in origin.frequencies if frequency not in chosen]
    unreadable: list[Fault] = []
    with progress(source["name"]) as on_progress:

        def records() -> Iterator[npt.NDArray[np.void]]:
            for part in audit(**source):
                for each in part.skipped:
                    at_ns = each.stored_ns
                    unreadable.append(Fault(FaultKind.UNREADABLE, Frequency.UNKNOWN, at_ns, at_ns, 1, each.reason))
                inside = in_range(part.records, start_ns, end_ns)
                yield part.records[inside & ~np.isin(part.records["frequency"], others)]
                on_progress(len(part.records))

        options = {"timezone": origin.zone.timezone, "sequencer": origin.sequencer} | options
        report = verify_records(records(), chosen, start_ns, end_ns, limit=limit, **options)
    return report.with_unreadable(unreadable, limit)

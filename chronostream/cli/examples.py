"""Examples for the help of each command."""

from __future__ import annotations

__all__ = ["EXAMPLES"]

_LINES = """\
run market-clock -f second -f minute  # seconds and minutes of UTC
run billing -f day --timezone Europe/Berlin --sequencer boundary  # days, numbered alike on every host
run --config streams.toml  # all streams of a file
run market-clock --config streams.toml --capacity 1024  # one of them, with a smaller ring
tail market-clock  # events from now on
tail market-clock -f minute --from oldest --count 10  # ten minutes, from the oldest in the ring
tail market-clock --wait 30s --format json  # JSON lines, once the stream exists
list  # a table
list --format json  # for programs
status market-clock  # one stream, in full
status --format json  # all of them, for programs
top  # everything, once a second
top market-clock --interval 200ms --window 1m  # one stream, more often
top --once  # one picture
record market-clock --to /var/lib/clock  # a new file each day, or after an hour
record market-clock --to clock --every 10m --max-size 64MB  # smaller ones, more often
replay last-week --from 2026-02-13 --to 2026-02-20 -f hour  # the hours of a week, at once
replay drill --from 2026-02-20T09 --to 2026-02-20T10 --speed 60x  # an hour in a minute
verify market-clock  # the events in the ring, against those that must be there
relay market-clock --to nats://127.0.0.1:4222  # every event into JetStream, once
mirror nats://127.0.0.1:4222 market-clock  # the same stream on this host
metrics  # at http://127.0.0.1:9464/metrics
metrics --port 9000 --address 0.0.0.0  # for other machines, too
doctor  # findings and advice
doctor --format json  # for programs
remove market-clock  # a closed or dead stream
remove market-clock --force  # a live one, too
"""

EXAMPLES: dict[str, list[tuple[str, str]]] = {}
"""By command: its arguments, and what they are for."""

for _line in _LINES.splitlines():
    _arguments, _meaning = _line.split("  # ")
    EXAMPLES.setdefault(_arguments.split()[0], []).append((_arguments, _meaning))

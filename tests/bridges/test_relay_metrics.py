from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from chronostream.bridges.relay_metrics import write_metrics
from tests.ring.harness import ROOT


def test_the_file_is_what_prometheus_reads_and_the_documentation_says(tmp_path: Path) -> None:
    file = tmp_path / "relay.prom"
    for pending in (5, 0):  # The second call replaces the first one's file.
        write_metrics(file, "clock", delivered=7, lost=2, pending=pending, connected=True, success_ns=1_500_000_000)
    families = list(text_string_to_metric_families(file.read_text()))
    samples = {sample.name: sample for family in families for sample in family.samples}
    assert {name: sample.value for name, sample in samples.items()} == {
        "chronostream_relay_delivered_events_total": 7,
        "chronostream_relay_lost_events_total": 2,
        "chronostream_relay_pending_events": 0,
        "chronostream_relay_connected": 1,
        "chronostream_relay_last_success_timestamp_seconds": 1.5,
    }
    assert all(sample.labels == {"stream": "clock"} for sample in samples.values())
    assert [path.name for path in tmp_path.iterdir()] == ["relay.prom"]
    told = re.findall(r"(?m)^\| `(chronostream_relay_\w+)` \| (\w+) \|", (ROOT / "docs/distributed.md").read_text())
    assert told == [(name, family.type) for name, family in zip(samples, families, strict=True)]

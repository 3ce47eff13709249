"""What the tests of the metrics share: what Prometheus would read, and Prometheus itself."""

from __future__ import annotations

import os
import shutil

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from chronostream.observe.metrics import StreamCollector
from tests.ring.harness import ROOT

DOCUMENT = ROOT / "docs/operating.md"
ALERTS = ROOT / "chronostream/observe/assets/alerts.yml"
DASHBOARD = ROOT / "chronostream/observe/assets/dashboard.json"

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None and "CI" not in os.environ, reason="Prometheus is not installed"
)


def program(name: str) -> str:
    """Return where a program of the package `prometheus` is."""
    path = shutil.which(name)
    assert path is not None, f"CI needs {name} (apt install prometheus)"
    return path


def scraped(*names: str, any_owner: bool = False) -> dict[str, Metric]:
    """Return what Prometheus would read, by the metric's name."""
    registry = CollectorRegistry()
    registry.register(StreamCollector(names, any_owner=any_owner))
    return {family.name: family for family in text_string_to_metric_families(generate_latest(registry).decode())}


def collected_labels() -> dict[str, set[str]]:
    """Return the names of all series that the collector can export, and the labels of each."""
    suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}
    return {
        family.name + suffix: {*vars(family)["_labelnames"], *(["le"] if suffix == "_bucket" else [])}
        for family in StreamCollector([]).collect()
        for suffix in suffixes[family.type]
    }

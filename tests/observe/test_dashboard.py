"""The dashboard of the package, and the alert rules, in a real Prometheus that scrapes the command."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from chronostream.ring import Consumer
from tests.mirror_harness import mirrored
from tests.observe.prometheus_harness import ALERTS, DASHBOARD, DOCUMENT, collected_labels, needs_prometheus, program
from tests.process_harness import Programs
from tests.ring.harness import TIMEOUT_S, wait_until

BOARD: dict[str, Any] = json.loads(DASHBOARD.read_text())
QUERIES = {panel["title"]: target for panel in BOARD["panels"] for target in panel["targets"]}


class Prometheus:
    """A server with the documented configuration, which scrapes `chronostream metrics` every second."""

    def __init__(self, programs: Programs, directory: Path) -> None:
        metrics = programs.chronostream("metrics", "--port", "0")
        target = metrics.err.line().rpartition("http://")[2].removesuffix("/metrics")
        [documented] = re.findall(r"(?ms)^(rule_files: .*?)^```", DOCUMENT.read_text())
        file = directory / "prometheus.yml"
        file.write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            + documented.replace("alerts.yml", str(ALERTS)).replace("127.0.0.1:9464", target)
        )
        server = programs.start(
            program("prometheus"),
            f"--config.file={file}",
            f"--storage.tsdb.path={directory / 'data'}",
            "--web.listen-address=127.0.0.1:0",
        )
        while not (found := re.search(r'msg="Listening on" address=(\S+)', server.err.line())):
            pass
        self._url = f"http://{found[1]}/api/v1/"

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer."""
        with urllib.request.urlopen(
            f"{self._url}{path}?{urllib.parse.urlencode(parameters)}", timeout=TIMEOUT_S
        ) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an expression at this moment."""
        samples: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return samples

    def rules(self) -> list[dict[str, Any]]:
        [group] = self.get("rules")["groups"]
        rules: list[dict[str, Any]] = group["rules"]
        return rules


@needs_prometheus
def test_a_real_prometheus_fills_each_panel_and_evaluates_each_rule(
    programs: Programs, name: str, tmp_path: Path
) -> None:
    prometheus = Prometheus(programs, tmp_path)
    programs.run(name)
    mirror = f"{name}-mirror"
    with mirrored(mirror, stale=True), Consumer.attach(name):
        unfilled = dict(QUERIES)

        def every_panel_has_data() -> bool:
            for title, target in list(unfilled.items()):
                expression = target["expr"].replace("$stream", f"{name}|{mirror}").replace("$__rate_interval", "5s")
                if prometheus.query(expression):
                    del unfilled[title]
            return not unfilled

        wait_until(every_panel_has_data)
    wait_until(lambda: all(rule["health"] != "unknown" for rule in prometheus.rules()))
    rules = prometheus.rules()
    assert [rule["name"] for rule in rules] == re.findall(r"alert: (\w+)", ALERTS.read_text())
    assert [(rule["health"], rule.get("lastError")) for rule in rules] == [("ok", None)] * len(rules)


@pytest.mark.parametrize("title", QUERIES)
def test_a_panel_names_metrics_and_labels_that_there_are(title: str) -> None:
    target = QUERIES[title]
    known = collected_labels()
    metrics = set(re.findall(r"\bchronostream_\w+", target["expr"]))
    assert metrics
    assert metrics <= set(known)
    labels = set().union(*(known[metric] for metric in metrics)) | {"instance", "__name__"}
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels
    assert set(re.findall(r"(\w+)(?:=~|!=|=)\"", target["expr"])) <= labels


def test_each_panel_has_a_place_and_a_number_of_its_own() -> None:
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert places == [(12 * (number % 2), 8 * (number // 2)) for number in range(len(panels))]

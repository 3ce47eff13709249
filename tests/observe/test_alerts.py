"""The alert rules of the package, evaluated by Prometheus over what the collector exports."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chronostream.ring import Consumer, Producer
from tests.engine_harness import HOUR_S, NS, SECOND, Run
from tests.mirror_harness import mirrored
from tests.observe.prometheus_harness import (
    ALERTS,
    DOCUMENT,
    collected_labels,
    needs_prometheus,
    program,
    scraped,
)
from tests.ring.harness import TIMEOUT_S, overwrite, path_of
from tests.zone_harness import BEIRUT, EARLY, LATE, start_anew, zones_as_before

SCRAPE_S, PHASE_S = 15, 360  # A phase is longer than each `for` of a rule.
PER_PHASE = PHASE_S // SCRAPE_S
FIRED = 'max by (alertname, stream) (max_over_time(ALERTS{alertstate="firing"}[1h]))'
RULE = re.compile(
    r'- alert: (\w+)\n +expr: (.+)\n(?: +for: (\w+)\n)? +labels: {severity: (\w+)}\n +annotations:\n +summary: "(.*)"\n'
)
RULES = RULE.findall(ALERTS.read_text())


class Stage:
    """Streams and what Prometheus saw of them, phase by phase."""

    def __init__(self, run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run = run
        self.name = name
        self.monkeypatch = monkeypatch
        self._series: dict[str, list[str]] = {}
        self._scrapes = 0

    def look(self, scrapes: int = PER_PHASE) -> None:
        """Have so many scrapes find what there is now, by default those of six minutes."""
        for family in scraped(self.run.name, self.name).values():
            for sample in family.samples:
                labels = ",".join(f"{label}={json.dumps(value)}" for label, value in sample.labels.items())
                values = self._series.setdefault(f"{sample.name}{{{labels}}}", ["_"] * self._scrapes)
                values += [repr(sample.value)] * scrapes
        self._scrapes += scrapes
        for values in self._series.values():
            absent = self._scrapes - len(values)
            values.extend(["stale", *["_"] * (absent - 1)] if absent else [])

    def check(self, fired: list[dict[str, str]], directory: Path) -> None:
        """Check that these alerts have fired, by their names and streams, and no others."""
        check_fired({series: " ".join(values) for series, values in self._series.items()}, fired, directory)


def check_fired(series: dict[str, str], fired: list[dict[str, str]], directory: Path) -> None:
    samples = [
        {"labels": "{" + ",".join(f"{label}={json.dumps(value)}" for label, value in each.items()) + "}", "value": 1}
        for each in fired
    ]
    test = {
        "interval": f"{SCRAPE_S}s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": FIRED, "eval_time": "30m", "exp_samples": samples}],
    }
    file = directory / "tests.json"  # JSON is YAML, too.
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": f"{SCRAPE_S}s", "tests": [test]}))
    run_promtool("test", "rules", str(file))


def run_promtool(*arguments: str) -> None:
    done = subprocess.run(
        [program("promtool"), *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def stage(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(run, name, monkeypatch)


# What each alert says, done to a stream. Each returns the stream's name.


def dies(stage: Stage) -> str:
    stage.look()
    stage.run.die()
    stage.look()
    return stage.run.name


def hangs(stage: Stage) -> str:
    stage.run.after(1)
    stage.look()
    stage.run.hang(7, stage.monkeypatch)
    stage.look()
    return stage.run.name


def is_damaged(stage: Stage) -> str:
    Producer.create(stage.name, "<i8", 8).close(remove=False)
    stage.look()
    overwrite(stage.name, 12, b"\xff" * 4)
    stage.look()
    return stage.name


def is_denied(stage: Stage) -> str:
    stage.look()
    path_of(stage.name).mkdir()
    try:
        stage.look()
    finally:
        path_of(stage.name).rmdir()
    return stage.name


def has_its_clock_set_far_ahead(stage: Stage) -> str:
    stage.look()
    stage.run.set_clock(10 * HOUR_S)
    stage.look()
    return stage.run.name


def misses_boundaries(stage: Stage) -> str:
    stage.run.after(1)
    stage.look()
    stage.run.after(5)
    stage.look()
    return stage.run.name


def has_a_consumer_that_is_too_slow(stage: Stage) -> str:
    with Producer.create(stage.name, "<i8", 8) as producer, Consumer.attach(stage.name) as consumer:
        stage.look()
        producer.publish_many(np.arange(20))
        consumer.read()
        stage.look()
    return stage.name


def loses_its_connection(stage: Stage) -> str:
    for connected in (True, False):
        with mirrored(stage.name, connected=connected):
            stage.look()
    return stage.name


def gets_foreign_messages(stage: Stage) -> str:
    for skipped in (3, 4):
        with mirrored(stage.name, skipped=skipped):
            stage.look()
    return stage.name


def gets_new_zone_data(stage: Stage) -> str:
    with zones_as_before():
        start_anew(EARLY)
        with Run(SECOND, timezone=BEIRUT) as stage.run:
            stage.run.start()
            stage.run.look()
            stage.look()
            start_anew(LATE)
            stage.look()
    return stage.run.name


TROUBLES: dict[str, Callable[[Stage], str]] = {
    "ChronoStreamDead": dies,
    "ChronoStreamOverdue": hangs,
    "ChronoStreamBroken": is_damaged,
    "ChronoStreamDenied": is_denied,
    "ChronoStreamClockDoubted": has_its_clock_set_far_ahead,
    "ChronoStreamMissedBoundaries": misses_boundaries,
    "ChronoStreamConsumerLosesRecords": has_a_consumer_that_is_too_slow,
    "ChronoStreamMirrorDisconnected": loses_its_connection,
    "ChronoStreamMirrorSkipsMessages": gets_foreign_messages,
    "ChronoStreamZoneDataDiffer": gets_new_zone_data,
}


@needs_prometheus
@pytest.mark.parametrize("alert", TROUBLES)
def test_an_alert_fires_for_what_it_says_and_no_other_does(stage: Stage, alert: str, tmp_path: Path) -> None:
    stream = TROUBLES[alert](stage)
    stage.check([{"alertname": alert, "stream": stream}], tmp_path)


def a_mirror_lacks_events(stage: Stage) -> str:
    stage.run.hang(0, stage.monkeypatch)  # By that clock, the mirror did not start just now.
    for stale in (False, True):
        with mirrored(stage.name, stale=stale):
            stage.look()
    return stage.name


def a_clock_is_set_back(stage: Stage) -> str:
    stage.look()
    stage.run.set_clock(-HOUR_S)
    stage.look()
    return stage.run.name


def it_is_stopped_for_a_while(stage: Stage) -> str:
    stage.run.after(1)
    stage.look()
    stage.run.stop()
    stage.look()
    stage.run.clock.advance(10 * NS)
    stage.run.restart()
    stage.look()
    return stage.run.name


@needs_prometheus
@pytest.mark.parametrize(
    ("trouble", "alert"),
    [
        (a_mirror_lacks_events, "ChronoStreamOverdue"),
        (a_clock_is_set_back, "ChronoStreamClockDoubted"),
        (it_is_stopped_for_a_while, "ChronoStreamMissedBoundaries"),
    ],
)
def test_an_alert_fires_for_each_kind_of_what_it_says(
    stage: Stage, trouble: Callable[[Stage], str], alert: str, tmp_path: Path
) -> None:
    stream = trouble(stage)
    stage.check([{"alertname": alert, "stream": stream}], tmp_path)


@needs_prometheus
def test_an_alert_fires_for_metrics_that_are_not_there(tmp_path: Path) -> None:
    down = {"alertname": "ChronoStreamMetricsDown"}
    check_fired({'up{job="chronostream"}': "1x20 0x20"}, [down], tmp_path)
    check_fired({'up{job="chronostream"}': "1x40", 'up{job="node"}': "0x40"}, [], tmp_path)


# What happens to streams and is no trouble.


def it_goes_on(stage: Stage) -> None:
    for _ in range(3):
        stage.run.after(1)
        stage.look()


def it_is_closed_on_purpose(stage: Stage) -> None:
    stage.look()
    stage.run.stop()
    stage.look()


def it_is_closed_while_its_clock_is_in_doubt(stage: Stage) -> None:
    stage.run.set_clock(10 * HOUR_S)
    stage.run.stop()
    stage.look()


def it_is_removed(stage: Stage) -> None:
    stage.look()
    stage.run.engine.ring.close(remove=True)
    stage.look()


def it_dies_and_is_taken_over_within_a_minute(stage: Stage) -> None:
    stage.look()
    stage.run.die()
    stage.look(scrapes=3)
    stage.run.start()
    stage.run.look()
    stage.look()


def it_is_overdue_for_a_moment_after_a_suspend(stage: Stage) -> None:
    stage.run.restart(coalesce="all")
    stage.look()
    stage.run.hang(7, stage.monkeypatch)
    assert overdue(stage.run.name) == 1
    stage.look(scrapes=1)
    stage.run.look()
    assert overdue(stage.run.name) == 0
    stage.look()


def overdue(name: str) -> float:
    [sample] = scraped(name)["chronostream_overdue"].samples
    return sample.value


def the_clock_is_a_little_behind(stage: Stage) -> None:
    stage.run.after(10)
    stage.look()
    stage.run.set_clock(-5)
    stage.look()
    assert stage.run.status().condition == "holding"


def a_mirror_is_closed_without_a_connection(stage: Stage) -> None:
    with mirrored(stage.name):
        stage.look()
    with mirrored(stage.name, stale=True, connected=False) as producer:
        producer.close(remove=False)
        stage.look()


def a_consumer_that_lost_records_before_is_followed_by_another(stage: Stage) -> None:
    with Producer.create(stage.name, "<i8", 8) as producer:
        with Consumer.attach(stage.name) as consumer:
            producer.publish_many(np.arange(20))
            consumer.read()
            stage.look()
        with Consumer.attach(stage.name):
            stage.look()
        stage.look()


@needs_prometheus
@pytest.mark.parametrize(
    "event",
    [
        it_goes_on,
        it_is_closed_on_purpose,
        it_is_closed_while_its_clock_is_in_doubt,
        it_is_removed,
        it_dies_and_is_taken_over_within_a_minute,
        it_is_overdue_for_a_moment_after_a_suspend,
        the_clock_is_a_little_behind,
        a_mirror_is_closed_without_a_connection,
        a_consumer_that_lost_records_before_is_followed_by_another,
    ],
)
def test_no_alert_fires_for_what_is_no_trouble(stage: Stage, event: Callable[[Stage], None], tmp_path: Path) -> None:
    event(stage)
    stage.check([], tmp_path)


@needs_prometheus
def test_the_rules_are_valid() -> None:
    run_promtool("check", "rules", "--lint-fatal", str(ALERTS))


def test_each_alert_has_a_test_and_is_in_the_documentation() -> None:
    text = ALERTS.read_text()
    assert [alert for alert, *_ in RULES] == re.findall(r"alert: (\w+)", text)
    assert [alert for alert, *_ in RULES] == ["ChronoStreamMetricsDown", *TROUBLES]
    documented = re.findall(r"(?m)^\| `(ChronoStream\w+)` \| (\w+) \| `?(\w+|at once)`? \|", DOCUMENT.read_text())
    assert documented == [(alert, severity, for_ or "at once") for alert, _, for_, severity, _ in RULES]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule[0])
def test_a_rule_names_metrics_and_labels_that_there_are(rule: tuple[str, ...]) -> None:
    _, expression, _, _, summary = rule
    [metric] = re.findall(r"\b(?:chronostream_\w+|up\b)", expression)
    labels = (collected_labels() | {"up": {"job", "instance"}})[metric]
    assert {*re.findall(r"(\w+)=", expression), *re.findall(r"\$labels\.(\w+)", summary)} <= labels

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from chronostream.calendar.sequencer import BoundarySequencer
from chronostream.observe.metrics import StreamCollector
from chronostream.ring import Consumer, Producer
from tests.engine_harness import HOUR, NOON_S, NS, SECOND, Run
from tests.mirror_harness import mirrored
from tests.observe.prometheus_harness import DOCUMENT, scraped
from tests.ring.harness import NOBODY, become_user, in_fork, needs_root, overwrite
from tests.zone_harness import BEIRUT, EARLY, LATE, start_anew, zones_as_before

STREAM_GROUP = 60_000


def values(family: Metric, suffix: str = "", **wanted: str) -> list[float]:
    """Return the values of the samples with these labels."""
    return [
        sample.value
        for sample in family.samples
        if sample.name == family.name + suffix and wanted.items() <= sample.labels.items()
    ]


def buckets(family: Metric, **wanted: str) -> Iterator[tuple[float, float]]:
    for sample in family.samples:
        if sample.name.endswith("_bucket") and wanted.items() <= sample.labels.items():
            yield float(sample.labels["le"]), sample.value


def test_events_and_missed_boundaries_are_counted_by_frequency(run: Run) -> None:
    run.after(1)
    run.after(5)
    found = scraped(run.name)
    assert values(found["chronostream_events"], "_total", stream=run.name, frequency="second") == [2]
    assert values(found["chronostream_missed_boundaries"], "_total", stream=run.name, frequency="second") == [4]
    assert values(found["chronostream_events"], "_total", stream=run.name, frequency="day") == [0]
    assert values(found["chronostream_last_event_timestamp_seconds"], frequency="second") == [NOON_S + 2]
    assert values(found["chronostream_last_event_timestamp_seconds"], frequency="day") == []


def test_events_of_computed_sequences_are_counted_too() -> None:
    with Run(SECOND, HOUR, sequencer="boundary") as run:
        run.start({"sequencer": BoundarySequencer()})
        run.after(1)
        run.after(1)
        assert values(scraped(run.name)["chronostream_events"], "_total", frequency="second") == [2]


def test_lateness_is_a_histogram_that_no_event_is_missing_from(run: Run) -> None:
    for seconds in (0.5, 1, 1.0003, 1.2, 6):
        run.after(seconds)
    lateness_s = [0, 0, 0.0003, 0.2003, 5.2003]
    found = scraped(run.name)["chronostream_lateness_seconds"]
    seen = list(buckets(found, frequency="second"))
    assert [count for _, count in seen] == [sum(late <= bound for late in lateness_s) for bound, _ in seen]
    assert [bound for bound, _ in seen] == sorted({bound for bound, _ in seen})
    assert seen[-1] == (float("inf"), 5)
    assert values(found, "_count", frequency="second") == [5]
    [total_s] = values(found, "_sum", frequency="second")
    assert total_s == pytest.approx(sum(lateness_s), rel=1 / 32)
    [largest_s] = values(scraped(run.name)["chronostream_lateness_max_seconds"], frequency="second")
    assert largest_s == pytest.approx(5.2003)


def test_a_frequency_without_events_has_an_empty_histogram(run: Run) -> None:
    found = scraped(run.name)["chronostream_lateness_seconds"]
    assert {count for _, count in buckets(found, frequency="day")} == {0}
    assert values(found, "_sum", frequency="day") == [0]


def test_the_ring_and_the_producer_are_told(run: Run) -> None:
    run.after(1)
    run.restart()
    run.after(1)
    found = scraped(run.name)
    assert values(found["chronostream_generation"], stream=run.name) == [2]
    assert values(found["chronostream_records_published"], "_total", stream=run.name) == [2]
    assert values(found["chronostream_capacity_records"], stream=run.name) == [64]
    [info] = found["chronostream_stream_info"].samples
    assert info.labels == {
        "stream": run.name,
        "timezone": "Europe/Berlin",
        "sequencer": "counting",
        "instance_id": "host",
        "version": "1",
    }


def states(name: str) -> dict[str, float]:
    return {sample.labels["state"]: sample.value for sample in scraped(name)["chronostream_state"].samples}


def test_a_stream_is_in_one_state(run: Run) -> None:
    assert states(run.name) == {"live": 1, "closed": 0, "dead": 0, "broken": 0, "denied": 0}
    run.die()
    assert states(run.name) == {"live": 0, "closed": 0, "dead": 1, "broken": 0, "denied": 0}
    run.start()
    run.engine.close()
    assert states(run.name) == {"live": 0, "closed": 1, "dead": 0, "broken": 0, "denied": 0}


def test_a_scheduler_is_in_one_condition_and_its_situations_are_counted(run: Run) -> None:
    run.after(1)
    run.clock.step(-100 * NS)
    run.look()
    found = scraped(run.name)
    now = {sample.labels["condition"]: sample.value for sample in found["chronostream_condition"].samples}
    assert now == {"running": 0, "holding": 1, "held": 0, "quarantined": 0}
    assert values(found["chronostream_situations"], "_total", kind="step_back") == [1]


def test_what_only_a_producer_that_lives_can_be_is_told_of_no_other(run: Run, name: str) -> None:
    present = {"chronostream_condition", "chronostream_overdue", "chronostream_zone_data_differ"}
    mirror = {"chronostream_overdue", "chronostream_mirror_stale", "chronostream_mirror_connected"}

    def told(stream: str) -> set[str]:
        return {family.name for family in scraped(stream).values() if family.samples} & (present | mirror)

    run.after(1)
    assert told(run.name) == present
    run.die()
    assert told(run.name) == set()
    with mirrored(name) as producer:
        assert told(name) == mirror
        producer.close(remove=False)
        assert told(name) == set()


def test_other_zone_data_on_disk_are_told() -> None:
    with zones_as_before():
        start_anew(EARLY)
        with Run(SECOND, timezone=BEIRUT) as run:
            run.start()
            run.look()
            for release, differ in ((EARLY, False), (LATE, True)):
                start_anew(release)
                assert values(scraped(run.name)["chronostream_zone_data_differ"], stream=run.name) == [differ]


def test_a_consumer_that_restarts_goes_on_with_its_series(name: str) -> None:
    series = []
    with Producer.create(name, "<i8", 8):
        for _ in range(2):
            with Consumer.attach(name, label="reader"):
                series.append([sample.labels for sample in scraped(name)["chronostream_consumer_lag_records"].samples])
    assert series == [[{"stream": name, "consumer": "reader", "slot": "0"}]] * 2


def test_each_consumer_has_its_lag_and_its_losses_even_two_of_one_name(name: str) -> None:
    with (
        Producer.create(name, np.dtype([("price", "f8"), ("size", "i8")]), 8) as producer,
        Consumer.attach(name, label="reader") as first,
        Consumer.attach(name, label="reader"),
    ):
        producer.publish_many([(1.0, number) for number in range(20)])
        first.read()
        found = scraped(name)
    labels = {"stream": name, "consumer": "reader"}
    assert values(found["chronostream_consumer_lag_records"], slot="0", **labels) == [0]
    assert values(found["chronostream_consumer_lost_records"], "_total", slot="0", **labels) == [12]
    assert values(found["chronostream_consumer_lag_records"], slot="1", **labels) == [20]
    assert values(found["chronostream_events"], "_total") == []  # it carries none


def test_a_label_may_hold_any_text(name: str) -> None:
    label = 'a "quoted"\\name\nof two lines ü'
    with Producer.create(name, "<i8", 8), Consumer.attach(name, label=label):
        [sample] = scraped(name)["chronostream_consumer_lag_records"].samples
    assert sample.labels["consumer"] == label


def test_a_broken_stream_is_told_as_such_and_fails_no_other(run: Run, name: str) -> None:
    Producer.create(name, "<i8", 8).close(remove=False)
    overwrite(name, 12, b"\xff" * 4)
    found = scraped(run.name, name)
    assert values(found["chronostream_state"], stream=name, state="broken") == [1]
    assert values(found["chronostream_state"], stream=run.name, state="live") == [1]
    assert values(found["chronostream_capacity_records"], stream=name) == []


@pytest.mark.parametrize(("stale", "connected"), [(False, True), (True, True), (True, False)])
def test_a_mirror_is_told_with_how_fresh_it_is(name: str, stale: bool, connected: bool) -> None:
    with mirrored(name, stale=stale, connected=connected):
        found = scraped(name)
    assert values(found["chronostream_mirror_stale"], stream=name) == [stale]
    assert values(found["chronostream_mirror_connected"], stream=name) == [connected]
    assert values(found["chronostream_mirror_skipped_messages"], "_total", stream=name) == [3]
    assert values(found["chronostream_stream_info"], timezone="Europe/Berlin", sequencer="boundary") == [1]


def test_a_producer_that_hangs_has_an_overdue_stream(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.after(1)
    for after_s, overdue in ((0, False), (7, True)):
        run.hang(after_s, monkeypatch)
        assert values(scraped(run.name)["chronostream_overdue"], stream=run.name) == [overdue]


@needs_root
@pytest.mark.parametrize(
    ("mode", "in_group", "any_owner", "state"),
    [
        (0o640, True, True, "live"),
        (0o640, True, False, "denied"),
        (0o640, False, True, "denied"),
        (0o600, True, True, "denied"),
    ],
)
def test_a_user_of_the_streams_group_reads_it_if_told_to_trust_other_users(
    name: str, mode: int, in_group: bool, any_owner: bool, state: str
) -> None:
    def collect() -> None:
        become_user(NOBODY, STREAM_GROUP if in_group else NOBODY)
        found = scraped(name, any_owner=any_owner)
        assert values(found["chronostream_state"], stream=name, state=state) == [1]
        lost = values(found["chronostream_consumer_lost_records"], "_total", stream=name, consumer="reader", slot="0")
        assert lost == ([12] if state == "live" else [])

    with (
        Producer.create(name, "<i8", 8, mode=mode, group=STREAM_GROUP) as producer,
        Consumer.attach(name, label="reader") as consumer,
    ):
        producer.publish_many(np.arange(20))
        consumer.read()
        assert in_fork(collect) == 0


def test_a_stream_that_is_gone_is_not_told_any_more(run: Run) -> None:
    registry = CollectorRegistry()
    registry.register(StreamCollector([run.name]))
    assert run.name in generate_latest(registry).decode()
    run.engine.ring.close(remove=True)
    assert run.name not in generate_latest(registry).decode()


def test_the_documentation_lists_each_metric_with_its_type_and_its_labels(run: Run, name: str) -> None:
    run.after(1)
    with Consumer.attach(run.name), mirrored(name):
        found = {
            (
                family.name + ("_total" if family.type == "counter" else ""),
                family.type,
                frozenset(family.samples[0].labels) - {"le"},
            )
            for family in scraped(run.name, name).values()
        }
    table = re.findall(r"(?m)^\| `(chronostream_\w+)` \| (\w+) \| (.*?) \|", DOCUMENT.read_text())
    assert {(name, kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in table} == found

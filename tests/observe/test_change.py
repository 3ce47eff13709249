from __future__ import annotations

import dataclasses

from chronostream.observe.change import History, StreamChange, changes
from chronostream.observe.survey import Survey, survey
from chronostream.ring import Consumer, Producer
from tests.engine_harness import NS, Run


def at(seconds: float, name: str) -> Survey:
    """Look at one stream as if at this time."""
    return dataclasses.replace(survey([name]), monotonic_ns=round(seconds * NS))


def change(before: Survey, after: Survey) -> StreamChange:
    [found] = changes(before, after)
    return found


def test_a_rate_is_what_was_published_by_the_time_it_took(name: str) -> None:
    with Producer.create(name, "<i8", 64) as producer:
        producer.publish_many(range(5))
        before = at(10, name)
        producer.publish_many(range(30))
        assert change(before, at(12.5, name)).rate == 12


def test_a_stream_that_was_not_there_before_has_no_rate_yet(name: str) -> None:
    before = at(10, name)
    with Producer.create(name, "<i8", 64), Consumer.attach(name):
        found = change(before, at(11, name))
    assert (found.rate, found.consumers[0].rate, found.consumers[0].lost) == (None, None, 0)


def test_without_time_between_there_is_no_rate(name: str) -> None:
    with Producer.create(name, "<i8", 64), Consumer.attach(name):
        found = change(at(10, name), at(10, name))
    assert (found.rate, found.consumers[0].rate) == (None, None)


def test_a_stream_that_was_made_anew_has_no_rate(name: str) -> None:
    with Producer.create(name, "<i8", 64) as producer:
        producer.publish_many(range(5))
        before = at(10, name)
    with Producer.create(name, "<i8", 64):
        assert change(before, at(11, name)).rate is None


def test_a_stream_that_carries_something_else_now_has_no_rate(name: str) -> None:
    with Producer.create(name, "<i8", 64):
        before = at(10, name)
    with Producer.create(name, "<f8", 64):
        assert change(before, at(11, name)).rate is None


def test_a_takeover_is_the_same_stream(name: str) -> None:
    with Producer.create(name, "<i8", 64) as producer:
        producer.publish_many(range(5))
        producer.close(remove=False)
    before = at(10, name)
    with Producer.create(name, "<i8", 64) as producer:
        producer.publish(1)
        assert change(before, at(11, name)).rate == 1


def test_a_consumer_has_what_it_read_and_lost_since(name: str) -> None:
    with Producer.create(name, "<i8", 8) as producer, Consumer.attach(name) as consumer:
        producer.publish_many(range(4))
        consumer.read(2)
        before = at(10, name)
        producer.publish_many(range(14))  # of 18 records, 8 are left: 8 of the 16 unread are lost
        consumer.read(6)
        [found] = change(before, at(12, name)).consumers
    assert (found.now.lag, found.fill, found.lost, found.rate) == (2, 0.25, 8, 3)


def test_a_ring_is_no_more_than_full(name: str) -> None:
    with Producer.create(name, "<i8", 8) as producer, Consumer.attach(name):
        before = at(10, name)
        producer.publish_many(range(100))
        [found] = change(before, at(12, name)).consumers
    assert (found.now.lag, found.fill, found.lost, found.rate) == (100, 1, 0, 0)


def test_a_consumer_in_the_place_of_another_is_another(name: str) -> None:
    with Producer.create(name, "<i8", 8) as producer:
        with Consumer.attach(name) as first:
            producer.publish_many(range(20))
            first.read()
            before = at(10, name)
        with Consumer.attach(name, "next"):
            [found] = change(before, at(12, name)).consumers
    assert (found.now.lost, found.lost, found.rate) == (0, 0, None)


def test_a_frequency_has_what_was_missed_and_how_late_events_were_since(run: Run) -> None:
    run.after(1)
    run.after(0.6)
    before = at(10, run.name)
    run.after(1)
    run.after(5.2)
    second, day = change(before, at(20, run.name)).frequencies
    assert second.missed == 4
    assert second.recent is not None
    assert second.recent.counts.sum() == 2
    assert second.now.lateness is not None
    assert second.now.lateness.counts.sum() == 4
    assert second.recent.max_ns == second.now.lateness.max_ns  # the one that was four seconds late
    assert (day.missed, day.recent) == (0, None)


def test_what_was_late_before_is_not_late_of_late(run: Run) -> None:
    run.after(3)
    before = at(10, run.name)
    run.after(0.6)
    [second, _] = change(before, at(20, run.name)).frequencies
    assert second.recent is not None
    assert second.now.lateness is not None
    assert second.recent.max_ns < NS // 5 < second.now.lateness.max_ns


def test_without_events_since_nothing_was_late(run: Run) -> None:
    run.after(1)
    before = at(10, run.name)
    [second, _] = change(before, at(20, run.name)).frequencies
    assert (second.missed, second.recent) == (0, None)


def test_the_first_events_of_a_stream_are_recent(run: Run) -> None:
    before = at(10, run.name)
    run.after(1)
    [second, _] = change(before, at(20, run.name)).frequencies
    assert second.recent is not None
    assert second.recent.counts.sum() == 1


def test_a_history_looks_back_as_far_as_its_window(name: str) -> None:
    history = History(window_s=3)
    rates = []
    with Producer.create(name, "<i8", 64) as producer:
        for seconds, count in enumerate([0, 6, 6, 6, 0, 0, 0, 0]):
            producer.publish_many(range(count))
            [found] = history.add(at(seconds, name))
            rates.append(found.rate)
    assert rates == [None, 6, 6, 6, 4, 2, 0, 0]


def test_a_window_shorter_than_the_time_between_two_looks_is_that_time(name: str) -> None:
    history = History(window_s=1)
    with Producer.create(name, "<i8", 64) as producer:
        history.add(at(0, name))
        producer.publish_many(range(20))
        history.add(at(5, name))
        producer.publish_many(range(10))
        [found] = history.add(at(10, name))
    assert found.rate == 2

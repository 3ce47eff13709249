"""The streams of this machine as Prometheus metrics. Needs the package ``prometheus-client`` (extra ``metrics``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from chronostream._values import SECOND_NS
from chronostream.observe.survey import survey
from chronostream.scheduler import Condition
from chronostream.stream.lateness import BUCKETS, bucket_top_ns, events_below
from chronostream.stream.status import FrequencyStatus, StreamStatus

__all__ = ["StreamCollector"]

_PREFIX = "chronostream_"
_STATES = ("live", "closed", "dead", "broken", "denied")
# Buckets in shared memory end before powers of two, so that these counts are exact. From 1 µs to 69 s.
_POWERS = range(10, 37)
_BOUNDS = [repr(((1 << power) - 1) / SECOND_NS) for power in _POWERS]
# The sum of lateness takes each event to be in the middle of its bucket.
_TOPS_NS = np.array([bucket_top_ns(bucket) for bucket in range(BUCKETS)], dtype=np.float64)
_MIDDLES_NS = (_TOPS_NS + np.concatenate([[0.0], _TOPS_NS[:-1] + 1])) / 2


class StreamCollector(Collector):
    """Looks at all streams whenever Prometheus asks, and keeps nothing; one that cannot be read is reported as such.

    Args:
        names: only these streams; all of them by default.
        any_owner: trust streams of other users too.
    """

    def __init__(self, names: Iterable[str] | None = None, *, any_owner: bool = False) -> None:
        self._names = None if names is None else tuple(names)
        self._any_owner = any_owner

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not look at the streams."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of this moment."""
        found = survey(self._names, any_owner=self._any_owner)
        families = _Families()
        for stream in found.streams:
            families.add_stream(stream)
        for unreadable in found.unreadable:
            families.add_state(unreadable.name, unreadable.state)
        return families


class _Families:
    """All metrics, filled stream by stream."""

    def __init__(self) -> None:
        self.state = _gauge("state", "1 for the state that the stream is in, 0 for the others.", "state")
        self.info = _gauge(
            "stream_info", "1; the labels tell what the stream is.", "timezone", "sequencer", "instance_id", "version"
        )
        self.generation = _gauge("generation", "How many producers the stream has had.")
        self.started = _gauge("producer_start_time_seconds", "When the last producer began, Unix time.")
        self.records = _counter("records_published", "Records published: the ring's head.")
        self.capacity = _gauge("capacity_records", "Records that the ring holds.")
        self.size = _gauge("segment_bytes", "Shared memory that the stream takes.")
        self.condition = _gauge(
            "condition", "1 for the condition of a live stream's scheduler, 0 for the others.", "condition"
        )
        self.situations = _counter(
            "situations", "How often the scheduler met with each kind of situation, in this run.", "kind"
        )
        self.events = _counter("events", "Events emitted.", "frequency")
        self.missed = _counter("missed_boundaries", "Boundaries that were never emitted.", "frequency")
        self.last = _gauge("last_event_timestamp_seconds", "Boundary of the last event, Unix time.", "frequency")
        self.lateness = HistogramMetricFamily(
            f"{_PREFIX}lateness_seconds",
            "How long after their boundary events became visible. The sum is of the middles of finer buckets.",
            labels=("stream", "frequency"),
        )
        self.latest = _gauge("lateness_max_seconds", "The largest lateness of all events.", "frequency")
        self.overdue = _gauge("overdue", "1 while the next event of a live stream is overdue.")
        self.zones = _gauge("zone_data_differ", "1 while a live stream has other zone data than this host.")
        self.stale = _gauge("mirror_stale", "1 while an event of a live mirror is overdue.")
        self.connected = _gauge("mirror_connected", "1 while a live mirror is connected to JetStream.")
        self.skipped = _counter("mirror_skipped_messages", "Messages that were no events, or not in order.")
        # A slot comes again, and a process id does not: as a label it would make new series at each start.
        consumer = ("consumer", "slot")
        self.lag = _gauge("consumer_lag_records", "Records published that the consumer has not read.", *consumer)
        self.lost = _counter("consumer_lost_records", "Records overwritten before the consumer read them.", *consumer)

    def __iter__(self) -> Iterator[Metric]:
        """Return the metrics in the order in which they stand above."""
        return iter(vars(self).values())

    def add_stream(self, stream: StreamStatus) -> None:
        ring, description = stream.ring, stream.description
        name = ring.name
        self.add_state(name, ring.state)
        timezone, sequencer = (description.timezone, description.sequencer) if description else ("", "")
        self.info.add_metric([name, timezone, sequencer, ring.instance, ring.version], 1)
        self.generation.add_metric([name], ring.generation)
        self.started.add_metric([name], ring.started_ns / SECOND_NS)
        self.records.add_metric([name], ring.head)
        self.capacity.add_metric([name], ring.capacity)
        self.size.add_metric([name], ring.segment_size)
        if ring.state == "live":
            self._add_present(stream)
        if stream.engine is not None:
            for kind, count in stream.engine.counts.items():
                self.situations.add_metric([name, kind], count)
            for frequency in stream.engine.frequencies:
                self._add_frequency(name, frequency, counted=sequencer == "counting")
        if stream.freshness is not None:
            self.skipped.add_metric([name], stream.freshness.skipped)
        for consumer in ring.consumers:
            labels = [name, consumer.label, str(consumer.slot)]
            self.lag.add_metric(labels, consumer.lag)
            self.lost.add_metric(labels, consumer.lost)

    def add_state(self, name: str, state: str) -> None:
        for each in _STATES:
            self.state.add_metric([name, each], float(each == state))

    def _add_present(self, stream: StreamStatus) -> None:
        """Add what only holds while the producer lives; without one, it is what the last producer left behind."""
        name = stream.ring.name
        if stream.description is not None:
            self.overdue.add_metric([name], float(stream.overdue_since_ns is not None))
        if stream.zone_data is not None:
            self.zones.add_metric([name], float(stream.zone_difference is not None))
        if stream.engine is not None:
            for condition in Condition:
                self.condition.add_metric([name, condition.value], float(condition.value == stream.engine.condition))
        if stream.freshness is not None:
            self.stale.add_metric([name], float(stream.freshness.stale))
            self.connected.add_metric([name], float(stream.freshness.connected))

    def _add_frequency(self, name: str, status: FrequencyStatus, *, counted: bool) -> None:
        labels = [name, status.frequency.label]
        counts = status.lateness.counts if status.lateness else np.zeros(BUCKETS, np.uint64)
        # A counted sequence is the number of events. Otherwise the histogram has it, except for an event during which a
        # producer was killed.
        self.events.add_metric(labels, (status.last_sequence or 0) if counted else int(counts.sum()))
        self.missed.add_metric(labels, status.missed)
        self.lateness.add_metric(labels, _buckets(counts), float(counts @ _MIDDLES_NS) / SECOND_NS)
        if status.last_timestamp is not None:
            self.last.add_metric(labels, status.last_timestamp / SECOND_NS)
        if status.lateness is not None:
            self.latest.add_metric(labels, status.lateness.max_ns / SECOND_NS)


def _gauge(name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, meaning, labels=("stream", *labels))


def _counter(name: str, meaning: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(_PREFIX + name, meaning, labels=("stream", *labels))


def _buckets(counts: npt.NDArray[np.uint64]) -> list[tuple[str, float]]:
    """Return a histogram's cumulative counts by upper bound in seconds."""
    cumulative = [float(events_below(counts, power)) for power in _POWERS]
    return [*zip(_BOUNDS, cumulative, strict=True), ("+Inf", float(counts.sum()))]

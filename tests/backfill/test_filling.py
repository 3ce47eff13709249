from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from chronostream import Engine, FakeClock, StreamConfig, event_ids, stream_status
from chronostream.backfill import expected, fill, verify_stream
from chronostream.errors import InvalidTypeError, InvalidValueError, StreamExistsError
from chronostream.ring import Consumer, list_names

START_NS = 1_700_000_000_000_000_000
END_NS = START_NS + 100 * 10**9
FREQUENCIES = ("second", "minute")
EVENTS = expected(FREQUENCIES, START_NS, END_NS)


def config_of(name: str, **options: Any) -> StreamConfig:
    return StreamConfig(name=name, frequencies=FREQUENCIES, sequencer="boundary", capacity=256, **options)


def ids_in(name: str) -> list[str]:
    with Consumer.attach(name) as consumer:
        ids: list[str] = event_ids(consumer.read()).tolist()
    return ids


def test_the_stream_holds_all_parts_and_is_closed(name: str) -> None:
    assert fill(config_of(name), [EVENTS[:30], EVENTS[30:]]) == len(EVENTS)
    assert ids_in(name) == event_ids(EVENTS).tolist()
    assert stream_status(name).ring.state == "closed"
    assert verify_stream(name).ok


def test_a_producer_goes_on_behind_the_last_event(name: str) -> None:
    fill(config_of(name), [EVENTS])
    with Engine(config_of(name), clock=FakeClock(END_NS)) as engine:
        engine.step()
    assert ids_in(name) == event_ids(expected(FREQUENCIES, START_NS, END_NS + 1)).tolist()


def test_a_counting_producer_goes_on_with_the_numbers(name: str) -> None:
    config = StreamConfig(name=name, capacity=256)
    events = expected(("second",), START_NS, END_NS)
    events["sequence"] = np.arange(1, 101)
    events["seed"] = events["timestamp"] ^ events["sequence"].astype(np.int64)
    fill(config, [events])
    with Engine(config, clock=FakeClock(END_NS)) as engine:
        engine.step()
    assert ids_in(name)[-1] == f"1-{END_NS}-101"


def test_nothing_to_fill_in_gives_an_empty_stream_that_begins_now(name: str) -> None:
    assert fill(config_of(name), []) == 0
    began_ns = time.time_ns()
    with Engine(config_of(name)) as engine:
        engine.step()
    with Consumer.attach(name) as consumer:
        assert (consumer.read()["timestamp"] >= began_ns - 10**9).all()


@pytest.mark.parametrize("events", [EVENTS[:0], EVENTS[:30]])
def test_a_range_that_is_told_is_over_for_the_next_producer(name: str, events: npt.NDArray[np.void]) -> None:
    fill(config_of(name), [events], range_ns=(START_NS, END_NS), clock=FakeClock(END_NS))
    with Engine(config_of(name), clock=FakeClock(END_NS)) as engine:
        engine.step()
    assert ids_in(name) == event_ids(np.concatenate([events, expected(FREQUENCIES, END_NS, END_NS + 1)])).tolist()


def test_it_ends_after_a_part_when_it_is_told_to_stop(name: str) -> None:
    stop = threading.Event()

    def parts() -> Iterator[npt.NDArray[np.void]]:
        yield EVENTS[:30]
        stop.set()
        yield EVENTS[30:]

    assert fill(config_of(name), parts(), stop=stop) == 30


def test_what_was_published_is_told(name: str) -> None:
    told: list[int] = []
    fill(config_of(name), [EVENTS[:30], EVENTS[30:]], on_progress=told.append)
    assert told == [30, len(EVENTS) - 30]


def test_a_stream_that_exists_is_left_alone(name: str) -> None:
    fill(config_of(name), [EVENTS[:30]])
    with pytest.raises(StreamExistsError):
        fill(config_of(name), [EVENTS])
    assert len(ids_in(name)) == 30


def test_parts_that_cannot_be_had_leave_no_stream(name: str) -> None:
    def parts() -> Iterator[npt.NDArray[np.void]]:
        raise ValueError("none to be had")
        yield EVENTS

    with pytest.raises(ValueError, match="none to be had"):
        fill(config_of(name), parts())
    assert name not in list_names()


def test_parts_that_end_in_the_middle_leave_a_stream_that_can_be_gone_on_with(name: str) -> None:
    def parts() -> Iterator[npt.NDArray[np.void]]:
        yield EVENTS[:30]
        raise ValueError("no more to be had")

    with pytest.raises(ValueError, match="no more to be had"):
        fill(config_of(name), parts())
    with Engine(config_of(name, coalesce="all"), clock=FakeClock(END_NS - 1)) as engine:
        engine.step()
    assert ids_in(name) == event_ids(EVENTS).tolist()


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        (5, InvalidTypeError, "parts are int"),
        (EVENTS, InvalidTypeError, "parts are ndarray"),
        ([EVENTS.tobytes()], InvalidTypeError, "records are bytes"),
        ([expected(["hour"], START_NS, START_NS + 10**13)], InvalidValueError, r"frequencies \[3\], expected only"),
    ],
    ids=["a number", "one array", "bytes", "another frequency"],
)
def test_what_are_no_events_of_the_stream_is_refused(
    name: str, parts: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fill(config_of(name), parts)
    assert name not in list_names() or ids_in(name) == []


def test_what_is_no_configuration_is_refused(name: str) -> None:
    with pytest.raises(InvalidTypeError, match="config is str"):
        fill(name, [EVENTS])  # type: ignore[arg-type]


def test_a_stream_can_be_removed_at_the_end(name: str) -> None:
    fill(config_of(name, remove=True), [EVENTS])
    assert name not in list_names()

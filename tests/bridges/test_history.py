from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest

from chronostream import EVENT_DTYPE, Frequency
from chronostream.bridges.history import fetch, fetch_async, fetch_origin
from chronostream.bridges.jetstream import stream_for
from chronostream.errors import (
    BridgeError,
    InvalidNameError,
    InvalidTypeError,
    InvalidValueError,
    UnknownFrequencyError,
)
from tests.bridges.harness import HELD, START_NS, S, fill, free_port, in_jetstream, options_of


def fetched(url: str, name: str, **options: Any) -> npt.NDArray[np.void]:
    return np.concatenate([np.empty(0, EVENT_DTYPE), *fetch(options_of(url), name, **options)])


def test_everything_comes_as_it_was_emitted(url: str, held: str) -> None:
    assert fetched(url, held).tobytes() == HELD.tobytes()


@pytest.mark.parametrize(
    ("start_ns", "end_ns"),
    [
        (START_NS + 40 * S, START_NS + 100 * S),
        (START_NS + 40 * S + 1, START_NS + 100 * S + 1),
        (None, START_NS + 7 * S),
        (START_NS + 2490 * S, None),
        (START_NS + 50 * S, START_NS + 50 * S),
        (0, START_NS),
        (START_NS + 10_000 * S, None),
    ],
)
def test_a_range_has_its_start_and_not_its_end(url: str, held: str, start_ns: int | None, end_ns: int | None) -> None:
    stamps = HELD["timestamp"]
    low, high = start_ns or 0, end_ns if end_ns is not None else 1 << 62
    expected = HELD[(stamps >= low) & (stamps < high)]
    assert fetched(url, held, start_ns=start_ns, end_ns=end_ns).tobytes() == expected.tobytes()


def test_only_wanted_frequencies_come(url: str, held: str) -> None:
    expected = HELD[HELD["frequency"] == Frequency.MINUTE]
    assert fetched(url, held, frequencies={"minute"}).tobytes() == expected.tobytes()


def test_what_the_events_are_is_known_beforehand(url: str, held: str) -> None:
    origin = fetch_origin(options_of(url), held)
    assert (origin.name, origin.sequencer, origin.zone.timezone) == (held, "boundary", "UTC")
    assert origin.frequencies == (Frequency.SECOND, Frequency.MINUTE)


def test_what_is_no_event_at_the_end_is_left_out(url: str, name: str) -> None:
    fill(url, name, 10)
    in_jetstream(url, lambda js: js.publish(f"chronostream.{name}.second", b"nonsense", stream=stream_for(name)))
    assert fetched(url, name)["timestamp"].tolist() == [START_NS + second * S for second in range(1, 11)]


def test_a_stream_that_jetstream_does_not_have_is_an_error(url: str, name: str) -> None:
    with pytest.raises(BridgeError, match=r"the JetStream stream \S+ does not exist"):
        fetched(url, name)


def test_no_server_is_an_error_within_its_timeout(name: str) -> None:
    with pytest.raises(BridgeError, match=r"no NATS server at 127.0.0.1:\d+ within 0.2 s"):
        fetched(f"nats://127.0.0.1:{free_port()}", name, timeout_s=0.2)


def test_a_reading_that_is_given_up_lets_go_of_its_connection(url: str, held: str) -> None:
    connections = psutil.Process().net_connections
    before = len(connections())
    parts = fetch(options_of(url), held)
    next(parts)
    assert len(connections()) == before + 1
    parts.close()  # type: ignore[attr-defined]
    assert len(connections()) == before


def test_in_an_event_loop_the_awaitable_form_gives_the_same(url: str, held: str) -> None:
    async def run() -> bytes:
        parts = fetch_async(options_of(url), held, start_ns=START_NS + 40 * S, frequencies={"second"})
        return b"".join([part.tobytes() async for part in parts])

    expected = HELD[(HELD["timestamp"] >= START_NS + 40 * S) & (HELD["frequency"] == Frequency.SECOND)]
    assert asyncio.run(run()) == expected.tobytes()


@pytest.mark.parametrize("call", [lambda *arguments: next(fetch(*arguments)), fetch_origin])
def test_in_an_event_loop_the_blocking_forms_say_what_to_use(url: str, held: str, call: Callable[..., Any]) -> None:
    async def run() -> None:
        call(options_of(url), held)

    with pytest.raises(BridgeError, match="an event loop runs in this thread: use fetch_async"):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"start_ns": 2, "end_ns": 1}, InvalidValueError, "before it starts"),
        ({"start_ns": "today"}, InvalidValueError, "start_ns is 'today', expected ISO 8601"),
        ({"start_ns": 0.5}, InvalidTypeError, "start_ns is float"),
        ({"frequencies": {"week"}}, UnknownFrequencyError, "week"),
        ({"frequencies": "minute"}, InvalidTypeError, "expected a collection"),
        ({"timeout_s": -1}, InvalidValueError, "timeout_s is -1"),
        ({"stream": "a.b"}, InvalidNameError, "not a name of a JetStream stream"),
        ({"name": "a..b"}, InvalidNameError, "cannot be part of a subject"),
        ({"connection": "nats://localhost"}, InvalidTypeError, "the connection is str"),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_before_anything_is_read(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {"connection": options_of("nats://localhost"), "name": "clock"} | options
    with pytest.raises(error, match=message):
        fetch(**arguments)

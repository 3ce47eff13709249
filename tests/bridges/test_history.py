from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from chronostream import EVENT_DTYPE, Frequency
from chronostream.bridges.history import fetch, fetch_origin
from chronostream.bridges.relay import Relay
from chronostream.errors import BridgeError, InvalidTypeError, InvalidValueError, UnknownFrequencyError
from tests.bridges.harness import Source, boundary_events, deliver, free_port, options_of

START_NS = 1_700_000_000_000_000_000
S = 10**9
FREQUENCIES = ("second", "minute")
EVENTS = boundary_events(FREQUENCIES, START_NS + 1, START_NS + 1501 * S, instance="source")


@pytest.fixture
def filled(url: str, name: str) -> str:
    """The name of a stream whose 1500 seconds JetStream holds."""
    with Source(name, START_NS, frequencies=FREQUENCIES, instance_id="source", producer_version="1") as source:
        source.advance(1500)
    deliver(Relay(name, options_of(url)))
    return name


def fetched(url: str, name: str, **options: object) -> npt.NDArray[np.void]:
    parts = list(fetch(options_of(url), name, **options))  # type: ignore[arg-type]
    return np.concatenate([np.empty(0, EVENT_DTYPE), *parts])


def test_everything_comes_as_it_was_emitted(url: str, filled: str) -> None:
    assert fetched(url, filled).tobytes() == EVENTS.tobytes()


@pytest.mark.parametrize(
    ("start_ns", "end_ns"),
    [
        (START_NS + 40 * S, START_NS + 100 * S),
        (START_NS + 40 * S + 1, START_NS + 100 * S + 1),
        (None, START_NS + 7 * S),
        (START_NS + 1490 * S, None),
        (START_NS + 50 * S, START_NS + 50 * S),
        (0, START_NS),
        (START_NS + 10_000 * S, None),
    ],
)
def test_a_range_has_its_start_and_not_its_end(url: str, filled: str, start_ns: int | None, end_ns: int | None) -> None:
    stamps = EVENTS["timestamp"]
    low, high = start_ns or 0, end_ns if end_ns is not None else 1 << 62
    expected = EVENTS[(stamps >= low) & (stamps < high)]
    assert fetched(url, filled, start_ns=start_ns, end_ns=end_ns).tobytes() == expected.tobytes()


def test_only_wanted_frequencies_come(url: str, filled: str) -> None:
    expected = EVENTS[EVENTS["frequency"] == Frequency.MINUTE]
    assert fetched(url, filled, frequencies={"minute"}).tobytes() == expected.tobytes()


def test_what_the_events_are_is_known_beforehand(url: str, filled: str) -> None:
    origin = fetch_origin(options_of(url), filled)
    assert (origin.name, origin.sequencer, origin.zone.tz) == (filled, "boundary", "UTC")
    assert origin.frequencies == (Frequency.SECOND, Frequency.MINUTE)


def test_a_stream_that_jetstream_does_not_have_is_an_error(url: str, name: str) -> None:
    with pytest.raises(BridgeError, match="there is no JetStream stream"):
        fetched(url, name)


def test_no_server_is_an_error_within_its_patience(name: str) -> None:
    with pytest.raises(BridgeError, match=r"no NATS server at 127.0.0.1:\d+ within 0.2 s"):
        fetched(f"nats://127.0.0.1:{free_port()}", name, patience_s=0.2)


def test_a_reading_that_is_given_up_lets_go_of_its_connection(url: str, filled: str) -> None:
    parts = fetch(options_of(url), filled)
    next(parts)
    parts.close()  # type: ignore[attr-defined]


def test_wrong_arguments_are_refused_before_anything_is_read(name: str) -> None:
    options = options_of("nats://localhost")
    with pytest.raises(InvalidValueError, match="is later than end_ns"):
        fetch(options, name, start_ns=2, end_ns=1)
    with pytest.raises(UnknownFrequencyError):
        fetch(options, name, frequencies={"week"})
    with pytest.raises(InvalidTypeError, match="expected a collection"):
        fetch(options, name, frequencies="minute")

from __future__ import annotations

import inspect
from typing import Any

import pytest

import chronostream as cs
from chronostream._renamed import former, renamed
from chronostream.backfill import count_expected, expected, expected_chunks, verify, verify_stream
from chronostream.boundaries import check_zone, count_boundaries, last_boundary, local_days
from chronostream.bridges.connection import ConnectionOptions
from chronostream.bridges.history import fetch
from chronostream.bridges.relay import Relay
from chronostream.ring import inspect as inspect_ring

NS = 1_000_000_000
NOWHERE = ConnectionOptions(servers=("nats://127.0.0.1:1",))


@renamed(tz="timezone", version="producer_version")
def function(number: int, timezone: str = "UTC", *, producer_version: str | None = None) -> Any:
    """Do something."""
    return number, timezone, producer_version


class Thing:
    timezone = "Asia/Tokyo"
    tz = former("tz", "timezone")


def test_the_present_names_and_places_are_taken_as_ever() -> None:
    assert function(1, "Asia/Tokyo", producer_version="2") == (1, "Asia/Tokyo", "2")


def test_a_former_name_means_the_present_one_and_warns_where_it_stands() -> None:
    old: dict[str, Any] = {"tz": "Asia/Tokyo", "version": "2"}
    with pytest.warns(DeprecationWarning, match="is called") as warned:
        assert function(1, **old) == (1, "Asia/Tokyo", "2")
    assert sorted(str(each.message).partition(" now")[0] for each in warned) == [
        "'tz' is called 'timezone'",
        "'version' is called 'producer_version'",
    ]
    assert {each.filename for each in warned} == {__file__}


def test_one_argument_under_two_names_is_refused() -> None:
    both: dict[str, Any] = {"tz": "UTC", "timezone": "UTC"}
    with pytest.raises(TypeError, match=r"function\(\) got both 'timezone' and 'tz', its former name"):
        function(1, **both)


def test_what_was_never_a_name_is_refused_as_ever() -> None:
    nonsense: dict[str, Any] = {"zone": "UTC"}
    with pytest.raises(TypeError, match="unexpected keyword argument 'zone'"):
        function(1, **nonsense)


def test_help_shows_the_present_names() -> None:
    assert list(inspect.signature(function).parameters) == ["number", "timezone", "producer_version"]
    assert (function.__name__, function.__doc__) == ("function", "Do something.")


def test_an_attribute_can_be_read_by_its_former_name() -> None:
    with pytest.warns(DeprecationWarning, match="'tz' is called 'timezone' now"):
        assert Thing().tz == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("call", "arguments", "former_names"),
    [
        (last_boundary, (0, "day"), {"tz": "UTC"}),
        (count_boundaries, ("day", 0, 1), {"tz": "UTC"}),
        (local_days, (expected(["second"], 0, NS)["timestamp"],), {"tz": "UTC"}),
        (check_zone, (), {"tz": "UTC"}),
        (cs.find_gaps, (expected(["second"], 0, NS),), {"tz": "UTC"}),
        (cs.BoundarySequencer, (), {"tz": "UTC"}),
        (expected, (["second"], 0, NS), {"tz": "UTC", "version": "1", "instance": "me"}),
        (expected_chunks, (["second"], 0, NS), {"tz": "UTC", "version": "1", "instance": "me"}),
        (count_expected, (["second"], 0, NS), {"tz": "UTC"}),
        (verify, ((), ["second"]), {"tz": "UTC", "version": "1", "instance": "me"}),
        (Relay, ("feed", NOWHERE), {"patience_s": 1}),
        (fetch, (NOWHERE, "feed"), {"patience_s": 0}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_keyword_that_was_renamed_still_works(
    call: Any, arguments: tuple[Any, ...], former_names: dict[str, str]
) -> None:
    with pytest.warns(DeprecationWarning, match="is called") as warned:
        call(*arguments, **former_names)
    assert len(warned) == len(former_names)


def test_a_stream_is_verified_under_the_former_keywords_too(name: str) -> None:
    cs.replay(name, 0, 5 * NS, instance_id="me", producer_version="1")
    old: dict[str, Any] = {"tz": "UTC", "version": "1", "instance": "me"}
    with pytest.warns(DeprecationWarning, match="is called") as warned:
        assert verify_stream(name, **old).found == 5
    assert len(warned) == 3


def test_a_producer_takes_its_former_keywords_too(name: str) -> None:
    old: dict[str, Any] = {"version": "1", "instance": "me"}
    with pytest.warns(DeprecationWarning, match="is called") as warned:
        producer = cs.Producer.create(name, "<i8", 8, **old)
    assert len(warned) == 2
    status = inspect_ring(name)
    assert (status.version, status.instance) == ("1", "me")
    with pytest.warns(DeprecationWarning, match="'unlink' is called 'remove'"):
        producer.close(unlink=False)  # type: ignore[call-arg]
    assert inspect_ring(name).state == "closed"
    cs.remove(name)

from __future__ import annotations

from typing import Any

import pytest

from chronostream.cli.figures import size_text
from chronostream.cli.types import DURATION, INSTANT, OCTAL, SIZE, Type, type_of
from chronostream.errors import InvalidValueError
from chronostream.stream.options import GROUP


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("500ms", 0.5), ("5m", 300), ("1h", 3600), ("2d", 172_800), ("2.5", 2.5), (" 3 s ", 3), ("0", 0)],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert DURATION.parse("--for", text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "1e3", "1 week", "inf", "nan", "٣s", "10s10s", "9" * 400, "9" * 9 + "h"]
)
def test_anything_else_is_refused_with_the_options_name(text: str) -> None:
    with pytest.raises(InvalidValueError, match=r"--for is .*, expected a duration such as 10s"):
        DURATION.parse("--for", text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("64MB", 64_000_000),
        ("500kB", 500_000),
        ("1 GB", 10**9),
        ("2k", 2000),
        ("8.0 MiB", 8 << 20),
        ("1.5KiB", 1536),
        ("1Gi", 1 << 30),
        ("7B", 7),
    ],
)
def test_a_size_is_read_in_bytes_in_the_units_that_status_prints_too(text: str, size: int) -> None:
    assert SIZE.parse("--max-size", text) == size


@pytest.mark.parametrize("size", [1 << 10, 999 << 10, 8 << 20, 3 << 29, 1 << 40])
def test_a_size_is_read_as_status_prints_it(size: int) -> None:
    assert SIZE.parse("--max-size", size_text(size)) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1TB", "1mb", "1e3", "9" * 400])
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(InvalidValueError, match=r"--max-size is .*, expected a size such as 64MB"):
        SIZE.parse("--max-size", text)


@pytest.mark.parametrize(
    ("type_", "text", "value"), [(OCTAL, "640", 0o640), (type_of(GROUP), "0", 0), (type_of(GROUP), "audio", "audio")]
)
def test_permissions_and_groups_are_read(type_: Type, text: str, value: object) -> None:
    assert type_.parse("--option", text) == value


def test_an_instant_is_read_in_nanoseconds() -> None:
    assert INSTANT.parse("--from", "1970-01-01T00:00:01Z") == 1_000_000_000


@pytest.mark.parametrize(
    ("type_", "value", "text"),
    [
        (DURATION, 3600, "1h"),
        (DURATION, 300, "5m"),
        (DURATION, 10, "10s"),
        (DURATION, 90, "90s"),
        (DURATION, 0.5, "0.5s"),
        (OCTAL, 0o600, "600"),
        (Type(), 65536, "65536"),
    ],
)
def test_a_value_is_written_as_it_is_read(type_: Any, value: Any, text: str) -> None:
    assert type_.write(value) == text

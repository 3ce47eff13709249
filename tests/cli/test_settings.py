from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from chronostream.cli import main
from chronostream.cli.settings import KEYS, read_streams, settings_of, stream_config
from chronostream.errors import ConfigError, InvalidValueError
from chronostream.event import Frequency
from chronostream.stream.config import StreamConfig

EVERYTHING = """
[streams.market-clock]
frequency = ["minute", "second"]
timezone = "America/New_York"
capacity = 1024
instance-id = "host-1"
sequencer = "boundary"
coalesce = "all"
catch-up-window = "2h"
max-step = 600
max-hold = 0.5
settle = "3s"
trust = "synced"
mode = "640"
group = 0
remove = true
realtime = true
cpu = 0
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "streams.toml"
    path.write_text(text)
    return path


def config(directory: Path, text: str, **flags: Any) -> StreamConfig:
    """Return the configuration of the first stream of a file."""
    path = write(directory, text)
    [(name, settings), *_] = read_streams(path).items()
    return stream_config(name, flags, settings, path)


def refusal(directory: Path, text: str, **flags: Any) -> str:
    """Return why a file is refused, without the file's name."""
    with pytest.raises(InvalidValueError) as refused:
        config(directory, text, **flags)
    return str(refused.value).replace(str(directory / "streams.toml"), "FILE")


def test_each_key_sets_what_its_flag_sets(tmp_path: Path) -> None:
    assert config(tmp_path, EVERYTHING) == StreamConfig(
        name="market-clock",
        frequencies=(Frequency.SECOND, Frequency.MINUTE),
        timezone="America/New_York",
        capacity=1024,
        instance_id="host-1",
        sequencer="boundary",
        coalesce="all",
        catch_up_window_s=7200,
        max_step_s=600,
        max_hold_s=0.5,
        settle_s=3,
        trust="synced",
        mode=0o640,
        group=0,
        remove=True,
        realtime=True,
        cpu=0,
    )


def test_every_key_is_tried_above_and_sets_a_field_of_its_own() -> None:
    assert [line.split(" = ")[0] for line in EVERYTHING.strip().splitlines()[1:]] == list(KEYS)
    targets = list(KEYS.values())
    assert len(set(targets)) == len(targets)
    assert set(targets) <= {field.name for field in fields(StreamConfig)}


def test_what_is_not_set_is_the_default(tmp_path: Path) -> None:
    found = config(tmp_path, "[streams.clock]\nfrequency = 'hour'")
    assert found == StreamConfig(name="clock", frequencies=("hour",), instance_id=os.uname().nodename[:64])


def test_a_flag_comes_before_the_file_and_the_file_before_the_default(tmp_path: Path) -> None:
    found = config(tmp_path, "[streams.clock]\ncapacity = 16\nremove = true", remove=False)
    assert (found.capacity, found.remove, found.timezone) == (16, False, "UTC")


def test_streams_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[streams.b]\n[streams.a]\n[streams.'c.d']\n")
    assert list(read_streams(path)) == ["b", "a", "c.d"]


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("time_zone", "timezone"),
        ("instance_id", "instance-id"),
        ("Frequencies", "frequency"),
        ("max-stepp", "max-step"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(tmp_path: Path, key: str, nearest: str) -> None:
    assert refusal(tmp_path, f"[streams.clock]\n{key} = 1") == (
        f"FILE, stream 'clock': unknown key '{key}': did you mean '{nearest}'?"
    )


def test_a_key_like_no_other_is_refused_with_all_of_them(tmp_path: Path) -> None:
    assert refusal(tmp_path, "[streams.clock]\nxyz = 1").endswith(
        "unknown key 'xyz': expected one of " + ", ".join(KEYS)
    )


def test_an_unknown_table_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    assert refusal(tmp_path, "[stream.clock]") == "FILE: unknown key 'stream': did you mean 'streams'?"


def test_a_stream_that_is_not_there_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    path = write(tmp_path, "[streams.market-clock]\n[streams.billing]")
    assert settings_of("billing", read_streams(path), path) == {}
    with pytest.raises(ConfigError, match="has no stream 'market': did you mean 'market-clock'"):
        settings_of("market", read_streams(path), path)
    with pytest.raises(ConfigError, match="has no stream 'x': expected one of market-clock, billing"):
        settings_of("x", read_streams(path), path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("frequency = 1", 'frequency is a whole number, expected text such as "second", or a list of them'),
        ("frequency = ['second', 2]", 'frequency is a list, expected text such as "second", or a list of them'),
        ("timezone = 5", "timezone is a whole number, expected text in quotes"),
        ("capacity = '65536'", "capacity is text, expected a whole number such as 65536"),
        ("capacity = 64.0", "capacity is a number, expected a whole number such as 65536"),
        ("capacity = true", "capacity is a boolean, expected a whole number such as 65536"),
        ("remove = 'yes'", "remove is text, expected true or false"),
        ("mode = 640", 'mode is a whole number, expected text with octal permissions such as "640"'),
        ("mode = 'rw'", "mode is 'rw', expected octal permissions such as 600 or 640"),
        ("settle = 'soon'", "settle is 'soon', expected a duration such as 10s, 500ms, 5m or 1h"),
        ("settle = true", 'settle is a boolean, expected a duration such as "10s" or "1h", or a number of seconds'),
        ("settle = -1", "settle is -1, expected 0 seconds or more"),
        ("settle = nan", "settle is nan, expected 0 seconds or more"),
        ("settle = 10:00:00", 'settle is a time, expected a duration such as "10s" or "1h", or a number of seconds'),
        ("group = {}", "group is a table, expected text in quotes"),
        ("capacity = 100", "capacity is 100, expected a power of two"),
        ("frequency = 'weekly'", "unknown frequency 'weekly': choose one of second, minute, hour, day"),
        ("max-step = 1e300", "max-step is 1e+300, expected 0 seconds or more, up to 292 years"),
        (f"settle = {'9' * 400}", f"settle is {'9' * 400}, expected 0 seconds or more"),
        (f"capacity = {'9' * 400}", "capacity is an integer of 1329 bits, expected 1 to 9223372036854775807"),
        (f"cpu = {'9' * 400}", "cpu is an integer of 1329 bits, expected 0 to"),
        ("cpu = -1", "cpu is -1, expected 0 to"),
        ("group = -1", "group is -1, expected 0 to"),
        ("sequencer = 'random'", "sequencer is 'random', expected one of counting, boundary"),
        ("sequence = 'random'", "sequencer is 'random', expected one of counting, boundary"),
        ("timezone = 'Mars/Olympus'", "unknown time zone 'Mars/Olympus'"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place_and_what_was_expected(tmp_path: Path, line: str, message: str) -> None:
    assert refusal(tmp_path, f"[streams.clock]\n{line}").startswith(f"FILE, stream 'clock': {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "FILE has no streams, expected a table for each such as [streams.market-clock]"),
        ("[streams]", "FILE has no streams, expected a table for each"),
        ("streams = 5", "FILE has no streams, expected a table for each"),
        ("[streams]\nclock = 5", "FILE, stream 'clock' is a whole number, expected a table such as [streams.clock]"),
        ("[[streams.clock]]", "FILE, stream 'clock' is a list, expected a table"),
        ("[streams.clock", "the configuration FILE is not TOML: "),
        (
            "[streams.a.b]",
            "FILE, stream 'a': unknown key 'b': a stream name with dots needs quotes, as in [streams.\"a.b\"]",
        ),
        ("\ufeff[streams.clock]", "the configuration FILE is not TOML: it begins with a byte-order mark; save it as"),
        ("[streams.'a/b']", "FILE, stream 'a/b': 'a/b' is not a stream name"),
    ],
)
def test_a_file_that_means_nothing_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).startswith(message)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "streams.toml").write_bytes(b"\xff\xfe[streams]")
    with pytest.raises(ConfigError, match=r"streams.toml is not TOML"):
        read_streams(tmp_path / "streams.toml")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.toml cannot be read: No such file or directory"):
        read_streams(tmp_path / "nowhere.toml")


def test_a_key_of_an_earlier_release_is_understood_but_not_beside_the_new_one(tmp_path: Path) -> None:
    assert config(tmp_path, "[streams.clock]\nsequence = 'boundary'").sequencer == "boundary"
    assert refusal(tmp_path, "[streams.clock]\nsequencer = 'boundary'\nsequence = 'counting'") == (
        "FILE, stream 'clock' has 'sequencer' twice: 'sequence' is its former name"
    )


def test_without_a_file_a_wrong_flag_is_named_alone(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "clock", "--settle", "soon"]) == 2
    assert capfd.readouterr().err.startswith("chronostream: --settle is 'soon'")
    assert main(["run", "clock", "--capacity", "100"]) == 2
    assert capfd.readouterr().err.startswith("chronostream: capacity is 100")


def test_a_wrong_flag_is_not_said_of_the_file(tmp_path: Path) -> None:
    assert refusal(tmp_path, "[streams.clock]\ncapacity = 16", capacity=100).startswith("capacity is 100, expected")

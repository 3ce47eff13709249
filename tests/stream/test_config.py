from __future__ import annotations

import dataclasses
import json
import os
import re
from typing import Any

import numpy as np
import pytest

from chronostream.errors import (
    ConfigError,
    InvalidNameError,
    InvalidTypeError,
    InvalidValueError,
    UnknownFrequencyError,
)
from chronostream.event import Frequency
from chronostream.scheduler import FrequencyState, SchedulerState
from chronostream.stream.config import OPTIONS, StreamConfig
from chronostream.version import __version__

SECOND, MINUTE = Frequency.SECOND, Frequency.MINUTE


def test_a_name_is_enough() -> None:
    config = StreamConfig(name="clock")
    assert config.frequencies == (SECOND,)
    assert (config.timezone, config.capacity, config.sequencer) == ("UTC", 65536, "counting")
    assert (config.coalesce, config.remove, config.mode) == ("earliest", False, 0o600)
    assert config.producer_version == __version__
    assert config.instance_id == os.uname().nodename[:64]


@pytest.mark.parametrize(
    "frequencies",
    [("minute", "second"), [2, 1], {SECOND, MINUTE}, iter(("MINUTE", 1, SECOND, "minute"))],
    ids=lambda frequencies: type(frequencies).__name__,
)
def test_frequencies_come_in_any_form_and_are_kept_in_their_order(frequencies: Any) -> None:
    assert StreamConfig(name="clock", frequencies=frequencies).frequencies == (SECOND, MINUTE)


def test_a_config_is_an_immutable_value() -> None:
    config = StreamConfig(name="clock", frequencies=["second"])
    assert config == StreamConfig(name="clock", frequencies=(1,))
    assert hash(config) == hash(dataclasses.replace(config))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.name = "other"  # type: ignore[misc]  # on purpose


def test_a_config_goes_through_json_unchanged() -> None:
    config = StreamConfig(name="clock", frequencies=("minute", "day"), timezone="Asia/Tokyo", mode=0o640, remove=True)
    assert StreamConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"name": ""}, InvalidNameError, "1 to 64 letters"),
        ({"name": "../etc"}, InvalidNameError, "1 to 64 letters"),
        ({"frequencies": "second"}, InvalidTypeError, r"frequencies are 'second', expected a collection such as"),
        ({"frequencies": 1}, InvalidTypeError, r"frequencies are 1, expected a collection such as"),
        ({"frequencies": ()}, InvalidValueError, "no frequency: give at least one"),
        ({"frequencies": ("week",)}, UnknownFrequencyError, "unknown frequency 'week': choose one of"),
        ({"frequencies": (None,)}, UnknownFrequencyError, "unknown frequency None: choose one of"),
        ({"timezone": "Europe/Berln"}, InvalidValueError, "Europe/Berlin"),
        ({"timezone": None}, InvalidTypeError, "NoneType"),
        ({"capacity": 1000}, InvalidValueError, "capacity is 1000, expected a power of two: 512 or 1024"),
        ({"capacity": 0}, InvalidValueError, "capacity is 0"),
        ({"capacity": 8.0}, InvalidTypeError, "capacity is float, expected an integer"),
        ({"max_consumers": 0}, InvalidValueError, "max_consumers is 0"),
        ({"instance_id": "x" * 65}, InvalidValueError, "takes 65 bytes of UTF-8, but only 64 fit"),
        ({"instance_id": None}, InvalidTypeError, "instance_id is NoneType, expected a string"),
        ({"producer_version": "ä" * 17}, InvalidValueError, "takes 34 bytes of UTF-8, but only 32 fit"),
        ({"sequencer": "random"}, ConfigError, "sequencer is 'random', expected one of counting, boundary"),
        ({"sequencer": None}, ConfigError, "sequencer is None, expected one of counting, boundary"),
        ({"coalesce": "some"}, InvalidValueError, "coalesce is 'some', expected one of earliest, latest, all"),
        ({"catch_up_window_s": -1}, InvalidValueError, "catch_up_window_s is -1, expected a finite number"),
        ({"max_step_s": float("inf")}, InvalidValueError, "max_step_s is inf, expected a finite number"),
        ({"max_hold_s": float("nan")}, InvalidValueError, "max_hold_s is nan, expected a finite number"),
        ({"settle_s": "10"}, InvalidTypeError, "settle_s is str, expected a number of seconds"),
        ({"mode": 0o1600}, ConfigError, "mode is 0o1600, expected permissions such as 0o600"),
        ({"mode": -1}, ConfigError, "mode is -0o1, expected permissions such as 0o600"),
        ({"mode": 0o440}, ConfigError, "mode is 0o440, expected permissions .* by which its owner reads and writes"),
        ({"remove": "no"}, InvalidTypeError, "remove is str, expected True or False"),
        ({"realtime": "no"}, InvalidTypeError, "realtime is str, expected True or False"),
        ({"capacity": True}, InvalidTypeError, "capacity is bool, expected an integer"),
        ({"capacity": 10**400}, InvalidValueError, r"capacity is an integer of \d+ bits, expected 1 to \d+$"),
        (
            {"max_consumers": 10**5000},
            InvalidValueError,
            r"max_consumers is an integer of \d+ bits, expected 1 to \d+$",
        ),
        ({"max_step_s": 1e300}, InvalidValueError, r"max_step_s is 1e\+300, expected at most 9223372036 seconds"),
        ({"settle_s": True}, InvalidTypeError, "settle_s is bool, expected a number of seconds"),
        ({"mode": True}, ConfigError, "mode is 0o1, expected permissions such as 0o600"),
        ({"group": True}, InvalidTypeError, "group is bool, expected an integer"),
        ({"group": -1}, InvalidValueError, "group is -1, expected 0 to 4294967294"),
        ({"cpu": 10**5000}, ConfigError, r"cpu is an integer of \d+ bits, expected 0 to"),
        ({"remove": 1}, InvalidTypeError, "remove is int, expected True or False"),
        ({"mode": "600"}, ConfigError, "mode is '600', expected permissions such as 0o600"),
    ],
    ids=lambda value: str(value)[:60] if not isinstance(value, dict) else next(iter(value)),
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        StreamConfig(**{"name": "clock"} | options)


def test_numbers_of_any_kind_become_plain_ones() -> None:
    given: dict[str, Any] = {
        "capacity": np.int64(64),
        "max_consumers": np.uint8(8),
        "max_step_s": np.float32(2.5),
        "settle_s": np.int32(3),
        "mode": np.int16(0o640),
        "group": np.uint32(0),
        "cpu": np.int8(0),
    }
    config = StreamConfig(name="clock", **given)
    assert json.loads(json.dumps(dataclasses.asdict(config))) == dataclasses.asdict(config) | {"frequencies": [1]}
    assert (config.capacity, config.max_step_s, config.mode, config.group, config.cpu) == (64, 2.5, 0o640, 0, 0)


def test_every_field_but_the_name_is_declared_and_documented() -> None:
    names = [field.name for field in dataclasses.fields(StreamConfig)]
    assert ["name", *OPTIONS] == names
    assert re.findall(r"(?m)^    (\w+): \S", StreamConfig.__doc__ or "") == names
    keys = [declared.key for declared in OPTIONS.values() if declared.key]
    assert len(set(keys)) == len(keys)


def test_the_scheduler_has_the_options_of_the_config() -> None:
    state = SchedulerState(0, 0, (FrequencyState(Frequency.HOUR, 0, 5),))
    config = StreamConfig(
        name="clock",
        frequencies=("hour",),
        timezone="Asia/Kolkata",
        coalesce="all",
        catch_up_window_s=7200,
        max_step_s=7200,
    )
    scheduler = config.scheduler(state)
    # Kolkata's hours begin at half past, and two of them pass in a step that is longer than is believed by default.
    ticks = scheduler.step(2 * 3600 * 10**9, 0).ticks
    assert [tick.boundary_ns // 10**9 for tick in ticks] == [1800, 5400]
    assert scheduler.status().missed == {Frequency.HOUR: 5}

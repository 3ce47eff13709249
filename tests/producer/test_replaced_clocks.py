"""Producers in processes whose clocks are replaced: the wall clock by libfaketime, the boot clock by a namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from chronostream.boundaries import boundaries
from chronostream.producer.engine import Engine
from chronostream.ring import Consumer
from chronostream.stream.config import StreamConfig
from chronostream.stream.status import stream_status
from chronostream.version import EARLIEST_NS
from tests.process_harness import Programs
from tests.ring.harness import TIMEOUT_S, needs_root, path_of
from tests.ring.test_replaced_clocks import FAKETIME

_RATES = (0.9995, 1.0005, 0.916667, 1.083333, 0.9, 1.1)
_HOURS_AHEAD = "+7200"

# libfaketime replaces CLOCK_BOOTTIME too, but not the system call. Nor does it replace timerfd.
_PROGRAM = """
import ctypes, platform, sys, threading
from chronostream import StreamConfig, SystemClock
from chronostream.producer.engine import Engine

class Time(ctypes.Structure):
    _fields_ = [("s", ctypes.c_long), ("ns", ctypes.c_long)]

class SlewedClock(SystemClock):
    number = {"x86_64": 228, "aarch64": 113}[platform.machine()]

    def boottime_ns(self):
        time = Time()
        assert ctypes.CDLL(None).syscall(self.number, 7, ctypes.byref(time)) == 0
        return time.s * 10**9 + time.ns

stop = threading.Event()
config = StreamConfig(name=sys.argv[1], capacity=64, settle_s=1)
engine = Engine(config, clock=SlewedClock("sleep"))
end = engine.ring.head + 4
engine.run(stop, each_turn=lambda: engine.ring.head >= end and stop.set())
"""


_needs_faketime = pytest.mark.skipif(FAKETIME is None and "CI" not in os.environ, reason="libfaketime is not installed")


@_needs_faketime
@pytest.mark.parametrize("date", ["1970-01-02", "2000-01-01"])
def test_a_producer_that_starts_in_the_past_waits_in_quarantine_unless_told_to_believe_any_clock(
    name: str, programs: Programs, date: str
) -> None:
    assert FAKETIME is not None, "CI needs libfaketime (apt install faketime)"
    fake = os.environ | {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"@{date} 00:00:00", "TZ": "UTC"}
    waiting = programs.chronostream("run", name, env=fake)
    lines = [waiting.err.line(), waiting.err.line()]
    [doubt] = [line for line in lines if "WARNING" in line]
    assert f"the clock reads {date}T00:00:0" in doubt
    assert "before 2026-01-01T00:00:00Z, when this version of ChronoStream did not exist: nothing is emitted" in doubt
    status = programs.chronostream("status", name)
    assert status.wait() == 0
    assert "  clock      quarantined  zone UTC" in (text := status.out.rest())
    assert "  advice     set the clock right" in text
    assert waiting.stop()[0] == 0
    engine = stream_status(name).engine
    assert engine is not None
    assert [(each.last_sequence, each.missed) for each in engine.frequencies] == [(None, 0)]
    believing = programs.run(name, "--trust", "any", env=fake)
    with Consumer.attach(name, register=False) as consumer:
        assert consumer.wait(TIMEOUT_S)
        assert consumer.read(1)["timestamp"].tolist()[0] < EARLIEST_NS
    assert believing.stop()[0] == 0


@_needs_faketime
def test_a_clock_slewed_in_either_direction_from_hours_ahead_settles_and_is_nothing_special(
    name: str, programs: Programs
) -> None:
    assert FAKETIME is not None, "CI needs libfaketime (apt install faketime)"
    names = {f"{name}-{rate}": rate for rate in _RATES}
    try:
        slewed = []
        for stream, rate in names.items():
            Engine(StreamConfig(name=stream, capacity=64)).close()
            fake = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{_HOURS_AHEAD} x{rate}"}
            slewed.append(programs.python("-c", _PROGRAM, stream, env=os.environ | fake))
        for program in slewed:
            assert program.wait() == 0, program.err.rest()
        for stream in names:
            engine = stream_status(stream).engine
            assert engine is not None
            assert engine.condition == "running"
            steps = ("step_forward", "quarantine", "settled", "step_back", "returned", "hold")
            assert [engine.counts[kind] for kind in steps] == [1, 1, 1, 0, 0, 0]
            with Consumer.attach(stream, register=False) as consumer:
                stamps = consumer.read()["timestamp"]
            passed = boundaries("second", int(stamps[0]), int(stamps[-1]) + 1)
            assert len(passed) == len(stamps) + engine.frequencies[0].missed
    finally:
        for stream in names:
            path_of(stream).unlink(missing_ok=True)


@needs_root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="there is no unshare here")
@pytest.mark.parametrize("shift_s", [1_000_000, 2_000_000_000])
def test_a_producer_in_another_time_namespace_sees_no_step_of_the_clock(name: str, shift_s: int) -> None:
    code = f"""
from chronostream import StreamConfig
from chronostream.producer.engine import Engine
with Engine(StreamConfig(name={name!r}, capacity=64)) as engine:
    engine.step()
"""
    with Engine(StreamConfig(name=name, capacity=64)) as engine:
        engine.step()
    command = ["unshare", "-T", "--boottime", str(shift_s), sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.stderr.startswith("unshare:"):
        pytest.skip(f"no time namespace of its own here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    for _ in range(2):  # And again, when the next one is outside.
        status = stream_status(name).engine
        assert status is not None
        kinds = ("step_forward", "step_back", "quarantine", "hold")
        assert (status.condition, [status.counts[kind] for kind in kinds]) == ("running", [0, 0, 0, 0])
        with Engine(StreamConfig(name=name, capacity=64)) as engine:
            engine.step()

"""Checks whether this machine is fit for ChronoStream. Each finding has a verdict and advice.

``bad`` means that streams do not work; ``warn`` that they are less exact, less safe or slower.
"""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from chronostream import ring
from chronostream._values import utc_text
from chronostream.calendar.zones import InstalledData, installed_data
from chronostream.errors import ChronoStreamError, CoreUnavailableError
from chronostream.event import EVENT_DTYPE
from chronostream.observe import host
from chronostream.observe.host import MachineFacts
from chronostream.observe.survey import survey
from chronostream.ring.core import load_core
from chronostream.scheduler import Condition
from chronostream.stream.config import OPTIONS, REALTIME_PRIORITY
from chronostream.stream.state import STATE_SIZE

__all__ = ["Finding", "Verdict", "examine"]

_FEW_STREAMS = 4
_FEW_FILES = 100
_SLOW_READING_NS = 1000
_LONG_SLACK_NS = 100_000
_LARGE_ERROR_S = 0.5
_COARSE = ("hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit")
# The first with open file description locks; everything else that needs a newer kernel is optional.
_OLDEST_KERNEL = (3, 15)


class Verdict(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        name: of the check.
        verdict: ``OK``, ``WARN`` or ``BAD``.
        found: what was found.
        advice: what to do; empty with ``OK``.
    """

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


_Result = tuple[Verdict, str] | tuple[Verdict, str, str]
_UNKNOWN = Verdict.OK, "unknown"


def examine(facts: MachineFacts | None = None) -> list[Finding]:
    """Check everything, and finally create, write and read a stream."""
    facts = facts or MachineFacts()
    checks: dict[str, Callable[[], _Result]] = {
        "core": _core,
        "kernel": lambda: _kernel(facts),
        "shared memory": lambda: _shared_memory(facts),
        "clock source": lambda: _clocksource(facts),
        "waiting": _waiting,
        "timer slack": lambda: _timer_slack(facts),
        "real-time": _realtime,
        "clock sync": _clock_sync,
        "zone data": lambda: _zone_data(installed_data()),
        "streams": _streams,
        "trial": _trial,
    }
    return [Finding(name, *check()) for name, check in checks.items()]


def _core() -> _Result:
    missing: dict[str, str] = {}
    for core in ("native", ring.CORE):
        try:
            load_core(core)
        except CoreUnavailableError as error:
            missing[core] = str(error)
    build = "install a C compiler and reinstall with CHRONOSTREAM_BUILD_EXTENSION=yes"
    found = f"{ring.CORE}, Python {platform.python_version()} on {platform.machine()}"
    if ring.CORE in missing:
        return Verdict.BAD, missing[ring.CORE], build
    if ring.CORE == "native":
        return Verdict.OK, found
    if "native" in missing:
        return Verdict.WARN, f"{found}; native is not built", f"it is slower: {build}"
    return Verdict.WARN, f"{found}, though native is built", "unset CHRONOSTREAM_CORE"


def _kernel(facts: MachineFacts) -> _Result:
    system, release, version = facts.kernel()
    oldest = ".".join(map(str, _OLDEST_KERNEL))
    verdict = Verdict.BAD if version < _OLDEST_KERNEL else Verdict.OK
    return _judged(verdict, f"{system} {release}", f"use Linux {oldest} or later: streams need its file locks")


def _shared_memory(facts: MachineFacts) -> _Result:
    room = facts.room()
    if room is None:
        return Verdict.BAD, f"there is no {facts.shm}", f"mount a tmpfs on {facts.shm}"
    capacity, consumers = (OPTIONS[field].default for field in ("capacity", "max_consumers"))
    need = ring.Layout.plan(EVENT_DTYPE, capacity, STATE_SIZE, consumers).segment_size
    found = f"{_mebibytes(room.free)} of {_mebibytes(room.size)} free in {facts.shm}"
    if not room.writable:
        return Verdict.BAD, f"{found}, not writable for user {os.geteuid()}", "make it mode 1777"
    if room.files_left is not None and room.files_left < _FEW_FILES:
        verdict = Verdict.WARN if room.files_left else Verdict.BAD
        return verdict, f"{found}, {room.files_left} files left", "remove files that are not in use"
    verdict = Verdict.BAD if room.free < need else Verdict.WARN if room.free < _FEW_STREAMS * need else Verdict.OK
    advice = (
        f"a stream takes {_mebibytes(need)} by default: remove unused streams, use a smaller --capacity, or enlarge it "
        f"(mount -o remount,size=1G {facts.shm}; for a container: --shm-size 1g)"
    )
    return _judged(verdict, found, advice)


def _clocksource(facts: MachineFacts) -> _Result:
    source, reading_ns = facts.clocksource(), host.reading_ns()
    return _warn_if(
        source in _COARSE or reading_ns > _SLOW_READING_NS,
        f"{source or 'unknown'}, {reading_ns} ns per reading",
        "reading the clock is slow, so events come later: choose a faster clock source, such as tsc, from "
        "/sys/devices/system/clocksource/clocksource0/available_clocksource",
    )


def _waiting() -> _Result:
    if host.sleeps_by() == "timerfd":
        return Verdict.OK, "timerfd, which reports at once that the clock was set"
    advice = "a clock that is set is noticed within 0.25 s only: no timerfd here, as in some sandboxes"
    return Verdict.WARN, "sleeps in slices", advice


def _timer_slack(facts: MachineFacts) -> _Result:
    slack_ns = facts.timer_slack_ns()
    if slack_ns is None:
        return _UNKNOWN
    advice = "each sleep may end this much late: set TimerSlackNSec=50us in the systemd unit"
    return _warn_if(slack_ns > _LONG_SLACK_NS, f"{slack_ns / 1000:g} µs", advice)


def _realtime() -> _Result:
    allowed = host.may_be_realtime()
    if allowed is None:
        return _UNKNOWN
    return _warn_if(
        not allowed,
        f"{'permitted' if allowed else 'not permitted'} (limit {resource.getrlimit(resource.RLIMIT_RTPRIO)[0]})",
        f"needed only on a busy machine, where events come late without it: set LimitRTPRIO={REALTIME_PRIORITY} in the "
        f"systemd unit, or `- rtprio {REALTIME_PRIORITY}` in /etc/security/limits.conf",
    )


def _clock_sync() -> _Result:
    sync = host.clock_sync()
    if sync is None:
        return _UNKNOWN
    return _warn_if(
        not sync.synchronised or sync.largest_error_s > _LARGE_ERROR_S,
        f"{'synchronised' if sync.synchronised else 'not synchronised'}, error at most {sync.largest_error_s:.3g} s",
        "events follow this machine's clock, even if it is wrong: run chrony or systemd-timesyncd here, or on the host "
        "of this virtual machine",
    )


def _zone_data(zones: InstalledData) -> _Result:
    package = f"tzdata package {zones.package_release}" if zones.package_release else "no tzdata package"
    system = f"{zones.system} {zones.system_release or 'of unknown release'}" if zones.system else "no system files"
    if zones.system is None and zones.package_release is None:
        return Verdict.BAD, f"{system}, {package}", "pip install tzdata"
    if zones.system is None:
        return Verdict.OK, f"{package} in use, {system}"
    return _warn_if(
        bool(zones.system_release and zones.package_release and zones.system_release < zones.package_release),
        f"{system} in use, {package}",
        "the older data is in use, so hours and days may be wrong where the rules changed: update the system's tzdata, "
        "or set PYTHONTZPATH to an empty value to use the package",
    )


def _streams() -> _Result:
    result = survey()
    problems = [f"{each.name} is broken ({each.error})" for each in result.unreadable if each.state == "broken"]
    for stream in result.streams:
        name = stream.ring.name
        if stream.error is not None:
            problems.append(f"{name} cannot be described ({stream.error})")
        if stream.ring.state == "dead":
            problems.append(f"the producer of {name} died")
        elif stream.overdue_since_ns is not None:
            since = utc_text(stream.overdue_since_ns)
            problems.append(f"{name} is overdue since {since} (process {stream.ring.pid})")
        elif stream.ring.state == "live" and stream.engine and stream.engine.condition in ("held", "quarantined"):
            condition = Condition(stream.engine.condition)
            problems.append(f"{name} does not trust the clock ({condition.value}): {condition.advice}")
        if stream.ring.state == "live" and stream.zone_data is not None and stream.zone_data.on_disk is not None:
            problems.append(f"{name} runs with other zone data than are on disk, {stream.zone_data.on_disk}")
        elif stream.ring.state == "live" and stream.zone_difference is not None:
            problems.append(stream.zone_difference)
    count = len(result.streams) + len(result.unreadable)
    return _warn_if(
        bool(problems),
        f"{count} on this machine{': ' if problems else ''}{'; '.join(problems)}",
        "`chronostream run NAME` resumes a dead stream, `chronostream remove NAME` deletes a stream; if a stream is "
        "overdue, its process hangs: restart it; if a stream has other zone data, restart its producer, or install the "
        "same; docs/time.md tells when a stream does not trust the clock",
    )


def _trial() -> _Result:
    name = f"doctor-{os.getpid()}"
    try:
        with (
            ring.Producer.create(name, "<i8", 8) as producer,
            ring.Consumer.attach(name, label="doctor") as consumer,
        ):
            producer.publish_many([1, 2, 3])
            read = consumer.read().tolist()
    except (ChronoStreamError, OSError) as error:
        return Verdict.BAD, f"a stream cannot be created and read: {error}", "see the findings above"
    if read != [1, 2, 3]:
        return Verdict.BAD, f"published 1, 2, 3, read {read}", "report this"
    return Verdict.OK, "a stream was created, written, read and removed"


def _judged(verdict: Verdict, found: str, advice: str) -> _Result:
    return (verdict, found) if verdict is Verdict.OK else (verdict, found, advice)


def _warn_if(is_wrong: bool, found: str, advice: str) -> _Result:
    return _judged(Verdict.WARN if is_wrong else Verdict.OK, found, advice)


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"

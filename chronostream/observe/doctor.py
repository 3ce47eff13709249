"""Whether this machine is fit for ChronoStream: findings, each with a verdict and what to do about it.

``bad`` is what keeps a stream from working at all, ``warn`` what makes it less exact, less safe or slower.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from chronostream import ring
from chronostream.errors import ChronoStreamError, CoreUnavailableError
from chronostream.event import EVENT_DTYPE
from chronostream.observe import host as hosts
from chronostream.observe.host import Host, ZoneData
from chronostream.observe.survey import survey
from chronostream.ring.core import load_core
from chronostream.stream.state import STATE_SIZE

__all__ = ["Finding", "Verdict", "examine"]

_DEFAULT_CAPACITY, _DEFAULT_CONSUMERS = 65536, 64
_FEW_STREAMS = 4
_FEW_NAMES = 100
_SLOW_READING_NS = 1000
_LONG_SLACK_NS = 100_000
_LARGE_ERROR_S = 0.5
_COARSE = ("hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit")
# Open file description locks; what else needs a newer kernel does without.
_OLDEST_KERNEL = (3, 15)


class Verdict(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what was looked at.
        verdict: how much it matters.
        found: what was found.
        advice: what to do; empty if nothing is to be done.
    """

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


def examine(host: Host | None = None) -> list[Finding]:
    """Look at everything, and at last try a stream for real."""
    where = Host() if host is None else host
    checks: tuple[Callable[[], Finding], ...] = (
        _core,
        lambda: _kernel(where),
        lambda: _shared_memory(where),
        lambda: _clocksource(where),
        _waiting,
        lambda: _timer_slack(where),
        _realtime,
        _clock_sync,
        lambda: _zone_data(hosts.zone_data()),
        _streams,
        _trial,
    )
    return [check() for check in checks]


def _core() -> Finding:
    try:
        load_core("native")
        built = True
    except CoreUnavailableError:
        built = False
    build = "install a C compiler and reinstall with CHRONOSTREAM_BUILD_EXTENSION=yes"
    found = f"{ring.CORE}, Python {platform.python_version()} on {platform.machine()}"
    try:
        load_core(ring.CORE)
    except CoreUnavailableError as error:
        return Finding("core", Verdict.BAD, str(error), build)
    if ring.CORE == "native":
        return Finding("core", Verdict.OK, found)
    if built:
        return Finding("core", Verdict.WARN, f"{found}, though native is built", "unset CHRONOSTREAM_CORE")
    return Finding("core", Verdict.WARN, f"{found}; native is not built", f"it is slower: {build}")


def _kernel(host: Host) -> Finding:
    system, release, version = host.kernel()
    found = f"{system} {release}"
    if version < _OLDEST_KERNEL:
        oldest = ".".join(map(str, _OLDEST_KERNEL))
        return Finding("kernel", Verdict.BAD, found, f"streams are owned by locks that Linux has from {oldest} on")
    return Finding("kernel", Verdict.OK, found)


def _shared_memory(host: Host) -> Finding:
    name = "shared memory"
    room = host.room()
    if room is None:
        return Finding(name, Verdict.BAD, f"there is no {host.shm}", f"mount a tmpfs on {host.shm}")
    need = ring.Layout.plan(EVENT_DTYPE, _DEFAULT_CAPACITY, STATE_SIZE, _DEFAULT_CONSUMERS).segment_size
    found = f"{_mebibytes(room.free)} of {_mebibytes(room.size)} free in {host.shm}"
    if not room.writable:
        return Finding(name, Verdict.BAD, f"{found}, not writable for user {os.geteuid()}", "make it mode 1777")
    if room.names_left is not None and room.names_left < _FEW_NAMES:
        verdict = Verdict.WARN if room.names_left else Verdict.BAD
        return Finding(name, verdict, f"{found}, {room.names_left} files left", "remove files that nobody needs")
    if room.free >= _FEW_STREAMS * need:
        return Finding(name, Verdict.OK, found)
    return Finding(
        name,
        Verdict.WARN if room.free >= need else Verdict.BAD,
        found,
        f"a stream takes {_mebibytes(need)} by default: remove streams that nobody needs, use a smaller --capacity, or "
        f"enlarge it (mount -o remount,size=1G {host.shm}; for a container: --shm-size 1g)",
    )


def _clocksource(host: Host) -> Finding:
    source, reading_ns = host.clocksource(), hosts.reading_ns()
    found = f"{source or 'not told'}, {reading_ns} ns a reading"
    return _warn_if(
        source in _COARSE or reading_ns > _SLOW_READING_NS,
        "clock source",
        found,
        "each look at the clock is slow, so that events are later: see "
        "/sys/devices/system/clocksource/clocksource0/available_clocksource for a better one, such as tsc",
    )


def _waiting() -> Finding:
    if hosts.sleeps_by() == "timerfd":
        return Finding("waiting", Verdict.OK, "timerfd, which a clock that is set wakes at once")
    return Finding(
        "waiting",
        Verdict.WARN,
        "sleeps in slices",
        "a clock that is set is noticed within 0.25 s only: no timerfd here, as in some sandboxes",
    )


def _timer_slack(host: Host) -> Finding:
    slack_ns = host.timer_slack_ns()
    if slack_ns is None:
        return Finding("timer slack", Verdict.OK, "not told")
    return _warn_if(
        slack_ns > _LONG_SLACK_NS,
        "timer slack",
        f"{slack_ns / 1000:g} µs",
        "sleeps end late by so much: TimerSlackNSec=50us in a systemd unit",
    )


def _realtime() -> Finding:
    allowed = hosts.may_be_realtime()
    if allowed is None:
        return Finding("real-time", Verdict.OK, "not known on this system")
    return _warn_if(
        not allowed,
        "real-time",
        f"{'permitted' if allowed else 'not permitted'} (limit {hosts.realtime_limit()})",
        "only for a busy machine, where events come late otherwise: LimitRTPRIO=10 in a systemd unit, "
        "or `- rtprio 10` in /etc/security/limits.conf",
    )


def _clock_sync() -> Finding:
    sync = hosts.clock_sync()
    if sync is None:
        return Finding("clock sync", Verdict.OK, "not told by this system")
    found = (
        f"{'synchronised' if sync.synchronised else 'not synchronised'}, off by {sync.largest_error_s:.3g} s at most"
    )
    return _warn_if(
        not sync.synchronised or sync.largest_error_s > _LARGE_ERROR_S,
        "clock sync",
        found,
        "boundaries are those of this machine's clock, right or wrong: run chrony or systemd-timesyncd here, or on the "
        "host if this is a guest",
    )


def _zone_data(zones: ZoneData) -> Finding:
    package = f"tzdata package {zones.package_release}" if zones.package_release else "no tzdata package"
    system = f"{zones.system} {zones.system_release or 'of no told release'}" if zones.system else "no system files"
    if zones.system is None and zones.package_release is None:
        return Finding("zone data", Verdict.BAD, f"{system}, {package}", "pip install tzdata")
    if zones.system is None:
        return Finding("zone data", Verdict.OK, f"{package} in use, {system}")
    return _warn_if(
        bool(zones.system_release and zones.package_release and zones.system_release < zones.package_release),
        "zone data",
        f"{system} in use, {package}",
        "the older one is in use: hours and days of zones whose rules changed since may be wrong: update the system's "
        "tzdata, or set PYTHONTZPATH to nothing to use the package",
    )


def _streams() -> Finding:
    found = survey()
    troubled = [f"{each.name} is broken ({each.error})" for each in found.unreadable if each.state == "broken"]
    for stream in found.streams:
        if stream.ring.state == "dead":
            troubled.append(f"{stream.ring.name} has lost its producer")
        elif stream.ring.state == "live" and stream.engine and stream.engine.condition in ("held", "quarantined"):
            troubled.append(f"{stream.ring.name} does not trust the clock ({stream.engine.condition})")
    count = len(found.streams) + len(found.unreadable)
    return _warn_if(
        bool(troubled),
        "streams",
        f"{count} on this machine{': ' if troubled else ''}{'; '.join(troubled)}",
        "`chronostream run NAME` goes on with a dead stream, `chronostream remove NAME` deletes any; for a clock that "
        "is not trusted see docs/time.md",
    )


def _trial() -> Finding:
    name = f"doctor-{os.getpid()}"
    try:
        with (
            ring.Producer.create(name, "<i8", 8) as producer,
            ring.Consumer.attach(name, label="doctor") as consumer,
        ):
            producer.publish_many([1, 2, 3])
            read = consumer.read().tolist()
    except (ChronoStreamError, OSError) as error:
        return Finding("trial", Verdict.BAD, f"a stream cannot be made and read: {error}", "see the findings above")
    if read != [1, 2, 3]:
        return Finding("trial", Verdict.BAD, f"published 1, 2, 3, read {read}", "report this")
    return Finding("trial", Verdict.OK, "a stream was made, written, read and removed")


def _warn_if(wrong: bool, name: str, found: str, advice: str) -> Finding:
    return Finding(name, Verdict.WARN, found, advice) if wrong else Finding(name, Verdict.OK, found)


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"

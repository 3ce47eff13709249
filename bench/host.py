"""The machine of a run: the cores to use, and the facts that the report needs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

from chronostream import ring

__all__ = ["Cores", "find_cores", "host_facts", "l2_bytes", "pin", "version_of"]


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores of processes; None where a process cannot be pinned.

    Attributes:
        producer: core of the sender, and of a process that is measured alone.
        consumer: core of all receivers.
        note: description of the cores.
    """

    producer: int | None
    consumer: int | None
    note: str

    @property
    def apart(self) -> bool:
        """Whether sender and receivers have different cores."""
        return self.producer is not None and self.producer != self.consumer


def find_cores() -> Cores:
    """Return two cores, different physical ones if possible, of those that this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    producer = usable[0]
    others = [core for core in usable[1:] if core not in _siblings(producer)] or usable[1:]
    if not others:
        return Cores(producer, producer, f"one core only: producer and consumers share core {producer}")
    return Cores(producer, others[0], f"producer on core {producer}, consumers on core {others[0]}")


def pin(core: int | None) -> None:
    """Pin this process and its children to a core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def version_of(distribution: str | None) -> str | None:
    """Return the version of a distribution, or of Python if it is None; None if it is not installed."""
    if distribution is None:
        return f"Python {platform.python_version()}"
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def host_facts(cores: Cores) -> dict[str, str]:
    """Return the facts about this machine that the report shows."""
    return {
        "host": platform.node(),
        "when": time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime()),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "CPU": _cpu(),
        "cores": f"{os.cpu_count()}; {cores.note}",
        "load before the run": f"{os.getloadavg()[0]:.2f}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}, "
        + ("optimised by profile" if "--enable-optimizations" in _build_options() else "not optimised by profile"),
        "chronostream": f"{version_of('chronostream')}, {ring.CORE} core by default",
        "numpy": version_of("numpy") or "unknown",
    }


def l2_bytes() -> int:
    """Return the size of a core's L2 cache; a low estimate where it is unknown."""
    try:
        text = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text("ascii").strip()
    except OSError:
        return 1 << 18
    return int(text.removesuffix("K")) << 10


def _siblings(core: int) -> set[int]:
    """Return all hardware threads of the physical core of this one."""
    try:
        text = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text("ascii")
    except OSError:
        return {core}
    ends = [[int(end) for end in part.split("-")] for part in text.strip().split(",")]
    return {sibling for part in ends for sibling in range(part[0], part[-1] + 1)}


def _build_options() -> str:
    return sysconfig.get_config_var("CONFIG_ARGS") or ""


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    virtual = ", virtual machine" if "hypervisor" in fields.get("flags", "").split() else ""
    return fields.get("model name", "unknown") + virtual

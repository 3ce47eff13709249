"""The machine that a run is made on: which cores to use, and the facts without which a figure says nothing."""

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
    """Where processes are pinned; None where that is not possible.

    Attributes:
        producer: the core of whoever sends, and of whoever is measured alone.
        consumer: the core of whoever receives, however many they are.
        note: the same in words.
    """

    producer: int | None
    consumer: int | None
    note: str

    @property
    def apart(self) -> bool:
        """Whether sender and receivers have a core each."""
        return self.producer is not None and self.producer != self.consumer


def find_cores() -> Cores:
    """Return two cores of this process's own that do not share an execution unit, if there are two."""
    usable = sorted(os.sched_getaffinity(0))
    producer = usable[0]
    others = [core for core in usable[1:] if core not in _siblings(producer)] or usable[1:]
    if not others:
        return Cores(producer, producer, f"one core only: producer and consumers take turns on core {producer}")
    return Cores(producer, others[0], f"producer on core {producer}, consumers on core {others[0]}")


def pin(core: int | None) -> None:
    """Keep this process, and what it starts, on one core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def version_of(distribution: str | None) -> str | None:
    """Return the installed version of a distribution; None if there is none, the interpreter's for its own parts."""
    if distribution is None:
        return f"Python {platform.python_version()}"
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def host_facts(cores: Cores) -> dict[str, str]:
    """Return what a reader must know of this machine, in words."""
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
    """Return the size of a core's second cache; a modest guess where the system does not say."""
    try:
        text = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text("ascii").strip()
    except OSError:
        return 1 << 18
    return int(text.removesuffix("K")) << 10


def _siblings(core: int) -> set[int]:
    """Return the threads of the physical core that this one is of."""
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

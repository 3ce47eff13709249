"""The limits of the machine, measured by a small C program (limits.c) that is compiled at the start of a run."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from bench.host import Cores, pin
from bench.processes import FailedError

__all__ = ["Copy", "Limits"]

Copy = Literal["FILL", "DRAIN"]
"""The direction: into a ring, or out of it."""

_SOURCE = Path(__file__).with_name("limits.c")
_BUILD_LIMIT_S = 60.0


class Limits:
    """The compiled program, a context manager that deletes it at the end.

    Attributes:
        unavailable: why it could not be compiled; None if it was.
    """

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self._directory = tempfile.TemporaryDirectory(prefix="bench-limits-")
        self._program = Path(self._directory.name, "limits")
        self.unavailable = self._build()

    def memcpy(self, how: Copy, size: int, ring: int, repeats: int) -> npt.NDArray[np.float64]:
        """Return the ns of each copy of `size` bytes into or out of the next slot of a ring."""
        return self._run(30.0, "memcpy", how, size, ring, repeats)

    def line(self, count: int) -> npt.NDArray[np.float64]:
        """Return the ns that a cache line takes from core to core, `count` times."""
        if not self._cores.apart:
            raise FailedError("two spinning processes need two cores")
        return self._run(30.0, "line", self._cores.producer, self._cores.consumer, count)

    def futex(self, count: int, period_ns: int) -> npt.NDArray[np.float64]:
        """Return the ns from a futex wake on one core to the waiter on the other, `count` times."""
        cores = (-1 if core is None else core for core in (self._cores.producer, self._cores.consumer))
        return self._run(30.0 + count * period_ns / 1e9, "futex", *cores, count, period_ns)

    def timer(self, count: int, period_ns: int) -> npt.NDArray[np.float64]:
        """Return by how many ns a timer on the wall clock is late at multiples of `period_ns`, `count` times."""
        return self._run(30.0 + count * period_ns / 1e9, "timer", count, period_ns)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the program."""
        self._directory.cleanup()

    def _build(self) -> str | None:
        compiler = shlex.split(os.environ.get("CC", "cc"))
        if not compiler or shutil.which(compiler[0]) is None:
            return f"no C compiler {' '.join(compiler)!r}: install one, or set CC"
        command = [*compiler, "-std=gnu11", "-O2", "-o", str(self._program), str(_SOURCE)]
        try:
            built = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_LIMIT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{shlex.join(command)} failed: {error}"
        if built.returncode:
            return f"{shlex.join(command)} failed: {built.stderr.strip().splitlines()[-1:] or built.returncode}"
        return None

    def _run(self, limit_s: float, *arguments: object) -> npt.NDArray[np.float64]:
        if self.unavailable is not None:
            raise FailedError(self.unavailable)
        command = [str(self._program), *map(str, arguments)]
        try:
            run = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=limit_s,
                check=False,
                preexec_fn=lambda: pin(self._cores.producer),
            )
        except subprocess.TimeoutExpired:
            raise FailedError(f"not done after {limit_s:g} s") from None
        if run.returncode:
            raise FailedError(f"{shlex.join(command)} ended with status {run.returncode}: {run.stderr.strip()}")
        return np.array(run.stdout.split(), np.float64)

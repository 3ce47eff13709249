"""Build the native ring core; everything else stands in pyproject.toml.

CHRONOSTREAM_BUILD_EXTENSION: unset tries, and goes without it where there is no C compiler; with "yes" a build that
fails fails the installation; with "no" it is not tried.
"""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

SOURCE = "chronostream/ring/_native.c"
FLAGS = ["-std=c11", "-O3", "-fvisibility=hidden", "-Wall", "-Wextra"]
# One build for every Python from 3.11 on; free-threaded ones have no stable ABI.
STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")

wanted = os.environ.get("CHRONOSTREAM_BUILD_EXTENSION")
if wanted not in {None, "yes", "no"}:
    raise SystemExit(f"CHRONOSTREAM_BUILD_EXTENSION is {wanted!r}, expected yes, no, or unset to try")

native = Extension(
    "chronostream.ring._native",
    [SOURCE],
    depends=["chronostream/ring/protocol.h", "chronostream/ring/copying.h"],
    define_macros=[("Py_LIMITED_API", "0x030B0000")] if STABLE_ABI else [],
    py_limited_api=STABLE_ABI,
    optional=wanted != "yes",
)


class BuildNative(build_ext):
    """Gives a compiler of gcc's kind its flags, and says what a failed build means."""

    def build_extensions(self) -> None:
        """Build, and go on without where that is allowed."""
        if self.compiler.compiler_type == "unix":
            native.extra_compile_args = FLAGS
        super().build_extensions()
        if not Path(self.get_ext_fullpath(native.name)).exists():
            self.warn("going on without the native ring core: the portable one is slower and runs on x86-64 only")
            self.distribution.ext_modules = []


class Wheel(bdist_wheel):
    """Tags a wheel by what was built, not by what was tried."""

    def run(self) -> None:
        """Build first, so that the tag can tell what came of it."""
        self.run_command("build")
        self.root_is_pure = not self.distribution.has_ext_modules()
        super().run()


setup(
    ext_modules=[native] if wanted == "yes" or (wanted is None and Path(SOURCE).exists()) else [],
    cmdclass={"build_ext": BuildNative, "bdist_wheel": Wheel},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE_ABI else {},
)

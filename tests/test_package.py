"""The package's own face: names that are loaded when they are first used."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import chronostream
from tests.ring.harness import ROOT, TIMEOUT_S

PUBLIC = {name for name in chronostream.__all__ if name != "__version__"}


def loaded_after(code: str) -> set[str]:
    """Return the names of all modules that a fresh interpreter has loaded after some code."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, cwd=ROOT, timeout=TIMEOUT_S)
    return set(json.loads(out.stdout))


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_is_there_once_it_was_asked_for(name: str) -> None:
    assert getattr(chronostream, name) is vars(chronostream)[name]  # From now on without a detour.


def test_every_public_name_is_declared_for_type_checkers_and_listed_once() -> None:
    homes: dict[str, list[str]] = vars(chronostream)["_HOMES"]
    modules = [name for name in PUBLIC if inspect.ismodule(getattr(chronostream, name))]
    assert sorted([*modules, *(name for names in homes.values() for name in names)]) == sorted(PUBLIC)
    declared = ast.parse(Path(chronostream.__file__).read_text()).body
    [block] = [statement for statement in declared if isinstance(statement, ast.If)]
    assert sorted(
        alias.name for line in block.body if isinstance(line, ast.ImportFrom) for alias in line.names
    ) == sorted(PUBLIC)
    assert len(chronostream.__all__) == len(set(chronostream.__all__))


def test_all_names_are_listed_before_they_are_loaded() -> None:
    script = (
        "import chronostream; assert set(chronostream.__all__) <= set(dir(chronostream)); from chronostream import *"
    )
    loaded = loaded_after(f"{script}; subscribe, Engine, ring, EVENT_DTYPE")
    assert {"chronostream.stream.events", "chronostream.producer.engine", "chronostream.producer.process"} <= loaded


def test_a_name_that_is_none_is_an_error_as_of_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'chronostream' has no attribute 'subscibe'"):
        getattr(chronostream, "subscibe")  # noqa: B009 - a type checker would rather not


def test_importing_the_package_loads_nothing_but_the_package() -> None:
    before = loaded_after("from __future__ import annotations; import importlib, typing")
    assert loaded_after("import chronostream") - before <= {"chronostream", "chronostream.version"}


def test_a_consumer_does_not_load_the_parts_of_a_producer_or_of_the_command_line() -> None:
    loaded = loaded_after("import chronostream as cs; cs.subscribe, cs.Event, cs.ring")
    assert {name.partition(".")[0] for name in loaded}.isdisjoint({"psutil", "click", "rich", "tzdata", "asyncio"})
    parts = {name.removeprefix("chronostream.") for name in loaded if name.startswith("chronostream.")}
    assert {name.partition(".")[0] for name in parts}.isdisjoint({"producer", "scheduler", "calendar", "clock", "cli"})
    assert parts.isdisjoint({"boundaries", "stream.config", "stream.state"})


def test_the_command_line_loads_a_command_only_when_it_is_there_to_be_run() -> None:
    loaded = loaded_after("import chronostream.cli")
    assert {"click", "rich", "numpy"}.isdisjoint(loaded)


@pytest.mark.parametrize("arguments", [["list", "--nonsense"], ["nonsense"], ["tail"]], ids=" ".join)
def test_wrong_usage_is_answered_without_what_the_command_needs_for_its_work(arguments: list[str]) -> None:
    loaded = loaded_after(f"from chronostream.cli import main; assert main({arguments}) == 2")
    assert {"rich", "psutil"}.isdisjoint(loaded)
    assert ("numpy" in loaded) == (arguments == ["tail"])  # It takes an option of a stream.


def test_a_subscriber_installs_ten_distributions_at_most() -> None:
    installed: set[str] = set()
    wanted = ["chronostream"]
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name not in installed:
            installed.add(name)
            needed = map(Requirement, distribution(name).requires or ())
            wanted += [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    others = installed - {"chronostream"}
    assert {"numpy", "psutil", "tzdata", "click", "rich"} <= others
    assert len(others) <= 10
    assert not any("pydantic" in name for name in others)

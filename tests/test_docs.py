"""The documentation holds: its programs and commands do what it shows, its links lead somewhere, its tables are true.

A document is followed as a reader would, block by block, in a directory of its own::

    ```python    a program, independent of the others; a ```text block right behind it is exactly what it prints
    ```console   commands behind `$`, each with what it prints; numbers may differ, and `…` stands for anything
    ```text      anything else

A comment in the line before a block says what else there is to know about it:

    <!-- until Ctrl-C -->            it runs until the document ends, and then takes Ctrl-C for an ordinary end
    <!-- ends with the stream -->    likewise, but it ends by itself once those have ended
    <!-- numbers differ -->          this output is compared as that of commands is
    <!-- run by tests/… -->          another test runs it
    <!-- not run: … -->              nothing does, and why
"""

from __future__ import annotations

import contextlib
import doctest
import inspect
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import chronostream
from chronostream.cli.app import app
from chronostream.clock import FakeClock
from chronostream.config import StreamConfig
from chronostream.engine import Engine
from chronostream.ring import inspect as inspect_ring
from chronostream.ring import segment_name
from chronostream.scheduler import Condition, FactKind

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = sorted((ROOT / "chronostream").rglob("*.py"))
TIMEOUT_S = 20.0

# What documents call their streams; here each has a name of the test's own instead.
STREAMS = ("market-clock", "my-clock", "test-clock", "ticks")
ALONE = {stream: f"{stream}-docs-{os.getpid()}" for stream in STREAMS}

BLOCK = re.compile(r"(?ms)^(?:<!-- (?P<remark>[^\n]*) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$")
LINK = re.compile(r"\[[^][]*\]\(([^()\s]+)\)")
HEADING = re.compile(r"(?m)^#+ +(.*)$")

by_name = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@dataclass(frozen=True)
class Block:
    """A fenced block; with `output`, what it is said to print."""

    line: int
    language: str
    text: str
    remark: str
    output: Block | None = None

    @property
    def exact(self) -> bool:
        return self.language != "console" and self.remark != "numbers differ"


class Started:
    """A command under way, and whether it prints what it should."""

    def __init__(self, where: str, command: list[str], expected: str, directory: Path, *, exact: bool) -> None:
        self.where = where
        self._expected = expected if exact else _loose(expected)
        self._exact = exact
        self._printed = directory / f"output-{where.rpartition(':')[2]}-{time.monotonic_ns()}"
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        with self._printed.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT if command[-1].startswith("scripts/") else directory,
                env=os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for_output(self) -> None:
        """Return once it has printed what it should so far, though it goes on."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while not self._agrees():
            assert self._process.poll() is None, f"{self.where} ended early, and printed:\n{self._output()}"
            assert time.monotonic() < deadline_s, f"{self.where} printed only:\n{self._output()}"
            time.sleep(0.02)

    def finish(self) -> None:
        """Return once it has ended as it should."""
        try:
            status = self._process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.where} does not end; it printed:\n{self._output()}")
        assert status == 0, f"{self.where} ended with status {status}, and printed:\n{self._output()}"
        if self._exact:
            assert self._output() == self._expected, self.where
        assert self._agrees(), f"{self.where} printed:\n{self._output()}"

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.killpg(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        """Leave nothing of it."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(TIMEOUT_S)

    def _agrees(self) -> bool:
        return self._output() == self._expected if self._exact else bool(re.match(self._expected, self._output()))

    def _output(self) -> str:
        return self._printed.read_text()


@pytest.fixture
def streams() -> Iterator[None]:
    """The streams that documents speak of, gone afterwards."""
    yield
    for name in ALONE.values():
        Path("/dev/shm", segment_name(name)).unlink(missing_ok=True)


@pytest.mark.usefixtures("streams")
@by_name
def test_a_document_can_be_followed(document: Path, tmp_path: Path) -> None:
    producers: list[Started] = []
    programs: list[Started] = []
    consumers: list[Started] = []
    with contextlib.ExitStack() as started:
        for block, command, expected in _commands(document):
            if block.remark != "until Ctrl-C":
                _wait_for_output(producers)
            where = f"{document.relative_to(ROOT)}:{block.line}"
            run = Started(where, command, expected, tmp_path, exact=(block.output or block).exact)
            started.callback(run.kill)
            if block.remark == "until Ctrl-C":
                producers.append(run)
            elif block.remark == "ends with the stream":
                consumers.append(run)
            elif block.language == "python":
                programs.append(run)
            else:
                run.finish()
        _finish(programs)
        _wait_for_output(producers + consumers)
        for run in producers:
            run.interrupt()
        _finish(producers + consumers)


@by_name
def test_each_block_is_of_a_kind_that_is_looked_at(document: Path) -> None:
    for block in _blocks(document):
        where = f"{document.relative_to(ROOT)}:{block.line}"
        assert block.language in {"python", "console", "text", "toml", "ini"}, f"{where}: say what the block is"
        if block.language == "toml":
            tomllib.loads(block.text)
        kind, _, rest = block.remark.partition(": ")
        if kind.startswith("run by "):
            assert (ROOT / kind.removeprefix("run by ")).is_file(), where
        else:
            assert bool(rest) == (kind == "not run"), f"{where}: say why it is not run"
            assert kind in {"", "until Ctrl-C", "ends with the stream", "numbers differ", "not run"}, where


@by_name
def test_documents_name_no_streams_but_those_that_are_renamed_here(document: Path) -> None:
    for block in _blocks(document):
        if _is_run(block):
            named = re.findall(r"(?:name=|subscribe\(|attach\(|create\()\"([^\"]*)\"", block.text)
            named += re.findall(r"(?m)^\$ chronostream \w+ ([a-z][\w.-]*)", block.text)
            assert set(named) <= set(STREAMS), f"{document}:{block.line}: add the name to STREAMS in {__file__}"


@by_name
def test_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(_without_blocks(document)):
        path, _, anchor = target.partition("#")
        if "://" not in target:
            found = (document.parent / path).resolve() if path else document
            assert found.exists(), f"{document.name} links to {target}"
            if anchor:
                assert anchor in _anchors(found), f"{document.name} links to {target}"


def test_the_tests_that_documents_name_exist() -> None:
    defined = set(re.findall(r"(?m)^ *def (test_\w+)\(", "\n".join(map(Path.read_text, _tests()))))
    for document in DOCUMENTS:
        named = set(re.findall(r"`(test_\w+)`", document.read_text()))
        assert named <= defined, document.name


def test_the_sections_that_the_code_cites_exist() -> None:
    for source in [*SOURCES, *_tests()]:
        for document, section in re.findall(r"(docs/\w+\.md), \"([^\"]+)\"", source.read_text()):
            assert section in HEADING.findall((ROOT / document).read_text()), source.name


def test_the_steps_that_the_code_cites_exist() -> None:
    described = set(re.findall(r"(?m)^- \*\*([A-Z]\d)\*\*", (ROOT / "docs/ring.md").read_text()))
    cited = {
        step
        for source in SOURCES
        if source.parent.name == "ring"
        for comment in re.findall(r"(?m)# .*$", source.read_text())
        for step in re.findall(r"\b[A-Z]\d\b", comment)
    }
    assert {"P1", "C3", "W3", "O1", "R4", "X2"} <= cited <= described


def test_the_layers_in_the_documentation_are_those_that_are_enforced() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = {contract["name"]: contract for contract in project["tool"]["importlinter"]["contracts"]}
    enforced = [
        row
        for layer in contracts["Arrows point down only"]["layers"]
        if (row := [name for name in re.findall(r"\w+", layer) if _is_module(name)])
    ]
    described = [re.findall(r"`(\w+)`", row) for row in re.findall(r"(?m)^\| \d+ \| (.*) \|$", _section("Layers"))]
    assert described == enforced, 'bring the table of docs/architecture.md, "Layers", up to date'


def test_each_module_is_described() -> None:
    modules = {
        path.stem for path in (ROOT / "chronostream").iterdir() if path.stem != "__init__" and _is_module(path.stem)
    }
    described = re.findall(r"(?m)^\| `(\w+)` \| .+ \|$", _section("Modules"))
    assert sorted(described) == sorted(modules), 'bring the table of docs/architecture.md, "Modules", up to date'


def test_the_facts_in_the_documentation_are_those_that_are_counted() -> None:
    table = re.findall(r"(?m)^\| `(\w+)` \| (\w+) \|", (ROOT / "docs/time.md").read_text())
    assert table == [(kind.label, logging.getLevelName(kind.level).lower()) for kind in FactKind]


def test_each_situation_in_the_documentation_names_its_facts_and_its_tests() -> None:
    text = (ROOT / "docs/time.md").read_text()
    rows = re.findall(r"(?m)^\| (\d+) \| .* \| (.*) \|$", text)
    shown = re.findall(r"(?m)^- (\d+): `test_", text)
    assert [number for number, _ in rows] == shown == [str(number) for number in range(1, len(rows) + 1)]
    named = {fact for _, counted in rows for fact in re.findall(r"`(\w+)`", counted)}
    assert named == {kind.label for kind in FactKind}


def test_the_conditions_in_the_documentation_are_all_there_are() -> None:
    found = re.search(r"(?m)^The condition is (.*)\.$", (ROOT / "docs/time.md").read_text())
    assert found is not None
    assert re.findall(r"`(\w+)`", found[1]) == [condition.value for condition in Condition]


def test_the_options_in_the_documentation_have_the_defaults_that_it_gives() -> None:
    table = re.findall(r"(?m)^\| `(\w+)` \| `--([\w-]+)` \| `?\"?(\w+)\"?`? \|", (ROOT / "docs/time.md").read_text())
    defaults = {field.name: str(field.default) for field in fields(StreamConfig)}
    assert table
    assert {option: default for option, _, default in table}.items() <= defaults.items()
    assert all(option.removesuffix("_s") == flag.replace("-", "_") for option, flag, _ in table)


def test_the_commands_in_the_readme_are_all_there_are() -> None:
    described = re.findall(r"(?m)^\| `chronostream (\w+)\b", (ROOT / "README.md").read_text())
    commands = [command.callback.__name__ for command in app.registered_commands if command.callback is not None]
    assert sorted(described) == sorted(commands), "bring the table of README.md up to date"


@pytest.mark.usefixtures("streams")
def test_the_example_of_the_package_holds() -> None:
    text = _renamed(inspect.getdoc(chronostream) or "")
    example = doctest.DocTestParser().get_doctest(text, {}, "chronostream", None, 0)
    assert doctest.DocTestRunner().run(example) == (0, 3)


@pytest.mark.usefixtures("streams")
def test_the_example_of_the_fake_clock_holds() -> None:
    code = re.search(r"(?s)::\n\n(.*?)\n\nArgs:", inspect.getdoc(FakeClock) or "")
    assert code is not None
    name = ALONE["my-clock"]
    config = StreamConfig(name=name, frequencies=("second",))
    stop = threading.Event()
    scope: dict[str, Any] = {"FakeClock": FakeClock, "threading": threading, "stop": stop}
    scope["engine"] = SimpleNamespace(run=lambda stop: Engine(config, clock=scope["clock"]).run(stop))
    try:
        exec(textwrap.dedent(code[1]), scope)
        scope["clock"].wait_for_waiters()
        assert chronostream.stream_status(name).as_dict()["frequencies"]["second"]["missed"] == 9
        assert inspect_ring(name).head == 11
    finally:
        stop.set()
        scope["thread"].join(TIMEOUT_S)


def _wait_for_output(runs: list[Started]) -> None:
    for run in runs:
        run.wait_for_output()


def _finish(runs: list[Started]) -> None:
    for run in runs:
        run.finish()


def _blocks(document: Path) -> list[Block]:
    text = document.read_text()
    blocks: list[Block] = []
    end = 0
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        block = Block(line, found["language"], found["text"], found["remark"] or "")
        follows = blocks and blocks[-1].language == "python" and not text[end : found.start()].strip()
        if follows and block.language == "text":
            blocks[-1] = replace(blocks[-1], output=block)
        else:
            blocks.append(block)
        end = found.end()
    assert len(re.findall(r"(?m)^```", text)) == 2 * len(BLOCK.findall(text)), f"{document.name}: an odd fence"
    return blocks


def _commands(document: Path) -> Iterator[tuple[Block, list[str], str]]:
    """Yield each thing to run, with the block that it is from and what it is to print."""
    for block in filter(_is_run, _blocks(document)):
        if block.language == "python":
            code = re.sub(f'"({"|".join(STREAMS)})"', lambda found: f'"{ALONE[found[1]]}"', block.text)
            printed = block.output.text if block.output else ""
            yield block, [sys.executable, "-W", "error", "-c", code], _renamed(printed)
        else:
            for command, printed in re.findall(r"(?m)^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text):
                yield block, ["bash", "-c", _renamed(command)], _renamed(printed)


def _is_run(block: Block) -> bool:
    return block.language in {"python", "console"} and not block.remark.startswith(("run by ", "not run: "))


def _renamed(text: str) -> str:
    return re.sub("|".join(STREAMS), lambda found: ALONE[found[0]], text)


def _loose(expected: str) -> str:
    """Return a regular expression for what a command prints; the last `…` may be any number of lines."""
    pattern = re.escape(expected.removesuffix("…\n"))
    for written, meant in (
        (r"none\\ yet\\ \\ missed\\ 0", r"(none yet  missed \\d+|last .* missed .*)"),
        (r"\d+(\\\.\d+)?", r"[\\d.]+"),
        (r"(second|minute|hour|day)(\\ )", r"(second|minute|hour|day) "),
        (r"(native|portable)(\\ )core", r"(native|portable) core"),
        (r"(\\ )+", r" +"),
        ("…", ".*"),
    ):
        pattern = re.sub(written, meant, pattern)
    return pattern if expected.endswith("…\n") else pattern + r"\Z"


def _without_blocks(document: Path) -> str:
    return BLOCK.sub(lambda found: "\n" * found[0].count("\n"), document.read_text())


def _anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to a document's headings."""
    anchors: set[str] = set()
    for heading in HEADING.findall(_without_blocks(document)):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        repeated = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", known) is not None for known in anchors)
        anchors.add(f"{slug}-{repeated}" if repeated else slug)
    return anchors


def _section(heading: str) -> str:
    text = (ROOT / "docs/architecture.md").read_text()
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def _is_module(name: str) -> bool:
    package = ROOT / "chronostream"
    return (package / f"{name}.py").is_file() or (package / name / "__init__.py").is_file()


def _tests() -> list[Path]:
    return sorted((ROOT / "tests").rglob("*.py"))

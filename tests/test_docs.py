"""The documentation holds: what it shows runs and prints that, its links lead somewhere, its tables are true."""

from __future__ import annotations

import contextlib
import doctest
import inspect
import logging
import re
import textwrap
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import chronostream
from chronostream.cli.app import app
from chronostream.cli.options import stream_option
from chronostream.clock import FakeClock
from chronostream.producer.engine import Engine
from chronostream.ring import inspect as inspect_ring
from chronostream.ring import segment_name
from chronostream.scheduler import Condition, NoticeKind
from chronostream.stream.config import OPTIONS, StreamConfig
from tests.docs_harness import (
    ALONE,
    HEADING,
    ROOT,
    STREAMS,
    TIMEOUT_S,
    Started,
    blocks_of,
    commands_of,
    is_run,
    prose_of,
    renamed,
)

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = sorted((ROOT / "chronostream").rglob("*.py"))
LINK = re.compile(r"\[[^][]*\]\(([^()\s]+)\)")


by_name = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@pytest.fixture
def streams() -> Iterator[None]:
    """The streams that documents speak of, gone afterwards."""
    yield
    for name in ALONE.values():
        Path("/dev/shm", segment_name(name)).unlink(missing_ok=True)


@pytest.mark.timeout(120)  # for README.md, which installs
@pytest.mark.usefixtures("streams")
@by_name
def test_a_document_can_be_followed(document: Path, tmp_path: Path) -> None:
    producers: list[Started] = []
    programs: list[Started] = []
    consumers: list[Started] = []
    with contextlib.ExitStack() as started:
        for block, command, expected in commands_of(document):
            if block.remark != "until Ctrl-C":
                _wait_for_output(producers + consumers)
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
    for block in blocks_of(document):
        where = f"{document.relative_to(ROOT)}:{block.line}"
        kinds = {"python", "console", "sh", "text", "toml", "ini"}
        assert block.language in kinds, f"{where}: {block.language!r} is none of {kinds}"
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
    for block in blocks_of(document):
        if is_run(block):
            named = re.findall(r"(?:name=|subscribe\(|attach\(|create\()\"([^\"]*)\"", block.text)
            named += re.findall(r"(?m)^\$ chronostream \w+ ([a-z][\w.-]*)", block.text)
            assert set(named) <= set(STREAMS), (
                f"{document}:{block.line}: add the name to STREAMS in tests/docs_harness.py"
            )


@by_name
def test_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(prose_of(document)):
        path, _, anchor = target.partition("#")
        if "://" not in target:
            found = (document.parent / path).resolve() if path else document
            assert found.exists(), f"{document.name} links to {target}"
            if anchor:
                assert anchor in _anchors(found), f"{document.name} links to {target}"


def test_the_figures_of_the_readme_are_those_of_the_full_report() -> None:
    figure = re.compile(r"\d[\d.]* (?:ns|µs|ms|M/s|%)")
    speed = (ROOT / "README.md").read_text().partition("## Speed")[2].partition("\n## ")[0]
    shown, measured = (
        set(figure.findall(text)) for text in (speed, (ROOT / "bench/results/full/report.md").read_text())
    )
    assert len(shown) > 20
    assert shown <= measured


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


def test_each_room_is_described() -> None:
    package = ROOT / "chronostream"
    rooms = {
        path.relative_to(package).as_posix()
        for suffix in ("py", "c", "h")
        for path in package.rglob(f"*.{suffix}")
        if path.stem != "__init__" and path.parent.name != "cli" and path != package / "__main__.py"
    }
    described, folder = set(), ""
    for indent, entry in re.findall(r"(?m)^( {2,4})([\w./]+)  +\S", _section("Rooms")):
        if entry.endswith("/"):
            folder = entry
            assert (package / folder).is_dir(), f"there is no folder {folder}"
        else:
            described.add(folder + entry if len(indent) > len("  ") else entry)
    assert described == rooms, 'bring the listing of docs/architecture.md, "Rooms", up to date'


def test_the_facts_in_the_documentation_are_those_that_are_counted() -> None:
    table = re.findall(r"(?m)^\| `(\w+)` \| (\w+) \|", (ROOT / "docs/time.md").read_text())
    assert table == [(kind.label, logging.getLevelName(kind.level).lower()) for kind in NoticeKind]


def test_each_situation_in_the_documentation_names_its_facts_and_its_tests() -> None:
    text = (ROOT / "docs/time.md").read_text()
    rows = re.findall(r"(?m)^\| (\d+) \| .* \| (.*) \|$", text)
    shown = re.findall(r"(?m)^- (\d+): `test_", text)
    assert [number for number, _ in rows] == shown == [str(number) for number in range(1, len(rows) + 1)]
    named = {fact for _, counted in rows for fact in re.findall(r"`(\w+)`", counted)}
    assert named == {kind.label for kind in NoticeKind}


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


def test_the_table_of_options_is_what_a_stream_declares() -> None:
    written = re.findall(r"(?m)^\| (`[\w-]+` \| .* \| .* \| .*) \|$", _section("Configuration", "operating.md"))
    declared = []
    for field, option in OPTIONS.items():
        if option.key:
            choices = ("true", "false") if option.kind.name == "switch" else option.kind.choices
            values = ", ".join(f"`{choice}`" for choice in choices) or option.kind.name
            default = f"`{stream_option(field).default_text}`"
            if option.kind.name == "switch":
                default = f"`{option.default}`".lower()
            elif option.words or option.default is None:
                default = option.words or "none"
            declared.append(f"`{option.key}` | {values} | {default} | {option.help}")
    assert written == declared, 'bring the table of docs/operating.md, "Configuration", up to date'


def test_the_commands_in_the_readme_are_all_there_are() -> None:
    described = re.findall(r"(?m)^\| `chronostream (\w+)\b", (ROOT / "README.md").read_text())
    commands = list(app.commands)
    assert sorted(described) == sorted(commands), "bring the table of README.md up to date"


@pytest.mark.usefixtures("streams")
def test_the_example_of_the_package_holds() -> None:
    text = renamed(inspect.getdoc(chronostream) or "")
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


def _anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to a document's headings."""
    anchors: set[str] = set()
    for heading in HEADING.findall(prose_of(document)):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        repeated = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", known) is not None for known in anchors)
        anchors.add(f"{slug}-{repeated}" if repeated else slug)
    return anchors


def _section(heading: str, document: str = "architecture.md") -> str:
    text = (ROOT / "docs" / document).read_text()
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def _is_module(name: str) -> bool:
    package = ROOT / "chronostream"
    return (package / f"{name}.py").is_file() or (package / name / "__init__.py").is_file()


def _tests() -> list[Path]:
    return sorted((ROOT / "tests").rglob("*.py"))

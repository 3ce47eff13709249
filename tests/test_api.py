"""The public API is what docs/api.md says, name by name, and each module lists what others may use of it."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

import chronostream as cs
from chronostream.version import __version__
from tests.ring.harness import ROOT

DOCUMENTED = dict(re.findall(r"(?ms)^## `([\w.]+)`\n(.*?)(?=^## |\Z)", (ROOT / "docs/api.md").read_text()))
SOURCES = sorted((ROOT / "chronostream").rglob("*.py"))


def documented(module: str) -> dict[str, str]:
    """Return each name that the blocks of a module's section have, with its parameters as they are written there."""
    found: dict[str, str] = {}
    owner = ""
    blocks = re.findall(r"(?ms)^```text\n(.*?)^```", DOCUMENTED[module])
    for entry in filter(None, re.split(r"\n| {2,}", re.sub(r"\n {8}", " ", "".join(blocks)))):
        name, bracket, parameters = entry.partition("(")
        owner = owner if name.startswith(".") else name
        found[owner + name.removeprefix(owner)] = bracket + parameters
    return found


def real(module: str) -> dict[str, str]:
    """Return each public name of a module, and of its classes, with its parameters; none for what is not called."""
    found: dict[str, str] = {}
    for name in importlib.import_module(module).__all__:
        value = getattr(importlib.import_module(module), name)
        found[name] = parameters_of(value)
        if inspect.isclass(value):
            found |= {f"{name}.{member}": parameters for member, parameters in members_of(value)}
    return found


def members_of(cls: type) -> Iterator[tuple[str, str]]:
    """Yield what a class adds to its public bases; the fields of a dataclass are parameters already."""
    known = {field.name for field in fields(cls)} if is_dataclass(cls) else set()
    for part in cls.__mro__:
        if part is cls or part.__name__.startswith("_") or "._" in part.__module__:
            attributes = (inspect.getdoc(part) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
            told = re.findall(r"(?m)^    (\w+): ", attributes)
            for name in dict.fromkeys([*told, *inspect.get_annotations(part), *vars(part)]):
                if not name.startswith("_") and name not in known:
                    value = getattr(cls, name, None)
                    yield name, parameters_of(value, bound=not inspect.isfunction(value))


def parameters_of(value: object, *, bound: bool = True) -> str:
    """Return the parameters of what is called, without their types, nor the first one unless it is bound."""
    if not callable(value):
        return ""
    if isinstance(value, type) and issubclass(value, Exception) and value.__init__ is Exception.__init__:
        return ""  # One message, as every exception takes.
    signature = inspect.signature(value)
    parameters = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    bare = signature.replace(parameters=parameters[not bound :], return_annotation=signature.empty)
    text = str(bare).replace(repr(__version__), "__version__").replace("mode=384", "mode=0o600")
    text = text.replace("<factory>", "...")
    return re.sub(r"<(?:built-in function )?([\w.]+)(?:: [^>]*)?>", r"\1", text)


@pytest.mark.parametrize("module", DOCUMENTED)
def test_the_documented_names_and_signatures_are_the_real_ones(module: str) -> None:
    told, there = documented(module), real(module)
    if module == "chronostream":  # whose two handles of the ring are told of once, where the ring is
        there = {name: parameters for name, parameters in there.items() if not re.match("(Producer|Consumer)[.]", name)}
    for name in re.findall(r"(?m)^[A-Z]\w+$", "\n".join(told)):
        there[name] = told[name] and there[name]  # A class without parameters there is made by a function.
    assert told == there


def test_every_public_module_is_documented() -> None:
    modules = {f"chronostream.{name}" for name in cs.__all__ if inspect.ismodule(getattr(cs, name))}
    assert modules - DOCUMENTED.keys() == {"chronostream.errors"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_lists_every_public_name_that_it_defines(source: Path) -> None:
    defined, listed = set(), set()
    for statement in ast.parse(source.read_text()).body:
        match statement:
            case ast.Assign([ast.Name("__all__")], value):
                listed = set(ast.literal_eval(value))
            case ast.Assign([ast.Name(name)]) | ast.AnnAssign(ast.Name(name)):
                defined.add(name)
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                defined.add(name)
    assert {name for name in defined if not name.startswith("_")} <= listed

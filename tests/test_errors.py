from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from chronostream import errors
from chronostream.errors import ChronoStreamError, LostError, ProducerActiveError, StreamError

CLASSES = [getattr(errors, name) for name in errors.__all__]
LINE = re.compile(r"(?P<indent>[│ ]*)(?:[├└]── )?(?P<name>\w+Error)(?: \((?P<builtin>\w+)\))?(?: {2,}\S.*)?")


def drawn_bases() -> dict[str, set[str]]:
    """Read the tree in the module's docstring: each class with its bases."""
    drawing = inspect.cleandoc(errors.__doc__ or "").partition("::\n\n")[2]
    bases: dict[str, set[str]] = {}
    above: dict[int, str] = {}
    for line in inspect.cleandoc(drawing).splitlines():
        found = LINE.fullmatch(line)
        assert found, f"not a line of the tree: {line!r}"
        depth = line.index(found["name"]) // 4
        above[depth] = found["name"]
        assert found["name"] not in bases, f"{found['name']} is drawn twice"
        bases[found["name"]] = {above[depth - 1] if depth else "Exception", *filter(None, [found["builtin"]])}
    return bases


def example(cls: type[ChronoStreamError]) -> ChronoStreamError:
    if cls is LostError:
        return LostError(3, 7)
    if cls is ProducerActiveError:
        return ProducerActiveError("the name is live", 4711)
    return cls("found this, expected that: do so")


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    assert drawn_bases() == {cls.__name__: {base.__name__ for base in cls.__bases__} for cls in CLASSES}


def test_every_class_of_the_module_is_public() -> None:
    defined = {name for name, item in vars(errors).items() if inspect.isclass(item)}
    assert defined == set(errors.__all__)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_survives_pickling_and_copying(cls: type[ChronoStreamError]) -> None:
    error = example(cls)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is cls
        assert (str(twin), vars(twin)) == (str(error), vars(error))


@pytest.mark.parametrize(("first", "last", "lost"), [(3, 7, 5), (3, 3, 1), (0, (1 << 64) - 1, 1 << 64)])
def test_lost_error_names_the_positions_and_counts_them(first: int, last: int, lost: int) -> None:
    error = LostError(first, last)
    assert (error.first, error.last) == (first, last)
    assert str(error).startswith(f"{lost} records lost, positions {first} to {last}: ")


def test_active_producer_may_be_nameless_yet() -> None:
    error = ProducerActiveError("another producer is making the segment")
    assert isinstance(error, StreamError)
    assert error.pid is None

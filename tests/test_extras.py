from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from chronostream._extras import require
from chronostream.errors import MissingDependencyError


def test_a_module_that_is_there_is_returned() -> None:
    assert require("json", "nothing") is json


def test_a_package_that_is_not_there_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "json", None)
    with pytest.raises(MissingDependencyError, match=r"needs json, .*pip install 'chronostream\[json\]'") as caught:
        require("json", "chronostream[json]")
    assert caught.value.name == "json"


def test_what_a_present_package_lacks_itself_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faces_broken_package.py").write_text("import faces_nowhere")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="faces_nowhere") as caught:
        require("faces_broken_package", "chronostream[broken]")
    assert not isinstance(caught.value, MissingDependencyError)

from __future__ import annotations

import json
import os

import pytest

from chronostream.cli import doctor as module
from chronostream.cli import main
from chronostream.observe.doctor import Finding, Verdict
from tests.process_harness import Programs

FINDINGS = [
    Finding("core", Verdict.OK, "native"),
    Finding("clock sync", Verdict.WARN, "not synchronised", "run chrony"),
    Finding("shared memory", Verdict.BAD, "there is none", "mount a tmpfs"),
]


@pytest.fixture
def capfd(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> pytest.CaptureFixture[str]:
    monkeypatch.setattr(module, "examine", lambda: FINDINGS)
    return capfd


def test_what_is_bad_makes_it_status_1(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 1
    out, err = capfd.readouterr()
    assert out.splitlines() == [
        "ok    core           native",
        "warn  clock sync     not synchronised",
        "                     → run chrony",
        "bad   shared memory  there is none",
        "                     → mount a tmpfs",
    ]
    assert err == ""


def test_what_is_only_not_so_good_does_not(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "examine", lambda: FINDINGS[:2])
    assert main(["doctor"]) == 0
    assert capfd.readouterr().out.count("\n") == 3


def test_programs_get_one_json_value(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--format", "json"]) == 1
    assert json.loads(capfd.readouterr().out)[1] == {
        "name": "clock sync",
        "verdict": "warn",
        "found": "not synchronised",
        "advice": "run chrony",
    }


def test_on_this_machine_it_finds_nothing_bad(programs: Programs) -> None:
    program = programs.chronostream("doctor", "--format", "json")
    findings = {found["name"]: found for found in json.loads(program.out.rest())}
    assert program.wait() == 0
    assert findings["kernel"]["found"] == f"Linux {os.uname().release}"
    assert {found["verdict"] for found in findings.values()} <= {"ok", "warn"}

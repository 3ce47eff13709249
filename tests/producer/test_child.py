from __future__ import annotations

import os
import select

import pytest

from chronostream.clock import Stop
from chronostream.producer import child
from tests.process_harness import dead_pid
from tests.ring.harness import TIMEOUT_S


def test_a_parent_that_is_dead_already_ends_it_at_once() -> None:
    with Stop() as stop:
        child._stop_with_parent(dead_pid(), stop)
        assert select.select([stop], [], [], TIMEOUT_S)[0]


def test_without_a_descriptor_of_its_parent_it_looks_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int) -> int:
        raise PermissionError

    parents = iter([7, 7])
    monkeypatch.setattr(os, "pidfd_open", refuse)
    monkeypatch.setattr(os, "getppid", lambda: next(parents, 1))
    monkeypatch.setattr(child, "_PARENT_CHECK_S", 0.01)
    with Stop() as stop:
        child._stop_with_parent(7, stop)
        assert select.select([stop], [], [], TIMEOUT_S)[0]

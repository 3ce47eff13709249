from __future__ import annotations

import sys

import pytest

from bench import peers, tickers
from bench.effort import SMOKE
from bench.host import Cores
from bench.peer import Peer
from bench.runner import Run, load_contenders
from bench.scenarios import SCENARIOS


@pytest.fixture
def run() -> Run:
    return Run({}, SMOKE.name)


def test_a_peer_that_is_not_installed_is_named_with_the_way_to_get_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "bench.peers.kickmsg", raising=False)
    monkeypatch.setitem(sys.modules, "kickmsg", None)
    contenders = load_contenders(["kickmsg", "mp-pipe"], run)
    assert "pip install '.[bench]'" in run.absent["kickmsg"]
    names = [peer.name for peer in contenders.peers]
    assert "kickmsg" not in names
    assert "mp-pipe" in names


def test_our_own_take_part_without_being_asked_for(run: Run) -> None:
    contenders = load_contenders([], run)
    taking_part = {contender.name for contender in (*contenders.peers, *contenders.tickers)}
    assert taking_part | set(run.absent) == {*peers.OWN, *tickers.OWN}
    assert {*peers.OWN, *tickers.OWN} == {*run.versions, *run.absent}


def test_each_contender_has_its_version_and_how_it_is_used(run: Run) -> None:
    load_contenders(["mp-queue", "mp-pipe", "time.sleep", "asyncio"], run)
    assert all(run.versions.values())
    assert all(run.how.values())


def test_names_are_those_of_the_classes() -> None:
    for name in ("mp-queue", "mp-pipe", "chronostream-portable"):
        peer = peers.load(name)
        assert isinstance(peer, Peer)
        assert peer.name == name


def test_quick_runs_have_four_peers() -> None:
    assert len(set(peers.QUICK)) == 4
    assert set(peers.QUICK) <= set(peers.PEERS) - set(peers.OWN)


def test_cores_are_apart_only_if_they_differ() -> None:
    assert Cores(0, 1, "").apart
    assert not Cores(0, 0, "").apart
    assert not Cores(None, None, "").apart


def test_scenarios_know_themselves_by_name() -> None:
    assert all(scenario.name == name and scenario.title.endswith((".", "?")) for name, scenario in SCENARIOS.items())

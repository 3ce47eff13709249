"""Short runs of the long ones: scripts/fuzz-ring, scripts/crash-ring and scripts/stress-ring."""

from __future__ import annotations

import pytest

from tests.ring.harness import PAIRS, run_script


def test_a_damaged_segment_gives_a_sound_ring_or_an_error_of_our_tree(core: str) -> None:
    printed = run_script("fuzz-ring", "--cases", 500, "--core", core)
    assert "500 damaged segments" in printed
    assert "'CorruptSegmentError': " in printed
    assert "'sound': " in printed


def test_witnesses_of_many_crashes_see_every_record_whole_and_count_every_loss(core: str) -> None:
    printed = run_script("crash-ring", "--rounds", 60, "--core", core)
    assert "60 producers and 60 consumers killed, 62 generations" in printed
    assert printed.count("wrong 0, unaccounted 0") == 2
    assert printed.endswith("0 violations\n")


@pytest.mark.parametrize(("producer", "consumer"), PAIRS)
def test_unthrottled_processes_over_two_slots_get_no_wrong_record_and_count_every_loss(
    producer: str, consumer: str
) -> None:
    records = 2_000_000 if producer == "native" else 20_000
    printed = run_script("stress-ring", "--records", records, "--producer", producer, "--consumer", consumer)
    assert f"{records} published" in printed
    assert " 0 unaccounted, 0 reads with a wrong record" in printed

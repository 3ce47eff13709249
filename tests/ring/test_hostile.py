"""Segments that are damaged, or made to do harm, before and while they are used."""

from __future__ import annotations

from tests.ring.harness import run_script


def test_a_damaged_segment_gives_a_sound_ring_or_an_error_of_our_tree(core: str) -> None:
    printed = run_script("fuzz-ring", "--cases", 1500, "--core", core)
    assert "1500 damaged segments" in printed
    assert "'CorruptSegmentError': " in printed
    assert "'sound': " in printed

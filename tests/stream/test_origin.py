from __future__ import annotations

from dataclasses import replace

import pytest

from chronostream import Frequency
from chronostream.errors import CorruptSegmentError, InvalidValueError
from chronostream.stream.origin import ORIGIN_SIZE, Freshness, MirrorDescription, OriginReader, OriginWriter

DESCRIPTION = MirrorDescription(
    source="s" * 64,
    stream="j" * 255,
    frequencies=(Frequency.SECOND, Frequency.DAY),
    timezone="Europe/Berlin",
    sequencer="boundary",
    zone_data="Europe/Berlin 0123456789abcdef 2025b",
)


@pytest.fixture
def area() -> memoryview:
    return memoryview(bytearray(ORIGIN_SIZE))


def test_an_area_that_no_mirror_wrote_has_no_description(area: memoryview) -> None:
    assert OriginReader(area).description() is None


def test_a_description_comes_out_as_it_went_in(area: memoryview) -> None:
    OriginWriter(area).describe(DESCRIPTION)
    assert OriginReader(area).description() == DESCRIPTION


@pytest.mark.parametrize(
    "freshness",
    [
        Freshness(stale=False, stale_since_ns=None, connected=True, checked_ns=3, sequence=5, skipped=0),
        Freshness(stale=True, stale_since_ns=2, connected=False, checked_ns=3, sequence=1 << 63, skipped=7),
    ],
)
def test_freshness_comes_out_as_it_went_in(area: memoryview, freshness: Freshness) -> None:
    writer = OriginWriter(area)
    writer.describe(DESCRIPTION)
    writer.show(freshness)
    assert OriginReader(area).freshness() == freshness
    assert OriginReader(area).description() == DESCRIPTION


def test_an_area_that_is_too_small_is_no_mirrors() -> None:
    with pytest.raises(CorruptSegmentError, match=f"100 bytes, a mirror's has {ORIGIN_SIZE}"):
        OriginReader(memoryview(bytes(100)))


def test_a_text_that_would_be_cut_is_refused(area: memoryview) -> None:
    with pytest.raises(InvalidValueError, match=r"zone_data .* takes 81 bytes of UTF-8, but only 80 fit"):
        OriginWriter(area).describe(replace(DESCRIPTION, zone_data="z" * 81))
    assert OriginReader(area).description() is None


def test_a_damaged_description_is_refused(area: memoryview) -> None:
    OriginWriter(area).describe(DESCRIPTION)
    area[16] = 0xFF
    with pytest.raises(CorruptSegmentError, match=r"the state of the mirror is damaged: .*; remove the stream"):
        OriginReader(area).description()

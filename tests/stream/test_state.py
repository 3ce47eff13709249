from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from chronostream.calendar.zones import ZoneData
from chronostream.errors import CorruptSegmentError, InvalidValueError
from chronostream.event import Frequency
from chronostream.scheduler import Condition, FrequencyState, NoticeKind, SchedulerState, SchedulerStatus
from chronostream.stream.description import Description, MirrorSource
from chronostream.stream.lateness import BUCKETS, bucket_of
from chronostream.stream.state import (
    STATE_SIZE,
    Checkpoint,
    Freshness,
    Published,
    StateReader,
    StateWriter,
    StreamZoneData,
)
from tests.ring.harness import ROOT

SECOND, MINUTE, HOUR, DAY = Frequency.SECOND, Frequency.MINUTE, Frequency.HOUR, Frequency.DAY

_DESCRIPTION = Description((SECOND, DAY), "America/Argentina/ComodRivadavia", "counting")
_MIRROR = Description(
    (SECOND, DAY),
    "Europe/Berlin",
    "boundary",
    MirrorSource("s" * 64, "j" * 255, "Europe/Berlin 0123456789abcdef 2025b"),
)
_EVERYTHING = SchedulerStatus(Condition.QUARANTINED, {}, dict.fromkeys(NoticeKind, (1 << 64) - 1))
_BOOT = bytes(range(16))
# Where the docstring of the module puts them.
_MAGIC, _FIRST_SECTION, _SECOND_SECTION, _MASK, _TIMEZONE = 0, 16, 32, 256, 256 + 8 + 16
_VERSION = _FIRST_SECTION + 4
_CHECKPOINTS, _CONDITION, _SOURCE, _FRESHNESS, _ZONES_AT, _LATENESS = (512, 1024), 1536, 2048, 2560, 3072, 4096


@pytest.fixture
def area() -> memoryview:
    return memoryview(bytearray(STATE_SIZE))


@pytest.fixture
def writer(area: memoryview) -> StateWriter:
    writer = StateWriter(area)
    writer.describe(_DESCRIPTION)
    return writer


def _checkpoint(position: int) -> Checkpoint:
    return Checkpoint(
        position=position,
        boot_id=_BOOT,
        scheduler=SchedulerState(
            -position,
            position + 7,
            (FrequencyState(SECOND, position, 3), FrequencyState(DAY, -(1 << 63), (1 << 64) - 1)),
        ),
        published={SECOND: Published(position, -5), DAY: Published((1 << 64) - 1, (1 << 63) - 1)},
    )


def _tear(area: memoryview, at: int) -> None:
    area[at + 40] ^= 1


def test_a_new_area_says_nothing(area: memoryview) -> None:
    reader = StateReader(area)
    assert reader.description() is None
    assert reader.checkpoint() is None
    assert reader.condition() == (Condition.RUNNING, dict.fromkeys(NoticeKind, 0))
    counts, largest_ns = reader.lateness(SECOND)
    assert (counts.shape, counts.sum(), largest_ns) == ((BUCKETS,), 0, 0)


def test_an_area_that_is_too_small_is_no_producers() -> None:
    with pytest.raises(
        CorruptSegmentError, match=f"has 0 bytes, a producer's has {STATE_SIZE}: not a stream of events"
    ):
        StateReader(memoryview(b""))


def test_a_reader_needs_no_write_access(area: memoryview, writer: StateWriter) -> None:
    writer.save(_checkpoint(1))
    reader = StateReader(area.toreadonly())
    assert (reader.description(), reader.checkpoint()) == (_DESCRIPTION, _checkpoint(1))


@pytest.mark.parametrize("frequencies", [(SECOND,), (MINUTE, HOUR), (SECOND, MINUTE, HOUR, DAY)])
def test_a_description_comes_back_as_it_was(area: memoryview, frequencies: tuple[Frequency, ...]) -> None:
    description = Description(frequencies, "z" * 64, "s" * 16)
    StateWriter(area).describe(description)
    assert StateReader(area).description() == description


def test_a_description_reads_as_a_sentence() -> None:
    assert str(_DESCRIPTION) == "counting sequences of second, day events in America/Argentina/ComodRivadavia"


@pytest.mark.parametrize("text", ["", "x" * 17, "zähler", "a\0b", "a\n"])
def test_a_text_that_would_not_come_back_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError, match=r"sequencer is .*, expected 1 to 16 printable ASCII characters"):
        Description((SECOND,), "UTC", text)


def test_a_zone_whose_name_would_be_cut_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"timezone is 'zzz.*, expected 1 to 64 printable ASCII characters"):
        Description((SECOND,), "z" * 65, "counting")


def test_a_description_that_was_never_finished_is_none(area: memoryview, writer: StateWriter) -> None:
    writer.save(_checkpoint(1))
    area[_MAGIC] = 0
    assert StateReader(area).description() is None
    assert StateReader(area).checkpoint() is None


def test_the_state_of_another_version_is_refused(area: memoryview, writer: StateWriter) -> None:
    assert writer.description()
    area[_VERSION] = 2
    with pytest.raises(CorruptSegmentError, match="state has version 2, this program reads 1: remove the stream"):
        StateReader(area).checkpoint()


def test_a_section_of_another_version_is_refused_and_so_is_one_elsewhere(area: memoryview, writer: StateWriter) -> None:
    assert writer.description()
    area[_SECOND_SECTION + 4] = 2
    with pytest.raises(CorruptSegmentError, match="the stream's description has version 2, this program reads 1"):
        StateReader(area).description()
    area[_SECOND_SECTION + 4] = 1
    area[_SECOND_SECTION + 8] = 1
    with pytest.raises(CorruptSegmentError, match="damaged: its description has offset 257 and size 256; remove the"):
        StateReader(area).description()


def test_sections_that_this_version_does_not_know_are_passed_over(area: memoryview, writer: StateWriter) -> None:
    writer.save(_checkpoint(1))
    area[_FIRST_SECTION + 16 * 14] = 99
    assert (StateReader(area).description(), StateReader(area).checkpoint()) == (_DESCRIPTION, _checkpoint(1))


def test_the_documentation_lists_each_section(area: memoryview) -> None:
    told = re.findall(
        r"(?m)^\| (\d+) \| \w+ \| (\d+) \| (\d+) \| (\d+) \| (both|an engine|a mirror)",
        (ROOT / "docs/ring.md").read_text(),
    )
    for description, other in ((_DESCRIPTION, "a mirror"), (_MIRROR, "an engine")):
        StateWriter(area).describe(description)
        entries = np.frombuffer(area, "<u4", 60, _FIRST_SECTION).reshape(15, 4)
        sections = [[int(number) for number in numbers] for *numbers, writer in told if writer != other]
        assert entries.tolist() == sections + [[0] * 4] * (15 - len(sections))


def test_an_area_may_be_larger_than_this_version_needs(area: memoryview, writer: StateWriter) -> None:
    assert writer.description()
    assert StateReader(memoryview(bytes(area) + bytes(100))).description() == _DESCRIPTION


def test_an_area_that_somebody_uses_otherwise_says_nothing(area: memoryview) -> None:
    area[:7] = b"MIRROR\x01"
    assert StateReader(area).description() is None
    assert StateReader(area).checkpoint() is None


@pytest.mark.parametrize(
    ("field", "damage"), [(_TIMEZONE, b"\xff" * 64), (_TIMEZONE, b"\n"), (_TIMEZONE, b"\0"), (_MASK, b"\0" * 8)]
)
def test_a_damaged_description_is_refused(area: memoryview, writer: StateWriter, field: int, damage: bytes) -> None:
    assert writer.description()
    area[field : field + len(damage)] = damage
    with pytest.raises(CorruptSegmentError, match=r"the stream's state is damaged: .*; remove the stream"):
        StateReader(area).description()


@pytest.mark.parametrize("saved", range(1, 6))
def test_the_newest_checkpoint_counts(area: memoryview, writer: StateWriter, saved: int) -> None:
    for position in range(1, saved + 1):
        writer.save(_checkpoint(position))
    assert StateReader(area).checkpoint() == _checkpoint(saved)


def test_another_writer_goes_on_where_the_last_one_stopped(area: memoryview, writer: StateWriter) -> None:
    for position in range(1, 6):
        writer.save(_checkpoint(position))
        writer = StateWriter(area)
        assert writer.checkpoint() == _checkpoint(position)


@pytest.mark.parametrize(("torn", "expected"), [(_CHECKPOINTS[0], 3), (_CHECKPOINTS[1], 2)])
def test_a_torn_checkpoint_is_passed_over(area: memoryview, writer: StateWriter, torn: int, expected: int) -> None:
    for position in (1, 2, 3):
        writer.save(_checkpoint(position))
    _tear(area, torn)
    assert StateReader(area).checkpoint() == _checkpoint(expected)


def test_every_byte_of_a_checkpoint_is_under_its_checksum(area: memoryview, writer: StateWriter) -> None:
    for position in (1, 2):
        writer.save(_checkpoint(position))
    newest = _CHECKPOINTS[0]
    size = len(writer._checkpoints[0])
    ignored = []
    for offset in range(size):
        area[newest + offset] ^= 0xFF
        if StateReader(area).checkpoint() != _checkpoint(1):
            ignored.append(offset)
        area[newest + offset] ^= 0xFF
    assert ignored == [4, 5, 6, 7]  # between the checksum and the rest


@pytest.mark.parametrize("torn", _CHECKPOINTS)
def test_after_a_torn_checkpoint_the_next_is_written_over_it(area: memoryview, writer: StateWriter, torn: int) -> None:
    for position in (1, 2, 3):
        writer.save(_checkpoint(position))
    _tear(area, torn)
    survivor = StateReader(area).checkpoint()
    StateWriter(area).save(_checkpoint(9))
    other = next(at for at in _CHECKPOINTS if at != torn)
    assert StateReader(area).checkpoint() == _checkpoint(9)
    _tear(area, torn)
    assert StateReader(area).checkpoint() == survivor
    _tear(area, other)
    assert StateReader(area).checkpoint() is None


def test_a_reader_that_finds_both_checkpoints_torn_looks_again(area: memoryview, writer: StateWriter) -> None:
    for position in (1, 2):
        writer.save(_checkpoint(position))
    reader = StateReader(area)

    class TornOnce:
        """Bytes of a checkpoint that is being written at the first look."""

        def __init__(self, raw: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> None:
            self._looks = iter([bytes(len(raw))])
            self._raw = raw

        def tobytes(self) -> bytes:
            return next(self._looks, self._raw.tobytes())

    reader._checkpoints = [TornOnce(raw) for raw in reader._checkpoints]  # type: ignore[misc]  # on purpose
    assert reader.checkpoint() == _checkpoint(2)


@pytest.mark.parametrize("condition", Condition)
def test_the_condition_and_each_counter_come_back(area: memoryview, writer: StateWriter, condition: Condition) -> None:
    counts = {kind: number for number, kind in enumerate(NoticeKind, start=1 << 40)}
    writer.save_status(SchedulerStatus(condition, {}, counts))
    assert StateReader(area).condition() == (condition, counts)


def test_a_condition_that_no_version_knows_is_no_crash(area: memoryview) -> None:
    area[_CONDITION : _CONDITION + 8] = b"\xff" * 8
    assert StateReader(area).condition()[0] in Condition


def test_lateness_is_counted_by_frequency(area: memoryview, writer: StateWriter) -> None:
    for frequency, lateness_ns in ((SECOND, 5), (SECOND, 5), (SECOND, 1000), (DAY, 7), (DAY, -3)):
        writer.count_lateness(frequency, lateness_ns)
    reader = StateReader(area)
    counts, largest_ns = reader.lateness(SECOND)
    assert (counts[5], counts[bucket_of(1000)], counts.sum(), largest_ns) == (2, 1, 3, 1000)
    counts, largest_ns = reader.lateness(DAY)
    assert (counts[7], counts[0], counts.sum(), largest_ns) == (1, 1, 2, 7)
    assert reader.lateness(MINUTE)[0].sum() == reader.lateness(HOUR)[0].sum() == 0


def test_a_histogram_that_was_read_stays_as_it_was(area: memoryview, writer: StateWriter) -> None:
    counts, _ = StateReader(area).lateness(SECOND)
    writer.count_lateness(SECOND, 5)
    assert counts.sum() == 0


def test_a_histogram_of_more_events_than_there_can_be_is_damaged(area: memoryview) -> None:
    area[_LATENESS + 8 : _LATENESS + 16] = b"\xff" * 8
    with pytest.raises(CorruptSegmentError, match="damaged: 18446744073709551615 second events in one bucket"):
        StateReader(area).lateness(SECOND)
    assert StateReader(area).lateness(MINUTE)[0].sum() == 0


def test_a_mirrors_description_comes_back_with_its_source(area: memoryview) -> None:
    StateWriter(area).describe(_MIRROR)
    assert StateReader(area).description() == _MIRROR


def test_a_mirrors_description_reads_as_a_sentence_too() -> None:
    assert str(_MIRROR) == (
        "boundary sequences of second, day events in Europe/Berlin, mirrored from "
        "'ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss'"
    )


@pytest.mark.parametrize(
    "freshness",
    [
        Freshness(stale_since_ns=None, connected=True, checked_ns=3, sequence=5, skipped=0),
        Freshness(stale_since_ns=2, connected=False, checked_ns=3, sequence=1 << 63, skipped=7),
    ],
)
def test_freshness_comes_out_as_it_went_in(area: memoryview, freshness: Freshness) -> None:
    writer = StateWriter(area)
    writer.describe(_MIRROR)
    writer.save_freshness(freshness)
    assert StateReader(area).freshness() == freshness
    assert StateReader(area).description() == _MIRROR
    assert freshness.stale is (freshness.stale_since_ns is not None)


def test_a_text_of_a_mirror_that_would_be_cut_is_refused(area: memoryview) -> None:
    with pytest.raises(InvalidValueError, match=r"zone_data .* takes 81 bytes of UTF-8, but only 80 fit"):
        StateWriter(area).describe(replace(_MIRROR, source=MirrorSource("hub", "HUB", "z" * 81)))
    assert StateReader(area).description() is None
    assert not any(area)


def test_a_mirrors_damaged_description_is_refused(area: memoryview) -> None:
    StateWriter(area).describe(_MIRROR)
    area[_SOURCE] = 0xFF
    with pytest.raises(CorruptSegmentError, match=r"the stream's state is damaged: .*; remove the stream"):
        StateReader(area).description()


@pytest.mark.parametrize(
    ("write", "start", "end"),
    [
        (lambda writer: writer.describe(_DESCRIPTION), 0, _CHECKPOINTS[0]),
        (lambda writer: writer._source.fill((b"n" * 64, b"s" * 256, b"z" * 80)), _SOURCE, _FRESHNESS),
        (lambda writer: writer.save_freshness(Freshness(-1, -1, True, 1 << 63, 1 << 63)), _FRESHNESS, _LATENESS),
        (lambda writer: writer.save(_checkpoint(1 << 60)), _CHECKPOINTS[1], _CONDITION),  # the first goes there
        (lambda writer: writer.save_status(_EVERYTHING), _CONDITION, _SOURCE),
        (lambda writer: [writer.count_lateness(lane, 1 << 50) for lane in (SECOND, DAY)], _LATENESS, STATE_SIZE),
    ],
    ids=["description", "source", "freshness", "checkpoint", "condition", "lateness"],
)
def test_no_part_of_the_state_reaches_into_another(
    area: memoryview, write: Callable[[StateWriter], object], start: int, end: int
) -> None:
    write(StateWriter(area))
    changed = np.flatnonzero(np.frombuffer(area, np.uint8))
    assert start <= changed.min() <= changed.max() < end


_ZONES = StreamZoneData(
    ZoneData("America/Argentina/ComodRivadavia", "0123456789abcdef", "2023b"),
    ZoneData("America/Argentina/ComodRivadavia", "fedcba9876543210", "2023a"),
    1 << 62,
    ZoneData("America/Argentina/ComodRivadavia", "0" * 16, "unknown"),
)


@pytest.mark.parametrize("zones", [_ZONES, StreamZoneData(_ZONES.current)])
def test_zone_data_come_back_as_they_were(area: memoryview, writer: StateWriter, zones: StreamZoneData) -> None:
    assert StateReader(area).zone_data() is None
    writer.save_zone_data(_ZONES)
    writer.save_zone_data(zones)
    assert StateReader(area.toreadonly()).zone_data() == zones


def test_a_mirrors_zone_data_are_those_of_its_source(area: memoryview) -> None:
    StateWriter(area).describe(_MIRROR)
    assert StateReader(area).zone_data() == StreamZoneData(ZoneData("Europe/Berlin", "0123456789abcdef", "2025b"))


def test_of_a_source_that_does_not_tell_there_are_none(area: memoryview) -> None:
    StateWriter(area).describe(replace(_MIRROR, source=MirrorSource("s", "j", "who knows")))
    assert StateReader(area).zone_data() is None


def test_torn_zone_data_are_not_known(area: memoryview, writer: StateWriter) -> None:
    writer.save_zone_data(_ZONES)
    for byte in (*range(4), *range(8, 352)):
        area[_ZONES_AT + byte] ^= 1
        assert StateReader(area).zone_data() is None
        area[_ZONES_AT + byte] ^= 1
    assert StateReader(area).zone_data() == _ZONES


def test_zone_data_are_entered_into_a_directory_without_them(area: memoryview, writer: StateWriter) -> None:
    sections = slice(_FIRST_SECTION, _FIRST_SECTION + 15 * 16)
    before = bytes(area[sections])
    area[_FIRST_SECTION + 5 * 16 : _FIRST_SECTION + 6 * 16] = bytes(16)
    assert StateReader(area).description() == _DESCRIPTION
    assert StateReader(area).zone_data() is None
    writer.save_zone_data(_ZONES)
    assert (StateReader(area).zone_data(), bytes(area[sections])) == (_ZONES, before)

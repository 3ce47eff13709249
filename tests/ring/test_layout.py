from __future__ import annotations

import mmap
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronostream.errors import CorruptSegmentError, InvalidTypeError, InvalidValueError, LayoutMismatchError
from chronostream.event import EVENT_DTYPE
from chronostream.ring import layout as layouts
from chronostream.ring.layout import (
    CLAIM,
    CONSUMER_DTYPE,
    HEAD,
    HEADER_DTYPE,
    HEADER_SIZE,
    IDENTITY,
    LINE,
    MAGIC,
    STATE,
    WAITING,
    WAKE_SEQ,
    Layout,
)
from tests.ring.harness import ROOT

PLANNED = Layout.plan(np.dtype([("a", "<i8"), ("b", "<f4")]), 16, 100, 3)


def header_of(layout: Layout) -> bytearray:
    header = np.zeros((), HEADER_DTYPE)
    header["magic"] = MAGIC
    for field, value in layout.sizes().items():
        header[field] = value
    return bytearray(header.tobytes() + layout.dtype_text)


def test_the_regions_follow_each_other_and_begin_on_pages() -> None:
    control_end = PLANNED.tail_offset(PLANNED.max_consumers)
    offsets = (PLANNED.control_offset, PLANNED.application_offset, PLANNED.records_offset, PLANNED.segment_size)
    ends = (
        HEADER_SIZE + len(PLANNED.dtype_text),
        control_end,
        PLANNED.application_offset + PLANNED.application_size,
        PLANNED.records_offset + PLANNED.capacity * PLANNED.record_size,
    )
    assert all(offset % mmap.PAGESIZE == 0 for offset in offsets)
    assert all(0 <= offset - end < mmap.PAGESIZE for offset, end in zip(offsets, ends, strict=True))


def test_without_an_application_area_the_records_come_right_after_the_control_region() -> None:
    planned = Layout.plan(np.dtype("<i8"), 1, 0, 1)
    assert planned.records_offset == planned.application_offset


@pytest.mark.parametrize(("dtype", "size"), [("u1", 8), ("<i8", 8), ("S12", 16), ("<U5", 24), (EVENT_DTYPE, 128)])
def test_records_stand_at_multiples_of_eight(dtype: Any, size: int) -> None:
    assert Layout.plan(np.dtype(dtype), 8, 0, 1).record_size == size


def test_each_word_that_somebody_waits_for_or_counts_with_has_a_line_of_its_own() -> None:
    control = PLANNED.control_offset
    words = [CLAIM, HEAD, WAKE_SEQ, STATE, control + WAITING, *map(PLANNED.tail_offset, range(3))]
    assert all(word % LINE == 0 for word in words)
    assert len(set(words)) == len(words)


def test_the_producers_identity_is_one_line_and_ends_with_the_instance() -> None:
    assert (
        IDENTITY.stop == _real(HEADER_DTYPE)["instance"][0] + HEADER_DTYPE["instance"].itemsize == IDENTITY.start + LINE
    )


@pytest.mark.parametrize("field", ["capacity", "application_size", "max_consumers"])
@pytest.mark.parametrize("value", [8.0, "8", None, True])
def test_a_size_that_is_no_integer_is_refused(field: str, value: Any) -> None:
    sizes = {"capacity": 8, "application_size": 0, "max_consumers": 4} | {field: value}
    with pytest.raises(InvalidTypeError, match=f"{field} is {type(value).__name__}, expected an integer"):
        Layout.plan(np.dtype("<i8"), **sizes)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("capacity", 0),
        ("capacity", -8),
        ("capacity", 1 << 47),
        ("application_size", -1),
        ("application_size", (1 << 46) + 1),
        ("max_consumers", 0),
        ("max_consumers", 4097),
    ],
)
def test_a_size_out_of_range_is_refused(field: str, value: int) -> None:
    sizes = {"capacity": 8, "application_size": 0, "max_consumers": 4} | {field: value}
    with pytest.raises(InvalidValueError, match=f"{field} is {value}, expected"):
        Layout.plan(np.dtype("<i8"), **sizes)


def test_a_capacity_between_two_powers_of_two_is_refused_and_both_are_named() -> None:
    with pytest.raises(InvalidValueError, match="capacity is 100, expected a power of two: 64 or 128"):
        Layout.plan(np.dtype("<i8"), 100, 0, 1)


def test_more_records_than_a_segment_can_hold_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="use a smaller capacity"):
        Layout.plan(np.dtype("<i8"), 1 << 44, 0, 1)


def test_a_dtype_too_long_to_describe_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="use fewer fields"):
        Layout.plan(np.dtype([(f"{number:05}", "u1") for number in range(5000)]), 8, 0, 1)


def test_the_largest_table_is_accepted() -> None:
    assert Layout.plan(np.dtype("<i8"), 8, 0, 4096).max_consumers == 4096


@pytest.mark.parametrize("more", [0, 1])
def test_a_header_gives_the_layout_it_was_made_from_in_a_file_as_long_or_longer(more: int) -> None:
    assert Layout.from_header(bytes(header_of(PLANNED)), PLANNED.segment_size + more) == PLANNED


def test_a_file_shorter_than_its_segment_is_cut_off() -> None:
    with pytest.raises(CorruptSegmentError, match="cut off"):
        Layout.from_header(bytes(header_of(PLANNED)), PLANNED.segment_size - 1)


def test_another_layout_version_is_a_mismatch_not_damage() -> None:
    header = header_of(PLANNED)
    header[8] += 1
    with pytest.raises(LayoutMismatchError, match="layout version 2, this program reads version 1"):
        Layout.from_header(bytes(header), PLANNED.segment_size)


@pytest.mark.parametrize("field", [field for field in PLANNED.sizes() if field != "layout_version"])
def test_a_header_with_a_field_that_does_not_fit_the_others_is_damaged(field: str) -> None:
    header = header_of(PLANNED)
    header[_real(HEADER_DTYPE)[field][0] + 2] ^= 1  # far enough to matter: two sizes of one page make the same layout
    with pytest.raises(CorruptSegmentError):
        Layout.from_header(bytes(header), PLANNED.segment_size)


@pytest.mark.parametrize("size", [len(PLANNED.dtype_text) + 1, 1 << 16, (1 << 16) + 1, (1 << 32) - 1])
def test_a_dtype_that_ends_outside_of_the_header_is_damage(size: int) -> None:
    header = header_of(PLANNED)
    header[12:16] = size.to_bytes(4, "little")
    with pytest.raises(CorruptSegmentError, match="does not fit"):
        Layout.from_header(bytes(header), PLANNED.segment_size)


@given(st.lists(st.tuples(st.integers(0, len(header_of(PLANNED)) - 1), st.integers(1, 255)), min_size=1, max_size=8))
def test_a_header_with_flipped_bits_gives_a_layout_that_plan_made_or_an_error_of_ours(
    flips: list[tuple[int, int]],
) -> None:
    header = header_of(PLANNED)
    for offset, bits in flips:
        header[offset] ^= bits
    try:
        found = Layout.from_header(bytes(header), PLANNED.segment_size)
    except (CorruptSegmentError, LayoutMismatchError):
        return
    assert found == Layout.plan(found.dtype, found.capacity, found.application_size, found.max_consumers)


@given(st.binary(min_size=HEADER_SIZE, max_size=HEADER_SIZE + 100))
def test_any_bytes_are_a_header_or_an_error_of_ours(header: bytes) -> None:
    versioned = header[:8] + layouts.LAYOUT_VERSION.to_bytes(4, "little") + header[12:]
    with pytest.raises(CorruptSegmentError):
        Layout.from_header(versioned, 1 << 20)


def _documented(heading: str) -> dict[str, tuple[int, str]]:
    """Read a table of docs/ring.md: each field with its offset and its type."""
    section = (ROOT / "docs/ring.md").read_text().partition(f"### {heading}\n")[2].partition("\n#")[0]
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (\w+) \|", section, re.MULTILINE)
    return {name: (int(offset), dtype) for offset, name, dtype in rows}


def _real(dtype: np.dtype[Any]) -> dict[str, tuple[int, str]]:
    assert dtype.names is not None
    fields = dtype.fields
    assert fields is not None
    return {name: (fields[name][1], fields[name][0].str.lstrip("<|")) for name in dtype.names}


@pytest.mark.parametrize(
    ("heading", "dtype"),
    [
        ("The header", HEADER_DTYPE),
        ("A consumer's line", CONSUMER_DTYPE),
        ("Events", EVENT_DTYPE),
    ],
)
def test_the_documented_offsets_are_the_real_ones(heading: str, dtype: np.dtype[Any]) -> None:
    assert _documented(heading) == _real(dtype)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("magic", MAGIC),
        ("layout version", layouts.LAYOUT_VERSION),
        ("header size", HEADER_SIZE),
        ("line", LINE),
        ("waiting flag", WAITING),
        ("live", layouts.LIVE),
        ("closed", layouts.CLOSED),
        ("free tail", layouts.FREE_TAIL),
    ],
)
def test_the_documented_constants_are_the_real_ones(words: str, value: object) -> None:
    text = (ROOT / "docs/ring.md").read_text()
    assert f"| {words} | `{value!r}` |" in text

"""The byte layout of a segment; docs/ring.md has it as tables. No other module knows an offset.

A header is trusted only if it equals, field by field, the one that `Layout.plan` makes from its own dtype, capacity and
sizes. Any other header is an error, so that no unchecked offset is ever used.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from chronostream._values import checked_int
from chronostream.errors import CorruptSegmentError, InvalidTypeError, InvalidValueError, LayoutMismatchError
from chronostream.ring.dtypes import checked_dtype, dtype_from_text, dtype_to_text

__all__ = [
    "ALWAYS_WAKE",
    "CLAIM",
    "CLOSED",
    "CONSUMER_DTYPE",
    "FREE_TAIL",
    "HEAD",
    "HEADER_DTYPE",
    "HEADER_SIZE",
    "IDENTITY",
    "LAYOUT_VERSION",
    "LINE",
    "LIVE",
    "MAGIC",
    "MAX_HEADER_SIZE",
    "STATE",
    "WAITING",
    "WAKE_SEQ",
    "Layout",
]

MAGIC = b"CHRONOS\x01"
LAYOUT_VERSION = 1
LINE = 128  # Two cache lines, because x86-64 prefetches them in pairs; one line of Apple's processors.
HEADER_SIZE = 1024

IDENTITY = slice(256, 384)  # the producer's line of the header: generation to instance
STATE, ALWAYS_WAKE, CLAIM, HEAD, WAKE_SEQ = 384, 388, 512, 640, 768  # in the header
WAITING = 0  # in the control region

LIVE, CLOSED = 1, 2  # values of the state; 0 is a segment that is still being made
FREE_TAIL = (1 << 64) - 1  # beyond every head, so that a free slot never limits an offer


def _fields(*fields: tuple[str, str, int], itemsize: int) -> np.dtype[Any]:
    """Return the dtype with these fields: the name, the format and the offset of each."""
    names, formats, offsets = zip(*fields, strict=True)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize})


HEADER_DTYPE = _fields(
    ("magic", "S8", 0),
    ("layout_version", "<u4", 8),
    ("dtype_size", "<u4", 12),
    ("record_size", "<u8", 16),
    ("capacity", "<u8", 24),
    ("control_offset", "<u8", 32),
    ("application_offset", "<u8", 40),
    ("application_size", "<u8", 48),
    ("records_offset", "<u8", 56),
    ("segment_size", "<u8", 64),
    ("max_consumers", "<u8", 72),
    ("stream", "S64", 128),
    ("generation", "<u8", IDENTITY.start),
    ("pid", "<u8", 264),
    ("pid_namespace", "<u8", 272),
    ("started_ns", "<i8", 280),
    ("version", "S32", 288),
    ("instance", "S64", 320),
    ("state", "<u4", STATE),
    ("always_wake", "<u4", ALWAYS_WAKE),
    ("claim", "<u8", CLAIM),
    ("head", "<u8", HEAD),
    ("wake_seq", "<u4", WAKE_SEQ),
    itemsize=HEADER_SIZE,
)
"""The fixed part of the header."""

CONSUMER_DTYPE = _fields(
    ("tail", "<u8", 0),
    ("lost", "<u8", 8),
    ("pid", "<u8", 16),
    ("started_ns", "<i8", 24),
    ("label", "S64", 32),
    itemsize=LINE,
)
"""One slot in the table of registered consumers."""

_MAX_SEGMENT_SIZE = 1 << 46
_MAX_CONSUMERS = 4096
_MAX_DTYPE_SIZE = 1 << 16
MAX_HEADER_SIZE = HEADER_SIZE + _MAX_DTYPE_SIZE  # with the longest text of a dtype


@dataclass(frozen=True)
class Layout:
    """Where everything is in one segment, in bytes; the fields are those of the header (docs/ring.md)."""

    dtype: np.dtype[Any]
    dtype_text: bytes
    record_size: int
    capacity: int
    max_consumers: int
    control_offset: int
    application_offset: int
    application_size: int
    records_offset: int
    segment_size: int

    @classmethod
    def plan(
        cls,
        dtype: npt.DTypeLike,
        capacity: SupportsIndex,
        application_size: SupportsIndex,
        max_consumers: SupportsIndex,
    ) -> Layout:
        """Return the layout of a segment; the capacity is a power of two."""
        capacity = checked_int("capacity", capacity, 1, _MAX_SEGMENT_SIZE)
        application_size = checked_int("application_size", application_size, 0, _MAX_SEGMENT_SIZE)
        max_consumers = checked_int("max_consumers", max_consumers, 1, _MAX_CONSUMERS)
        if capacity & (capacity - 1):
            raise InvalidValueError(
                f"capacity is {capacity}, expected a power of two: "
                f"{1 << capacity.bit_length() - 1} or {1 << capacity.bit_length()}"
            )
        dtype = checked_dtype(dtype)
        text = dtype_to_text(dtype)
        if len(text) > _MAX_DTYPE_SIZE:
            raise InvalidValueError(
                f"the dtype takes {len(text)} bytes as text, at most {_MAX_DTYPE_SIZE} fit: use fewer fields"
            )
        record_size = _round_up(dtype.itemsize, 8)
        control_offset = _round_up(HEADER_SIZE + len(text), mmap.PAGESIZE)
        application_offset = control_offset + _round_up(LINE + max_consumers * LINE, mmap.PAGESIZE)
        records_offset = application_offset + _round_up(application_size, mmap.PAGESIZE)
        segment_size = records_offset + _round_up(capacity * record_size, mmap.PAGESIZE)
        if segment_size > _MAX_SEGMENT_SIZE:
            raise InvalidValueError(
                f"{capacity} records of {record_size} bytes make a segment of {segment_size} bytes, "
                f"at most {_MAX_SEGMENT_SIZE} are possible: use a smaller capacity"
            )
        return cls(
            dtype=dtype,
            dtype_text=text,
            record_size=record_size,
            capacity=capacity,
            max_consumers=max_consumers,
            control_offset=control_offset,
            application_offset=application_offset,
            application_size=application_size,
            records_offset=records_offset,
            segment_size=segment_size,
        )

    @classmethod
    def from_header(cls, header: bytes, segment_size: int) -> Layout:
        """Return the layout of a segment whose first bytes are `header` and which is `segment_size` bytes long.

        Raises:
            CorruptSegmentError: the header is not one that `plan` would have made.
            LayoutMismatchError: it was made by another version of the layout.
        """
        fixed = np.frombuffer(header, HEADER_DTYPE, count=1)[0]
        if int(fixed["layout_version"]) != LAYOUT_VERSION:
            raise LayoutMismatchError(
                f"the segment has layout version {fixed['layout_version']}, this program reads version "
                f"{LAYOUT_VERSION}: use the same version of chronostream on both sides"
            )
        text_size = int(fixed["dtype_size"])
        if text_size > min(_MAX_DTYPE_SIZE, len(header) - HEADER_SIZE):
            raise CorruptSegmentError(
                f"the segment's header is damaged: a dtype of {text_size} bytes does not fit in it"
            )
        dtype = dtype_from_text(header[HEADER_SIZE : HEADER_SIZE + text_size])
        try:
            planned = cls.plan(dtype, *(int(fixed[size]) for size in ("capacity", "application_size", "max_consumers")))
        except (InvalidTypeError, InvalidValueError) as error:
            raise CorruptSegmentError(f"the segment's header is damaged: {error}") from error
        for field, expected in planned.sizes().items():
            if int(fixed[field]) != expected:
                raise CorruptSegmentError(
                    f"the segment's header is damaged: {field} is {fixed[field]}, expected {expected}"
                )
        if segment_size < planned.segment_size:
            raise CorruptSegmentError(
                f"the segment is cut off: {segment_size} bytes long, its header requires {planned.segment_size}"
            )
        return planned

    def sizes(self) -> dict[str, int]:
        """Return the header's fields that follow from the layout."""
        sizes = {field: value for field, value in vars(self).items() if not field.startswith("dtype")}
        return {"layout_version": LAYOUT_VERSION, "dtype_size": len(self.dtype_text)} | sizes

    def new_header(self, stream: str, identity: bytes) -> bytes:
        """Return the first bytes of a new segment, without the magic: consumers cannot attach to it yet."""
        header = np.zeros((), HEADER_DTYPE)
        for field, value in self.sizes().items():
            header[field] = value
        header["stream"] = stream.encode()
        header["state"] = LIVE
        fixed = bytearray(header.tobytes())
        fixed[IDENTITY] = identity
        return bytes(fixed) + self.dtype_text

    def new_table(self) -> bytes:
        """Return the table of consumers of a new segment, with all slots free."""
        table = np.zeros(self.max_consumers, CONSUMER_DTYPE)
        table["tail"] = FREE_TAIL
        return table.tobytes()

    def tail_offset(self, slot: int) -> int:
        """Return the offset of a consumer's line, which begins with its tail."""
        return self.control_offset + LINE + slot * LINE


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple

"""What a recorder has done, and ranges of ring positions as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from chronostream.recorder.files import RecordedFile

__all__ = ["RecordingReport", "Report", "position_ranges", "ranges_text"]

_MAX_RANGES = 10  # in one line of the log


@dataclass(slots=True)
class RecordingReport:
    """What a recorder has done so far.

    Attributes:
        records: number of rows in finished files.
        files: the finished files, in order.
        lost: ranges of ring positions that were overwritten before they could be recorded.
        resumed: the file after which this recording continues; None for a first recording.
        recreated: whether the stream was removed and created again since that file. Positions then began at 0 again,
            and records of the old stream that were in no file are lost.
        rejected: ranges of ring positions whose records no table can hold, such as a text that is no Unicode. Their
            bytes are in the metadata of the files, `Metadata.rejected`.
    """

    records: int = 0
    files: list[RecordedFile] = field(default_factory=list)
    lost: list[range] = field(default_factory=list)
    resumed: RecordedFile | None = None
    recreated: bool = False
    rejected: list[range] = field(default_factory=list)

    @property
    def made_anew(self) -> bool:
        """The former name of `recreated`, kept for one release."""
        return self.recreated

    @property
    def lost_records(self) -> int:
        """The number of lost records."""
        return sum(map(len, self.lost))

    @property
    def rejected_records(self) -> int:
        """The number of rejected records."""
        return sum(map(len, self.rejected))


Report = RecordingReport
"""The former name, kept for one release."""


def position_ranges(positions: Iterable[int]) -> list[range]:
    """Return increasing positions as ranges."""
    ranges: list[range] = []
    for position in positions:
        if ranges and ranges[-1].stop == position:
            ranges[-1] = range(ranges[-1].start, position + 1)
        else:
            ranges.append(range(position, position + 1))
    return ranges


def ranges_text(ranges: Sequence[range]) -> str:
    """Return the first ranges of positions as text, and how many more there are."""
    texts = [str(each[0]) if len(each) == 1 else f"{each[0]} to {each[-1]}" for each in ranges[:_MAX_RANGES]]
    more = len(ranges) - len(texts)
    return ", ".join(texts) + (f" and {more} more ranges" if more else "")

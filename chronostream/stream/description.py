"""What a stream is. Its producer keeps this with the stream: `chronostream.stream.state` writes and reads it."""

from __future__ import annotations

from dataclasses import dataclass

from chronostream._values import encode_text
from chronostream.errors import InvalidValueError
from chronostream.event import Frequency

__all__ = ["Description", "MirrorSource"]


@dataclass(frozen=True, slots=True)
class MirrorSource:
    """Where the events of a mirrored stream come from.

    Attributes:
        name: the stream's name where it is produced; at most 64 bytes of UTF-8.
        stream: the JetStream stream that it comes through; at most 256.
        zone_data: the zone data that the producing host has, as text; at most 80.
    """

    name: str
    stream: str
    zone_data: str

    def __post_init__(self) -> None:
        """Refuse a text that does not fit its section."""
        for field, size in (("name", 64), ("stream", 256), ("zone_data", 80)):
            encode_text(field, getattr(self, field), size)


@dataclass(frozen=True, slots=True)
class Description:
    """What a stream is; a producer of another kind may not take it over.

    Attributes:
        frequencies: at least one, the shortest first.
        timezone: IANA name of the zone of hours and days, at most 64 printable ASCII characters.
        sequencer: the sequencer's kind, such as ``"counting"`` or ``"boundary"``; at most 16.
        source: what a mirror mirrors; None for a stream that is produced here.
    """

    frequencies: tuple[Frequency, ...]
    timezone: str
    sequencer: str
    source: MirrorSource | None = None

    def __post_init__(self) -> None:
        """Refuse what a reader would not read as it was written."""
        if not self.frequencies:
            raise InvalidValueError("no frequency: expected at least one")
        for field, size in (("timezone", 64), ("sequencer", 16)):
            text: str = getattr(self, field)
            if not (text.isascii() and text.isprintable() and 1 <= len(text) <= size):
                raise InvalidValueError(f"{field} is {text!r}, expected 1 to {size} printable ASCII characters")

    def __str__(self) -> str:
        kind = f"{self.sequencer} sequences of {self.labels} events in {self.timezone}"
        return kind if self.source is None else f"{kind}, mirrored from {self.source.name!r}"

    @property
    def labels(self) -> str:
        """The frequencies as text, such as ``"second, day"``."""
        return ", ".join(map(str, self.frequencies))

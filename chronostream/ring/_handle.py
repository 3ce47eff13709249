"""What a producer's and a consumer's handle have in common."""

from __future__ import annotations

from typing import Any, NoReturn, Self

import numpy as np

from chronostream.errors import ChronoStreamError, ClosedError, ForkedError, InvalidTypeError
from chronostream.ring.segment import Segment

__all__ = ["Handle"]

_UNUSABLE: dict[type[Exception], str] = {
    ClosedError: "closed handle",
    ForkedError: "handle of the parent process",
    AttributeError: "unfinished handle",
}


class Handle:
    """A handle on one open segment; it shows what it is, closes when its block ends, and cannot be copied."""

    _kind: str

    def __init__(self, segment: Segment) -> None:
        self.name = segment.name
        self._segment = segment

    @property
    def capacity(self) -> int:
        """How many records the ring holds."""
        return self._segment.layout.capacity

    @property
    def dtype(self) -> np.dtype[Any]:
        """The records' dtype."""
        return self._segment.layout.dtype

    def close(self) -> None:
        """Let go of the stream; twice is fine."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._segment.check()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        try:
            shown = self._shown()
        except (ChronoStreamError, AttributeError, OSError, ValueError) as error:
            shown = _UNUSABLE.get(type(error), "damaged")
        return f"<{self._kind} {getattr(self, 'name', None)!r} {shown}>"

    def __reduce__(self) -> NoReturn:
        raise InvalidTypeError(
            f"a {self._kind} cannot be pickled or copied: send its name, {self.name!r}, and attach to the stream by "
            "that name in the other process"
        )

    def _shown(self) -> str:
        """Return the state and the positions, as they are now."""
        raise NotImplementedError

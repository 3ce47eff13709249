"""The base class of a producer's and a consumer's handle."""

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
    """A handle on one open segment: it has a readable `repr`, closes at the end of its block, and cannot be copied."""

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

    @property
    def application(self) -> memoryview:
        """The application area, which only the producer can write."""
        return self._segment.application

    def close(self) -> None:
        """Close the handle; a second call does nothing."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._segment.check()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        try:
            description = self._description()
        except (ChronoStreamError, AttributeError, OSError, ValueError) as error:
            description = _UNUSABLE.get(type(error), "damaged")
        return f"<{self._kind} {getattr(self, 'name', None)!r} {description}>"

    def __reduce__(self) -> NoReturn:
        raise InvalidTypeError(
            f"a {self._kind} cannot be pickled or copied: send its name, {self.name!r}, and attach to the stream by "
            "that name in the other process"
        )

    def _description(self) -> str:
        """Return the current state and positions, for `repr`."""
        raise NotImplementedError

"""One step of a handle at a time, whatever interrupts it in its own thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from chronostream.errors import BusyError

__all__ = ["Exclusive"]

_Result = TypeVar("_Result")


class Exclusive:
    """A handle that signal handlers, finalizers and trace functions may use in the middle of its own calls."""

    _busy = False

    def _exclusively(self, step: Callable[..., _Result], *arguments: Any) -> _Result:
        """Run a step; raise `BusyError` if another step of this handle has not ended."""
        if self._busy:
            raise BusyError(
                "the handle is in the middle of another call, which a signal handler, a finalizer or a trace function "
                "interrupted: use it after that call, or use another handle"
            )
        try:
            self._busy = True  # Any call that came between the check and here has ended.
            return step(*arguments)
        finally:
            self._busy = False

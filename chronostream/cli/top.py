"""``chronostream top``: all streams, live."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chronostream.observe.change import History
from chronostream.observe.survey import survey
from chronostream.ring import segment_name

if TYPE_CHECKING:
    from rich.live import Live

    from chronostream.cli.screen import Screen
    from chronostream.cli.top_view import Frame

__all__ = ["top"]

_PAPER_WIDTH = 120  # of a pipe, which has none of its own
_PAGE = 10
_MOVES = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -_PAGE, "page down": _PAGE}
_QUITS = ("quit", "q", "Q")


def top(
    interval_s: float, window_s: float, name: tuple[str, ...] = (), once: bool = False, any_owner: bool = False
) -> None:
    """Show these streams, or all, until a key or a signal ends it."""
    from rich.console import Console
    from rich.live import Live

    from chronostream.cli.screen import Screen

    for each in name:
        segment_name(each)  # A wrong name is an error, not a stream that is missing.
    watch = _Watch(name or None, window_s, any_owner=any_owner)
    console = Console(width=None if sys.stdout.isatty() else _PAPER_WIDTH)
    if once or not sys.stdout.isatty() or console.is_dumb_terminal:
        time.sleep(interval_s)
        watch.look()
        console.print(watch.frame())
        return
    with Screen() as screen:
        while True:
            with Live(console=console, screen=True, auto_refresh=False) as live:
                ended = _watch_live(watch, interval_s, live, screen)
            if ended:
                return
            screen.suspend()


class _Watch:
    """The last look at the streams, and how its reader looks at it.

    Attributes:
        held: whether the picture stays as it is.
        skipped: how many lines the reader has moved down.
    """

    def __init__(self, names: Sequence[str] | None, window_s: float, *, any_owner: bool) -> None:
        self._names = names
        self._any_owner = any_owner
        self._history = History(window_s)
        self.held = False
        self.skipped = 0
        self.look()

    def look(self) -> None:
        self._survey = survey(self._names, any_owner=self._any_owner)
        self._changes = self._history.add(self._survey)

    def frame(self, *, keys: bool = False) -> Frame:
        from chronostream.cli.top_view import Frame

        line = f" q quit   space {'go on' if self.held else 'hold'}" if keys else ""
        found = {stream.ring.name for stream in self._survey.streams} | {each.name for each in self._survey.unreadable}
        missing = tuple(name for name in self._names or () if name not in found)
        return Frame(self._survey, self._changes, self._history.window_s, missing, line, self.skipped)


def _watch_live(watch: _Watch, interval_s: float, live: Live, screen: Screen) -> bool:
    """Draw, look and answer keys; return whether to end, rather than to be suspended."""
    next_s = time.monotonic() + interval_s
    while True:
        live.update(watch.frame(keys=True), refresh=True)
        word = screen.next(max(0.0, next_s - time.monotonic()))
        if word in _QUITS:
            return True
        if word == "suspend":
            return False
        if word == " ":
            watch.held = not watch.held
        elif word in _MOVES:
            hidden = watch.frame(keys=True).hidden(live.console)
            watch.skipped = max(0, min(hidden, watch.skipped + _MOVES[word]))
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + interval_s
            if not watch.held:
                watch.look()

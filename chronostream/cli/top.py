"""``chronostream top``: all streams, live, until somebody has seen enough."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chronostream.observe.change import History
from chronostream.observe.survey import survey
from chronostream.ring import segment_name

if TYPE_CHECKING:
    from rich.console import Console
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
    """Show these streams, or all, until somebody has seen enough."""
    from rich.console import Console

    for each in name:
        segment_name(each)  # An error now, not a stream that is not there.
    watch = _Watch(name or None, interval_s, window_s, any_owner=any_owner)
    interactive = sys.stdout.isatty() and not once
    console = Console(width=None if sys.stdout.isatty() else _PAPER_WIDTH)
    if not interactive or console.is_dumb_terminal:
        time.sleep(interval_s)
        watch.look()
        console.print(watch.frame())
        return
    _run(watch, console)


class _Watch:
    """What is on the screen: the last look, and how far its reader has moved down."""

    def __init__(self, names: Sequence[str] | None, interval_s: float, window_s: float, *, any_owner: bool) -> None:
        self.interval_s = interval_s
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
        there = {stream.ring.name for stream in self._survey.streams} | {each.name for each in self._survey.unreadable}
        missing = tuple(name for name in self._names or () if name not in there)
        return Frame(self._survey, self._changes, self._history.window_s, missing, line, self.skipped)


def _run(watch: _Watch, console: Console) -> None:
    from rich.live import Live

    from chronostream.cli.screen import Screen

    with Screen() as screen:
        while True:
            with Live(console=console, screen=True, auto_refresh=False) as live:
                ended = _show(watch, live, screen)
            if ended:
                return
            screen.suspend()


def _show(watch: _Watch, live: Live, screen: Screen) -> bool:
    """Show and answer keys; return whether to end, rather than to be suspended."""
    next_s = time.monotonic() + watch.interval_s
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
            next_s = time.monotonic() + watch.interval_s
            if not watch.held:
                watch.look()

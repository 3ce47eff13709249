"""``chronostream top``: all streams, live."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console
from rich.live import Live

from chronostream.cli.screen import Screen
from chronostream.cli.top_view import Frame
from chronostream.observe.change import History
from chronostream.observe.survey import survey
from chronostream.ring import segment_name

__all__ = ["top"]

_PAPER_WIDTH = 120  # of a pipe, which has none of its own
_PAGE = 10
_MOVES = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -_PAGE, "page down": _PAGE}
_QUITS = ("quit", "q", "Q")


def top(
    interval_s: float, window_s: float, name: tuple[str, ...] = (), once: bool = False, any_owner: bool = False
) -> None:
    """Show these streams, or all, until a key or a signal ends it."""
    for each in name:
        segment_name(each)  # A wrong name is an error, not a stream that is missing.
    history = History(window_s)

    def look() -> Frame:
        found = survey(name or None, any_owner=any_owner)
        known = {stream.ring.name for stream in found.streams} | {each.name for each in found.unreadable}
        return Frame(found, history.add(found), window_s, tuple(each for each in name if each not in known))

    console = Console(width=None if sys.stdout.isatty() else _PAPER_WIDTH)
    if once or not sys.stdout.isatty() or console.is_dumb_terminal:
        look()
        time.sleep(interval_s)
        console.print(look())
    else:
        _watch(look, interval_s, console)


def _watch(look: Callable[[], Frame], interval_s: float, console: Console) -> None:
    """Draw, look again and answer keys, until one ends it."""
    frame, held, word = look(), False, None
    next_s = time.monotonic() + interval_s
    with Screen() as screen:
        while word not in _QUITS:
            if word == "suspend":
                screen.suspend()
            word = None
            with Live(console=console, screen=True, auto_refresh=False) as live:
                while word not in (*_QUITS, "suspend"):
                    frame = replace(frame, keys=f" q quit   space {'go on' if held else 'hold'}")
                    live.update(frame, refresh=True)
                    word = screen.next(max(0.0, next_s - time.monotonic()))
                    if word == " ":
                        held = not held
                    elif word in _MOVES:
                        moved = min(frame.hidden(console), frame.skipped + _MOVES[word])
                        frame = replace(frame, skipped=max(0, moved))
                    if time.monotonic() >= next_s:
                        next_s = time.monotonic() + interval_s
                        if not held:
                            frame = replace(look(), skipped=frame.skipped)

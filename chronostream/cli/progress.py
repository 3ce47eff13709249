"""A progress bar for work that takes a while: on a terminal only, so that a pipe or a log gets none."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress"]

_REFRESHES_A_SECOND = 8


@contextmanager
def progress(what: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """Show on stderr how far something is, while the block runs; hand the block what to call as it goes on.

    ::

        with progress("verifying", len(events)) as done:
            for part in parts:
                ...
                done(len(part))

    Args:
        what: what is being done, such as ``"verifying"``.
        total: how much there is to do, in any unit; None while nobody knows.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True),
        transient=True,  # What is left on the terminal is the command's own result.
        refresh_per_second=_REFRESHES_A_SECOND,
    )
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda amount: bar.advance(task, amount)

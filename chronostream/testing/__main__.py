"""``python -m chronostream.testing``: run simulations, and repeat a failed one.

Exit status: 0 all checks passed, 1 a check failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, get_args

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from chronostream._stdio import open_closed
from chronostream.errors import InvalidTypeError, InvalidValueError, SimulationError
from chronostream.scheduler import Coalesce
from chronostream.stream.config import SequencerKind
from chronostream.testing.simulation import Summary, simulate

__all__ = ["main"]

_WRONG_USAGE = 2
_INTERRUPTED = 130  # A shell reports this after SIGINT.
_SEEDS = 100
_LONG: tuple[dict[str, Any], ...] = (
    {"frequencies": ("hour", "day"), "days": 100 * 365.25, "coalesce": "all", "hosts": 1},
    {"frequencies": ("second",), "days": 30, "coalesce": "all", "hosts": 1},
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the requested simulations and return the exit status. `arguments` are by default those of the process."""
    open_closed()
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    seed, seeds, is_long = (options.pop(name) for name in ("seed", "seeds", "long"))
    if seeds is not None and seeds < 1:
        parser.error(f"argument --seeds: {seeds}, expected 1 or more")
    first = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    if is_long:
        runs = [(first, options | long) for long in _LONG]
    else:
        count = seeds or (_SEEDS if seed is None else 1)
        runs = [(first + number, options) for number in range(count)]
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    try:
        for seed, plan in runs:
            days = plan["days"]  # Without the length of a run, or without a terminal, there is no bar.
            hidden = days is None or not console.is_terminal
            with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
                task = progress.add_task(f"seed {seed}", total=days)
                summary = simulate(seed, **plan, on_progress=partial(progress.advance, task))
            print(_text(summary), flush=True)
    except SimulationError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    except (InvalidValueError, InvalidTypeError) as error:
        print(f"chronostream.testing: {error}", file=sys.stderr)
        return _WRONG_USAGE
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m chronostream.testing",
        description="Run engines under fake clocks through years of faults, and check the promises of docs/time.md.",
        epilog="Options that are not given are drawn from the seed. A failure prints the command that repeats it.",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="the first seed; a random one by default")
    many = parser.add_mutually_exclusive_group()
    many.add_argument("--seeds", type=int, metavar="N", help=f"how many; {_SEEDS} by default, 1 with --seed")
    many.add_argument("--long", action="store_true", help="100 years of hours and days, and 30 days of seconds")
    parser.add_argument("--frequency", dest="frequencies", action="append", metavar="NAME", help="may be repeated")
    parser.add_argument("--days", type=float, help="how much time passes on each host")
    parser.add_argument("--hosts", type=int, metavar="N")
    parser.add_argument("--timezone", metavar="ZONE")
    parser.add_argument("--sequencer", choices=get_args(SequencerKind))
    parser.add_argument("--coalesce", choices=get_args(Coalesce))
    parser.add_argument("--capacity", type=int, metavar="N")
    return parser


def _text(summary: Summary) -> str:
    plan = summary.plan
    events = ", ".join(f"{count} {frequency.label}" for frequency, count in summary.events.items())
    return (
        f"ok: seed {plan.seed}, {plan.days:g} days on {plan.hosts} hosts in {plan.timezone}, {plan.sequencer}, "
        f"{plan.coalesce}: {events} events in {summary.steps} steps, {sum(summary.deaths.values())} deaths; "
        f"{summary.took_s:.1f} s"
    )


if __name__ == "__main__":
    sys.exit(main())

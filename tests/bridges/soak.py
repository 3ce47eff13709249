"""Kill relays, mirrors and nodes of a NATS cluster at random, and compare each mirror with the expected events.

This repeats the acceptance test of the suite with new seeds: `scripts/soak-nats --for 3600`.

Exit status: 0 every round passed, 1 a round failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.bridges.acceptance import Outcome, run


def parse_arguments() -> argparse.Namespace:
    """Parse the command line; wrong usage ends the program with status 2."""
    parser = argparse.ArgumentParser(
        prog="scripts/soak-nats", description="Kill processes of a relayed stream at random, and check the mirrors."
    )
    parser.add_argument("--for", dest="for_s", type=float, default=600, metavar="SECONDS", help="default: 600")
    parser.add_argument("--round", dest="round_s", type=float, default=60, metavar="SECONDS", help="default: 60")
    parser.add_argument("--seed", type=int, help="of the first round, increasing by 1; default: random")
    parser.add_argument("--verbose", action="store_true", help="print each kill, and the output of the process")
    return parser.parse_args()


def faults(outcome: Outcome) -> list[str]:
    """Return the faults of the mirrors."""
    texts = []
    for number, mirrored in enumerate(outcome.mirrored, 1):
        absent = set(outcome.expected) - set(mirrored)
        foreign = set(mirrored) - set(outcome.expected)
        twice = len(mirrored) - len(set(mirrored))
        if mirrored != outcome.expected:
            texts.append(
                f"mirror {number}: {len(absent)} absent {sorted(absent)[:3]}, {len(foreign)} foreign "
                f"{sorted(foreign)[:3]}, {twice} twice, or out of order"
            )
    return texts


def main() -> int:
    """Run rounds until the time is up or one fails; return the exit status."""
    arguments = parse_arguments()
    # Sleeping producers miss boundaries on purpose.
    logging.getLogger("chronostream.producer.engine").setLevel(logging.ERROR)
    seed: int = random.randrange(1 << 32) if arguments.seed is None else arguments.seed
    end_s = time.monotonic() + arguments.for_s
    while (left_s := end_s - time.monotonic()) > 0:
        with tempfile.TemporaryDirectory() as directory:
            log = print if arguments.verbose else lambda _: None
            outcome = run(Path(directory), min(arguments.round_s, left_s), seed, log=log)
        wrong = faults(outcome)
        kills = ", ".join(f"{count} {kind} kills" for kind, count in sorted(outcome.kills.items()))
        verdict = f"{'FAILED' if wrong else 'ok'}: seed {seed}, {len(outcome.expected)} events, {kills}"
        print("\n".join([verdict, *wrong]), flush=True)  # noqa: T201 - it prints its results
        if wrong:
            return 1
        seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

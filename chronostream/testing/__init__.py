"""For tests: streams whose time a test moves, and the simulator.

`Feed` is a stream that publishes when a test says so. `run_through_chaos` gives a consumer the events of a stream that
meets with every fault of the simulator. ``chronostream.testing.pytest`` has a fixture (docs/testing.md).

The simulator runs real engines under fake clocks through years of faults in seconds. ``simulate(seed)`` runs hosts
whose clocks are set, slewed or far wrong, and which are suspended, busy, killed at any point of a step, rebooted, and
given other zone data. It checks throughout that the promises of docs/time.md hold::

    host.py        a simulated host: its clock, its engine on a real ring, its deaths
    chaos.py       the faults, drawn from a seed
    zones.py       other data of a zone
    checker.py     what must hold, seen from outside
    simulation.py  one simulation from start to end

``python -m chronostream.testing --help`` describes the command.
"""

from __future__ import annotations

from chronostream.testing.consumers import ChaosRun, run_through_chaos
from chronostream.testing.feed import Feed
from chronostream.testing.simulation import Plan, Summary, simulate

__all__ = ["ChaosRun", "Feed", "Plan", "Summary", "run_through_chaos", "simulate"]

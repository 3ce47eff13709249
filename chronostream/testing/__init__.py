"""The simulator: real engines under fake clocks, through years of whatever can happen, in seconds.

``simulate(seed)`` runs hosts whose clocks are set, slewed and go astray, which are suspended, busy, killed at any
point of a step, and rebooted; and checks throughout that the promises of docs/time.md hold::

    host.py        a machine: its clock, its engine on a real ring, its deaths
    chaos.py       what happens to it, drawn from a seed
    checker.py     what must hold, seen from outside
    simulation.py  the whole of it

``python -m chronostream.testing --help`` is the same as a command.
"""

from __future__ import annotations

from chronostream.testing.simulation import Plan, Summary, simulate

__all__ = ["Plan", "Summary", "simulate"]

"""The scenarios, in the order of measurement and report."""

from __future__ import annotations

from bench.scenario import Scenario
from bench.scenarios.calls import CALLS
from bench.scenarios.cost import PUBLISH_BATCH, PUBLISH_ONE, READ_BATCH, READ_ONE, SCALE, SIZES
from bench.scenarios.handles import HANDLES
from bench.scenarios.latency import IDLE, LATENCY_BLOCK, LATENCY_SPIN
from bench.scenarios.own import BACKFILL, CALENDAR, RECORDING
from bench.scenarios.startup import IMPORTS, STARTUP
from bench.scenarios.tick import TICK
from bench.scenarios.transport import ONE_TO_MANY, ONE_TO_ONE, OVERRUN

__all__ = ["SCENARIOS"]

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        PUBLISH_ONE,
        PUBLISH_BATCH,
        READ_ONE,
        READ_BATCH,
        ONE_TO_ONE,
        ONE_TO_MANY,
        LATENCY_SPIN,
        LATENCY_BLOCK,
        IDLE,
        OVERRUN,
        SIZES,
        SCALE,
        TICK,
        BACKFILL,
        CALENDAR,
        RECORDING,
        HANDLES,
        CALLS,
        STARTUP,
        IMPORTS,
    )
}

"""The list of the ways to wake up at a second."""

from __future__ import annotations

__all__ = ["OWN", "TICKERS"]

OWN = ("chronostream",)

TICKERS = {
    "chronostream": ("chronostream", "ChronoStream"),
    "apscheduler": ("apscheduler", "APScheduler"),
    "asyncio": ("aio", "Asyncio"),
    "time.sleep": ("sleep", "Sleep"),
}
"""Each name with its module in this package, and its class."""

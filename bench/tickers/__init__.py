"""The ways to be woken at the second: which there are."""

from __future__ import annotations

__all__ = ["OWN", "TICKERS"]

OWN = ("chronostream",)

TICKERS = {
    "chronostream": ("chronostream", "ChronoStream"),
    "apscheduler": ("apscheduler", "APScheduler"),
    "asyncio": ("aio", "Asyncio"),
    "time.sleep": ("sleep", "Sleep"),
}
"""Name: module here, and class."""

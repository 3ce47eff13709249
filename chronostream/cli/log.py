"""The log of a command that runs until it is stopped: one line each on stderr, with the time in UTC."""

from __future__ import annotations

import logging
import time

__all__ = ["log_to_stderr"]


def log_to_stderr() -> None:
    """Show what ChronoStream logs from INFO on, and what others log from WARNING on."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(format="%(asctime)sZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")
    logging.getLogger("chronostream").setLevel(logging.INFO)

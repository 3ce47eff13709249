"""The log of a command that runs until it is stopped: one line each on stderr, with the time in UTC."""

from __future__ import annotations

import logging
import sys
import time
from typing import TextIO

from chronostream.cli import silence

__all__ = ["log_to_stderr"]


def log_to_stderr() -> None:
    """Show what ChronoStream logs from INFO on, and what others log from WARNING on."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        format="%(asctime)sZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S", handlers=[_Handler()]
    )
    logging.getLogger("chronostream").setLevel(logging.INFO)


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Go on without a terminal that is gone: nobody reads there any more."""
        if isinstance(sys.exception(), OSError):
            silence(2)
        else:
            super().handleError(record)

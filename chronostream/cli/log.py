"""The log of a command that runs until it is stopped: one line each on stderr, with the time in UTC."""

from __future__ import annotations

import logging
import sys
import time

from chronostream._stdio import discard_unwritten

__all__ = ["log_to_stderr"]


def log_to_stderr() -> None:
    """Show what ChronoStream logs from INFO on, and what others log from WARNING on."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        format="%(asctime)sZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S", handlers=[_Handler()]
    )
    logging.getLogger("chronostream").setLevel(logging.INFO)


class _Handler(logging.Handler):
    """Writes to whatever is stderr at the moment: a progress bar stands below the lines only if they go through it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except OSError:
            discard_unwritten(2)  # The terminal is gone: nobody reads there any more.
        except Exception:  # noqa: BLE001 - as every handler: an error in logging is no error of what is logged
            self.handleError(record)

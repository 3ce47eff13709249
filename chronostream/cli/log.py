"""The log of a command that runs until it is stopped: one line each on stderr, with the time in UTC."""

from __future__ import annotations

import logging
import sys
import time

from chronostream._stdio import discard_unwritten
from chronostream.cli.output import printable_text

__all__ = ["log_to_stderr"]


def log_to_stderr() -> None:
    """Show what ChronoStream logs from INFO on, and what others log from WARNING on."""
    handler = _Handler()
    handler.setFormatter(_Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("chronostream").setLevel(logging.INFO)


class _Formatter(logging.Formatter):
    """Makes one printable line of a message; a traceback keeps its own lines."""

    converter = staticmethod(time.gmtime)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable_text(super().formatMessage(record))


class _Handler(logging.Handler):
    """Writes to whatever is stderr at the moment: a progress bar stands below the lines only if they go through it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except OSError:
            discard_unwritten(2)  # The terminal is gone: nobody reads there any more.
        except Exception:  # noqa: BLE001 - as every handler: an error in logging is no error of what is logged
            self.handleError(record)

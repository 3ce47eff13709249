"""The command ``chronostream``: thin commands over the library, one module each.

Exit statuses: 0 done, 1 failed, 2 wrong usage, 3 the name is live already. What went wrong is one line on stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]

_FAILED, _WRONG_USAGE, _LIVE = 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, those of the process by default; return its exit status."""
    try:
        # Here, so that Ctrl-C while they load is no traceback either.
        from chronostream.cli.app import app
        from chronostream.errors import ChronoStreamError

        try:
            status = app(arguments, prog_name="chronostream", standalone_mode=False)
        except ChronoStreamError as error:
            return _fail(str(error), _status_of(error))
        except Exception as error:
            # What typer raises for wrong usage; which class that is depends on its version.
            if not hasattr(error, "format_message"):
                raise
            return _fail(f"{error.format_message()} (see `chronostream --help`)", _WRONG_USAGE)
    except KeyboardInterrupt:
        return _fail("interrupted", _FAILED)
    return status if isinstance(status, int) else 0


def _status_of(error: Exception) -> int:
    from chronostream.errors import InvalidTypeError, InvalidValueError, ProducerActiveError

    if isinstance(error, ProducerActiveError):
        return _LIVE
    return _WRONG_USAGE if isinstance(error, InvalidValueError | InvalidTypeError) else _FAILED


def _fail(message: str, status: int) -> int:
    print("chronostream:", " ".join(message.split()), file=sys.stderr)
    return status

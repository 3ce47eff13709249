"""The command ``chronostream``: thin commands over the library, one module each.

Exit statuses: 0 done, 1 failed, 2 wrong usage, 3 the name is live already. What went wrong is one line on stderr.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Sequence

from chronostream._stdio import silence

__all__ = ["main"]

_USERINFO = re.compile(r"(?<=//)[^/\s]*@")
_FAILED, _WRONG_USAGE, _LIVE = 1, 2, 3
_INTERRUPTED = 130  # what newer versions of typer make of Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, those of the process by default; return its exit status."""
    if sys.stdout is None:  # Who started us has closed it.
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # A stream's texts may have what the terminal has not.
    try:
        # Here, so that Ctrl-C while they load is no traceback either.
        from typer import Abort

        from chronostream.cli.app import app
        from chronostream.errors import ChronoStreamError

        try:
            status = app(arguments, prog_name="chronostream", standalone_mode=False)
        except ChronoStreamError as error:
            return _fail(str(error), _status_of(error))
        except Abort:
            status = _INTERRUPTED  # what older versions make of it
        except OSError as error:
            silence(1)
            return _fail(str(error), _FAILED)
        except Exception as error:
            # What typer raises for wrong usage; which class that is depends on its version.
            if not hasattr(error, "format_message"):
                raise
            message = error.format_message() or "Missing command."  # Without any, it has printed the help already.
            context = getattr(error, "ctx", None)
            command = context.command_path if context else "chronostream"
            return _fail(f"{message} (see `{command} --help`)", _WRONG_USAGE)
    except KeyboardInterrupt:
        status = _INTERRUPTED
    if status == _INTERRUPTED:
        return _fail("interrupted", _FAILED)
    return status if isinstance(status, int) else 0


def _status_of(error: Exception) -> int:
    from chronostream.errors import InvalidTypeError, InvalidValueError, ProducerActiveError

    if isinstance(error, ProducerActiveError):
        return _LIVE
    return _WRONG_USAGE if isinstance(error, InvalidValueError | InvalidTypeError) else _FAILED


def _fail(message: str, status: int) -> int:
    # What was typed may be repeated here, and a URL in it may hold a password.
    line = _USERINFO.sub("***@", " ".join(message.split()))
    try:
        print("chronostream:", line, file=sys.stderr, flush=True)
    except OSError:
        silence(2)
    return status

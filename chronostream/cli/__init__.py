"""The command ``chronostream``: thin commands over the library, one module each.

Exit statuses: 0 done, 1 failed, 2 wrong usage, 3 the name is live already. An error is one line on stderr.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from chronostream._log import print_error
from chronostream._stdio import discard_unwritten, open_closed, printable_text, waiting_stdout

__all__ = ["main"]

_NAME, _COMPLETE = "chronostream", "_CHRONOSTREAM_COMPLETE"
_USERINFO = re.compile(r"(?<=//)[^/\s]*@")
_FAILED, _WRONG_USAGE, _LIVE = 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, those of the process by default; return its exit status."""
    open_closed()
    try:
        with waiting_stdout():
            return _run(sys.argv[1:] if arguments is None else [*arguments])
    except KeyboardInterrupt:
        return _fail("interrupted", _FAILED)


def _run(arguments: list[str]) -> int:
    # Here, so that Ctrl-C while they load is no traceback either.
    from click import Abort, UsageError
    from click.exceptions import Exit
    from click.shell_completion import shell_complete

    from chronostream.cli.app import app
    from chronostream.errors import ChronoStreamError, InvalidTypeError, InvalidValueError, ProducerActiveError

    try:
        if instruction := os.environ.get(_COMPLETE):
            return shell_complete(app, {}, _NAME, _COMPLETE, instruction)
        with app.make_context(_NAME, arguments) as context:
            if not arguments:
                print(context.get_help(), flush=True)
            return app.invoke(context) or 0
    except Exit as end:
        return end.exit_code
    except Abort:
        raise KeyboardInterrupt from None
    except UsageError as error:
        command = error.ctx.command_path if error.ctx else _NAME
        message, status = f"{error.format_message()} (see `{command} --help`)", _WRONG_USAGE
    except (InvalidValueError, InvalidTypeError) as error:
        message, status = str(error), _WRONG_USAGE
    except ChronoStreamError as error:
        message, status = str(error), _LIVE if isinstance(error, ProducerActiveError) else _FAILED
    except OSError as error:
        discard_unwritten(sys.stdout)
        message, status = str(error), _FAILED
    return _fail(message, status)


def _fail(message: str, status: int) -> int:
    # What was typed may be repeated here, and a URL in it may hold a password.
    print_error(printable_text(f"chronostream: {_USERINFO.sub('***@', ' '.join(message.split()))}"))
    return status

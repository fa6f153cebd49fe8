"""`weirpool map`, as the terminal has it."""

from __future__ import annotations

import os
import re
import sys
import traceback
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, CycloptsError, Parameter

from weirpool._plain import plain

from ._errors import CommandError
from ._options import Options

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_USAGE, _UNWRITTEN, _UNREAD = 2, 3, 141  # of the help; otherwise `_run` knows

_HELP = """Call a function with each line of a file, many at once, and write what it returns.

FUNCTION is module:name, an async function or a plain one, of one argument; modules of this directory can be imported.
The input has one JSON value in each line (with --lines: a text),
the output has one for each item that has succeeded.

Ctrl-C (or SIGTERM) reads no more, and what has begun is finished; the second one cancels that; the third ends the process.
With --journal, the same command goes on later where it was ended, however that was:
nothing is lost, and nothing done twice but what was running.
"""

_EPILOGUE = """Exit status: 0 all items have succeeded, 1 some failed, 2 the command could not begin,
3 it stopped early (--max-failures, a full disk), 130 or 143 it was interrupted, 141 nobody reads its output any more.

Examples:

  weirpool map prices:fetch < products.jsonl > prices.jsonl

  weirpool map prices:fetch -i products.jsonl -o prices.jsonl --timeout 5 --rate 50 --retries 3 --journal prices.journal
  --failures failed.jsonl

  weirpool map prices:fetch -i failed.jsonl --replay -o more.jsonl

  ls *.png | weirpool map thumbs:make --lines --processes --workers 8
"""


def _flowing(text: str) -> str:
    """Return a text whose paragraphs are one line each, for the terminal to break where it ends."""
    return re.sub(r"(?<=\S)\n(?=\S)", " ", text)


_app = App(
    name="weirpool map",
    help=_flowing(_HELP),
    help_epilogue=_flowing(_EPILOGUE),
    help_format="plaintext",
    version_flags=[],
    result_action="return_value",
)


@_app.default
def _asked(
    function: Annotated[str, Parameter(help="The function, as module:name.")],
    /,
    *,
    options: Annotated[Options | None, Parameter(name="*")] = None,
) -> tuple[str, Options]:
    return function, options or Options()


def main(argv: Sequence[str]) -> int:
    """Run the command; return the exit status."""
    try:
        asked = _app(argv, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _complain(error, _USAGE)
    except SystemExit:  # rich's, which has put /dev/null in the place of a standard output that nobody reads any more
        return _UNREAD
    except OSError as error:
        return _complain(f"can't write: {error}", _UNWRITTEN)
    return 0 if asked is None else _carry_out(*asked)  # None: help, and here it is


def _carry_out(function: str, options: Options) -> int:
    from ._run import run  # noqa: PLC0415  # not for --help

    try:
        return run(function, options)
    except CommandError as error:
        return _complain(error, _USAGE)
    except Exception:  # a bug in here, and not items that have failed
        traceback.print_exc()
        return os.EX_SOFTWARE


def _complain(error: object, status: int) -> int:
    print(plain(f"weirpool map: {error}"), file=sys.stderr)  # noqa: T201
    return status

"""The error a user's mistake raises, and how a command line shows it."""

import sys
from typing import Any, Callable


class InputError(ValueError):
    """A mistake in what the user gave: a path, a file, a config, a flag.

    The message names the offending value and what was expected.
    """


def run_tool(main: Callable[[], Any]) -> None:
    """Run a tool's ``main``; end it with one line where the input is wrong.

    An :class:`InputError` is printed as ``error: <message>`` on stderr and
    ends the process with exit status 2, as ``argparse`` does for a wrong
    flag. Everything else is a defect of the program and keeps its traceback.
    """
    try:
        main()
    except InputError as e:
        print(f'error: {e}', file=sys.stderr)
        sys.exit(2)

"""The error a user's mistake raises, and how a command line shows it."""

import sys
from difflib import get_close_matches
from typing import Any, Callable, Iterable


class InputError(ValueError):
    """A mistake in what the user gave: a path, a file, a config, a flag.

    The message names the offending value and what was expected.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about a wrong name; empty if none comes close.

    Args:
        name (str): The wrong name.
        known (Iterable[str]): The names that there are.
    """
    by_lower = {other.lower(): other for other in known}
    close = get_close_matches(name.lower(), by_lower)
    names = ' or '.join(f"'{by_lower[n]}'" for n in close)
    return names and f'; did you mean {names}?'


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

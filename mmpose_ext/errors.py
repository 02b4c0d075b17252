"""The error a user's mistake raises, and how a command line shows it."""

import errno
import logging
import sys
from difflib import get_close_matches
from typing import Any, Callable, Iterable

# What the system refuses, through no fault of a program.
CANNOT_WRITE = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EFBIG,
    errno.EIO,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
)
_CANNOT_ACCESS = (errno.EACCES, errno.EPERM)


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
    flag. So does a file system that is full, read-only or denies access.
    Ctrl-C ends with ``interrupted`` and exit status 130, as in a shell.
    Everything else is a defect of the program and keeps its traceback.
    """
    # By default each message of a log that cannot be written is a traceback.
    logging.raiseExceptions = False
    try:
        main()
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(130)
    except InputError as e:
        print(f'error: {e}', file=sys.stderr)
        sys.exit(2)
    except OSError as e:
        if e.errno not in (*CANNOT_WRITE, *_CANNOT_ACCESS):
            raise
        verb = 'write' if e.errno in CANNOT_WRITE else 'access'
        name = '' if e.filename is None else f" '{e.filename}'"
        print(f'error: cannot {verb}{name}: {e.strerror}', file=sys.stderr)
        sys.exit(2)

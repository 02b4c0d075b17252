"""Collect what is wrong with a file, and say it in one error."""

import logging
from reprlib import Repr
from typing import Callable, Iterable, List, Set, Tuple

import numpy as np
from mmengine.logging import print_log

from ...errors import InputError

_SHOWN = 10
_LONGEST = 150
_repr = Repr()
_repr.maxlist = _repr.maxdict = 6
_repr.maxstring = _repr.maxother = 60


class _Missing:
    """Stands for the value of a missing key."""

    def __repr__(self) -> str:
        return 'nothing'


MISSING = _Missing()


def show(value) -> str:
    """A value of a file as a message shows it: short, and printable."""
    if value is MISSING:
        return repr(value)
    text = _repr.repr(value)
    return text if len(text) <= _LONGEST else f'{text[:_LONGEST]}...'


class Problems:
    """The problems of one file.

    Args:
        what (str): The file, as the beginning of a message names it.
        path (str): The file's path. Defaults to ``''``.
    """

    _warned: Set[Tuple[str, str]] = set()

    def __init__(self, what: str, path: str = ''):
        self.what = what
        self.path = path
        self.count = 0
        self.first: List[str] = []

    def add(self, place: str, got: str, expected: str) -> None:
        """Add one problem.

        Args:
            place (str): Where it is, such as 'annotation 7'.
            got (str): The key and its value.
            expected (str): What should be there.
        """
        self.count += 1
        if len(self.first) < _SHOWN:
            self.first.append(f'{place}: {got}, expected {expected}')

    def add_where(
        self,
        wrong: np.ndarray,
        place: Callable[[int], str],
        got: Callable[[int], str],
        expected: str,
    ) -> None:
        """Add a problem for each item that is marked.

        Args:
            wrong (np.ndarray): Which items have it, bool (N,).
            place (Callable): From the index of an item to its place.
            got (Callable): From the index of an item to what is there.
            expected (str): What should be there.
        """
        found = np.flatnonzero(wrong)
        for i in found[: _SHOWN - len(self.first)].tolist():
            self.add(place(i), got(i), expected)
            self.count -= 1
        self.count += len(found)

    def warn(self, text: str) -> None:
        """Warn once per process how something is interpreted."""
        if (self.path, text) in self._warned:
            return
        self._warned.add((self.path, text))
        print_log(f'{self.what}: {text}', 'current', logging.WARNING)

    def raise_any(self) -> None:
        """Raise what was found, if anything was.

        Raises:
            InputError: The first ten problems, and the number of the others.
        """
        if not self.count:
            return
        if self.count == 1:
            raise InputError(f'{self.what}, {self.first[0]}')
        lines = [f'{self.what} has {self.count} problems:', *self.first]
        if self.count > _SHOWN:
            lines.append(f'and {self.count - _SHOWN} more')
        raise InputError('\n  '.join(lines))


def some(names: Iterable[str], limit: int = _SHOWN) -> str:
    """The first of some names, for a message: short, and printable.

    Args:
        names (Iterable[str]): The names.
        limit (int): How many are shown. Defaults to 10.
    """
    names = [
        n if n.isprintable() and len(n) <= _LONGEST + 3 else show(n)
        for n in names
    ]
    more = ', ...' if len(names) > limit else ''
    return (', '.join(names[:limit]) or 'none') + more

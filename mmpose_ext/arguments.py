"""Checks of what is passed to classes and functions.

Each check raises a ``ValueError`` that names the argument and its value, for
values of any type, and returns the value: NumPy's numbers as Python's, which
layers, configs and JSON take. A bool is no number here.
"""

import math
import sys
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any, Callable, Collection, List, Optional, TypeVar

import numpy as np

T = TypeVar('T')


def positive_int(name: str, value: Any) -> int:
    """A whole number above 0: a width, a size, a count."""
    return _integer(name, value, 1)


def non_negative_int(name: str, value: Any) -> int:
    """A whole number of at least 0."""
    return _integer(name, value, 0)


def finite(name: str, value: Any) -> float:
    """A number that is neither NaN nor infinite; an int stays one."""
    return _number(name, value, 'a finite number')


def positive(name: str, value: Any) -> float:
    """A finite number above 0: a standard deviation, an epsilon."""
    return _number(name, value, 'a finite number above 0', lambda x: x > 0)


def non_negative(name: str, value: Any) -> float:
    """A finite number of at least 0: a weight, an area."""
    return _number(
        name, value, 'a finite number of at least 0', lambda x: x >= 0
    )


def not_nan(name: str, value: Any) -> float:
    """A number, infinite if need be: a threshold that keeps all or nothing."""
    if isinstance(value, Real) and value in (-math.inf, math.inf):
        return float(value)
    return _number(name, value, 'a number')


def fraction(name: str, value: Any) -> float:
    """A number from 0 to 1: a probability, a threshold of a score."""
    return _number(name, value, 'a number from 0 to 1', lambda x: 0 <= x <= 1)


def each(
    check: Callable[[str, Any], T],
    name: str,
    values: Any,
    length: Optional[int] = None,
) -> List[T]:
    """A list, tuple or array of values that all pass another check.

    Args:
        check (Callable): One of the functions above, such as
            :func:`positive_int`.
        name (str): The argument's name; ``name[i]`` is that of an item.
        values (Any): The argument, such as ``(192, 256)``.
        length (int, optional): The number of items. Defaults to ``None``, at
            least one.

    Returns:
        list: What ``check`` returns for the items.

    Raises:
        ValueError: If ``values`` is no such sequence of this length, or an
            item fails its check.
    """
    good = isinstance(values, (list, tuple, range)) or (
        isinstance(values, np.ndarray) and values.ndim == 1
    )
    if not good or (len(values) != length if length else not len(values)):
        count = (
            'at least one number' if length is None else f'{length} numbers'
        )
        raise ValueError(
            f'{name} must be a list or tuple of {count}, got {values!r}'
        )
    return [check(f'{name}[{i}]', value) for i, value in enumerate(values)]


def one_of(name: str, value: T, choices: Collection[T]) -> T:
    """One of several names or numbers."""
    try:
        if value in choices:
            return value
    except (TypeError, ValueError):  # no hash, or no single truth value
        pass
    expected = ', '.join(map(repr, choices))
    raise ValueError(f'{name} must be one of {expected}, got {value!r}')


def file_path(name: str, value: Any) -> str:
    """The path of a file, as text or a path object."""
    if isinstance(value, (str, PurePath)) and str(value):
        return str(value)
    raise ValueError(f'{name} must be the path of a file, got {value!r}')


def _integer(name: str, value: Any, low: int) -> int:
    good = isinstance(value, Integral) and not isinstance(value, bool)
    if not good or value < low:
        raise ValueError(
            f'{name} must be a whole number of at least {low}, got {value!r}'
        )
    return int(value)


def _number(
    name: str,
    value: Any,
    expected: str,
    good: Callable[[Real], bool] = lambda x: True,
) -> float:
    if isinstance(value, Real) and not isinstance(value, bool):
        number = int(value) if isinstance(value, Integral) else float(value)
        # A comparison with NaN is false, and an int may be beyond float64.
        if abs(number) <= sys.float_info.max and good(number):
            return number
    raise ValueError(f'{name} must be {expected}, got {value!r}')

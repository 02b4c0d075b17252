"""Turn the values of many JSON objects into arrays, whatever they are."""

from itertools import chain
from operator import itemgetter
from typing import Any, List, Sequence, Tuple

import numpy as np

from .problems import MISSING

# What no image reaches: a coordinate or a size beyond it is a mistake, and
# would overflow where widths and heights are multiplied.
LIMIT = 1e6
# Beyond it, float64 does not hold every whole number, and differences of 64
# bits overflow.
WHOLE_LIMIT = 2**53


def column(objects: Sequence[dict], key: str) -> List[Any]:
    """The value that each object has under a key, or ``MISSING``."""
    try:
        return list(map(itemgetter(key), objects))
    except KeyError:
        return [o.get(key, MISSING) for o in objects]


def numbers(values: Sequence[Any]) -> np.ndarray:
    """Values as float64 (N,), NaN where one is no number.

    NaN also stands for booleans, and for whole numbers beyond float64.
    """
    if set(map(type, values)) <= {int, float}:
        try:
            return np.array(values, dtype=float)
        except OverflowError:
            pass
    return np.array([_number(v) for v in values], dtype=float)


def joined_numbers(lists: Sequence[list]) -> np.ndarray:
    """The values of all lists, one after the other, as :func:`numbers`."""
    if set(map(type, chain.from_iterable(lists))) <= {int, float}:
        try:
            return np.fromiter(chain.from_iterable(lists), dtype=float)
        except OverflowError:
            pass
    return numbers(list(chain.from_iterable(lists)))


def rows(values: Sequence[Any], length: int) -> np.ndarray:
    """Lists of numbers as float64 (N, length), NaN where one is no number.

    All of a row is NaN where it is no list of this length.
    """
    if set(map(type, values)) <= {list} and set(map(len, values)) <= {length}:
        return joined_numbers(values).reshape(-1, length)
    good = np.array(
        [type(v) is list and len(v) == length for v in values], dtype=bool
    )
    found = np.full((len(values), length), np.nan)
    chosen = [v for v, g in zip(values, good) if g]
    found[good] = joined_numbers(chosen).reshape(-1, length)
    return found


def whole(values: Sequence[Any]) -> Tuple[np.ndarray, np.ndarray]:
    """Whole numbers as int64 (N,), and which of the values are valid (N,).

    Those that are no whole number from -2^53 to 2^53 become 0. 3.0 is one.
    """
    if set(map(type, values)) <= {int}:
        try:
            found = np.array(values, dtype=np.int64)
            good = (found >= -WHOLE_LIMIT) & (found <= WHOLE_LIMIT)
            return np.where(good, found, 0), good
        except OverflowError:
            pass
    good = np.array([_is_whole(v) for v in values], dtype=bool)
    found = [int(v) if g else 0 for v, g in zip(values, good)]
    return np.array(found, dtype=np.int64), good


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        return np.nan
    try:
        return float(value)
    except OverflowError:
        return np.nan


def _is_whole(value: Any) -> bool:
    if type(value) is float:
        return value.is_integer() and abs(value) <= WHOLE_LIMIT
    return type(value) is int and abs(value) <= WHOLE_LIMIT

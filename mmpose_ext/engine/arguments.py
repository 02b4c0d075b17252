"""Types of command line arguments, for ``argparse``."""

import argparse
import math
from typing import Callable

import torch


def positive_int(text: str) -> int:
    """A whole number above zero.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    return _integer(text, 1, 'a whole number above zero')


def non_negative_int(text: str) -> int:
    """A whole number of at least zero.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    return _integer(text, 0, 'a whole number of at least zero')


def finite_number(text: str) -> float:
    """A number that is neither NaN nor infinite.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    return _number(text, 'a finite number')


def positive_number(text: str) -> float:
    """A finite number above zero.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    return _number(text, 'a number above zero', lambda x: x > 0)


def non_negative_number(text: str) -> float:
    """A finite number of at least zero.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    return _number(text, 'a number of at least zero', lambda x: x >= 0)


def _integer(text: str, low: int, expected: str) -> int:
    if not text.isdecimal() or int(text) < low:
        raise argparse.ArgumentTypeError(f"expected {expected}, got '{text}'")
    return int(text)


def _number(
    text: str, expected: str, good: Callable[[float], bool] = math.isfinite
) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and good(number)):
        raise argparse.ArgumentTypeError(f"expected {expected}, got '{text}'")
    return number


def usable_device(name: str) -> str:
    """The name of a device that torch can compute on.

    Raises:
        argparse.ArgumentTypeError: There is no such device.
    """
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as e:
        reason = str(e).splitlines()[0]
        raise argparse.ArgumentTypeError(
            f"cannot use device '{name}': {reason}"
        ) from e
    return name

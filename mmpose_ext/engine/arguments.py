"""Types of command line arguments, for ``argparse``."""

import argparse
import math
from typing import Callable

import torch


def _type(parse: Callable, good: Callable, expected: str) -> Callable:
    """A type whose values pass a check."""

    def convert(text: str):
        try:
            value = parse(text)
        except ValueError:
            value = None
        if value is None or not good(value):
            raise argparse.ArgumentTypeError(
                f"expected {expected}, got '{text}'"
            )
        return value

    return convert


def _digits(text: str) -> int:
    # Not the signs, spaces and underscores that int takes.
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)


positive_int = _type(_digits, lambda n: n > 0, 'a whole number above zero')
non_negative_int = _type(
    _digits, lambda n: n >= 0, 'a whole number of at least zero'
)
finite_number = _type(float, math.isfinite, 'a finite number')
positive_number = _type(
    float, lambda x: 0 < x < math.inf, 'a number above zero'
)
non_negative_number = _type(
    float, lambda x: 0 <= x < math.inf, 'a number of at least zero'
)


def usable_device(name: str) -> str:
    """The name of a device that torch can compute on.

    Raises:
        argparse.ArgumentTypeError: If there is no such device.
    """
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as e:
        reason = str(e).splitlines()[0]
        raise argparse.ArgumentTypeError(
            f"cannot use device '{name}': {reason}"
        ) from e
    return name

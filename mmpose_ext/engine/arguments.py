"""Types of command line arguments, for ``argparse``."""

import argparse
import math

import torch


def positive_int(text: str) -> int:
    """A whole number above zero.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(
            f"expected a whole number above zero, got '{text}'"
        )
    return int(text)


def positive_number(text: str) -> float:
    """A finite number above zero.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(
            f"expected a number above zero, got '{text}'"
        )
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

"""What all transforms have in common."""

import inspect

import numpy as np
import pytest
from mmpose.registry import TRANSFORMS

from mmpose_ext.datasets import transforms

NAMES = transforms.__all__
SIZES = dict(
    PaddedTopdownAffine=(48, 64),
    BottomupShortSideAffine=(64, 64),
    BottomupShortSideResize=(64, 96),
)
CASES = [
    (name, argument)
    for name in NAMES
    for argument in inspect.signature(getattr(transforms, name)).parameters
]
WRONG = [
    None, 'text', '', [], (), {}, object, 1j, float('nan'), float('inf'),
    -0.5, -1, 10**400, [None, None], ['1', '2'], (float('nan'), 1), (1, 2, 3),
    np.array('1'), np.ones((2, 2)), b'1', {1},
]  # fmt: skip


def make(name, **kwargs):
    if name in SIZES:
        kwargs.setdefault('input_size', SIZES[name])
    return getattr(transforms, name)(**kwargs)


def is_right(argument, value):
    """A padding is any number, a colour may have three, counts no limit."""
    if argument == 'pad_val':
        return type(value) in (int, float) and abs(value) < 9
    if argument in ('num_holes', 'size_factor'):
        return type(value) is int and value > 0
    return argument == 'fill' and type(value) is tuple and len(value) == 3


@pytest.mark.parametrize(('name', 'argument'), CASES)
def test_nonsense_is_refused_by_name(name, argument):
    default = inspect.signature(getattr(transforms, name)).parameters[argument]
    for value in WRONG:
        if is_right(argument, value):
            continue
        with pytest.raises(ValueError, match=rf'^{argument}\b.* got '):
            make(name, **{argument: value})
    if not isinstance(default.default, bool):
        with pytest.raises(ValueError, match=rf'^{argument}\b.* got .*True'):
            make(name, **{argument: True})


@pytest.mark.parametrize('name', NAMES)
def test_names_are_registered_and_numbers_of_numpy_are_numbers(name):
    assert TRANSFORMS.get(name) is getattr(transforms, name)
    plain = make(name)
    arguments = {
        key: np.float64(value) if isinstance(value, float) else np.int64(value)
        for key, value in vars(plain).items()
        if type(value) in (int, float)
        and key in inspect.signature(type(plain)).parameters
    }
    assert repr(make(name, **arguments)) == repr(plain)

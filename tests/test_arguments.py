"""Checks of arguments: what passes, and what a message says."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from mmpose_ext.arguments import (
    each,
    file_path,
    finite,
    fraction,
    non_negative,
    non_negative_int,
    not_nan,
    one_of,
    positive,
    positive_int,
)

# By check: what it takes, and the nearest that it does not.
CHECKS = {
    positive_int: ([1, 7, np.int64(3), np.uint8(255)], [0, -1, 1.0]),
    non_negative_int: ([0, 1, np.int32(0)], [-1, 0.0, np.float32(2)]),
    finite: ([-1e308, 0, 2.5, np.float32(0.5)], [10**400, -(10**400)]),
    positive: ([5e-324, 1, np.float64(2)], [0, 0.0, -5e-324]),
    non_negative: ([0, 0.0, 1e308], [-5e-324, -1]),
    fraction: ([0, 1, 0.5, np.float16(1)], [-1e-9, 1 + 1e-9, 2]),
}
# What no check of a number takes.
NO_NUMBERS = [
    *(math.nan, math.inf, -math.inf, np.float32('nan'), np.float64('inf')),
    *('3', 'text', '', b'3', None, True, False, np.True_, 1j),
    *([], [3], (3,), {}, {'a': 1}, np.array([3]), object),
]
GOOD = [(check, v) for check, (good, _) in CHECKS.items() for v in good]
BAD = [
    (check, v) for check, (_, bad) in CHECKS.items() for v in bad + NO_NUMBERS
]


@pytest.mark.parametrize(('check', 'value'), GOOD)
def test_good_values_are_returned_as_python_numbers(check, value):
    result = check('width', value)
    assert result == value
    python = value.item() if isinstance(value, np.number) else value
    assert type(result) is type(python)


@pytest.mark.parametrize(('check', 'value'), BAD)
def test_bad_values_are_named(check, value):
    said = rf'^width must be a .*, got {re.escape(repr(value))}$'
    with pytest.raises(ValueError, match=said):
        check('width', value)


def test_a_threshold_may_be_infinite():
    for value in (-math.inf, -1, 0.5, math.inf, np.float32('inf')):
        assert not_nan('score_thr', value) == value
    for value in (math.nan, np.float32('nan'), '1', None, True, [0.5]):
        with pytest.raises(ValueError, match=r'^score_thr must be a number, '):
            not_nan('score_thr', value)


def test_each_takes_lists_tuples_and_arrays():
    for values in ((192, 256), [192, 256], np.r_[192, 256],
                   range(192, 257, 64)):  # fmt: skip
        result = each(positive_int, 'size', values, 2)
        assert result == [192, 256]
        assert {type(v) for v in result} == {int}
    with pytest.raises(ValueError, match=r'^size\[1\] must be .*, got 0$'):
        each(positive_int, 'size', (192, 0))


@pytest.mark.parametrize(
    ('values', 'length', 'expected'),
    [
        *((v, None, 'at least one number') for v in ((), np.empty(0))),
        *((v, 2, '2 numbers') for v in ((1,), (1, 2, 3), ())),
        *(
            (values, length, 'number')
            for values in (5, None, '12', {1: 2, 3: 4}, np.ones((2, 2)))
            for length in (None, 2)
        ),
    ],
)
def test_each_wants_a_sequence_of_the_length(values, length, expected):
    said = rf'^size must be a list or tuple of .*{expected}.*, got '
    with pytest.raises(ValueError, match=said) as e:
        each(positive_int, 'size', values, length)
    assert str(e.value).endswith(repr(values))


def test_file_path():
    assert file_path('out', 'a/b.json') == 'a/b.json'
    assert file_path('out', Path('a/b.json')) == 'a/b.json'
    for value in ('', None, 5, True, b'a', ['a'], math.nan):
        said = r'^out must be the path of a file, got '
        with pytest.raises(ValueError, match=said) as e:
            file_path('out', value)
        assert str(e.value).endswith(repr(value))


def test_one_of():
    assert one_of('stride', 4, (2, 4)) == 4
    assert one_of('mode', 'a', {'a': 1, 'b': 2}) == 'a'
    said = r"^mode must be one of 'a', 'b', got "
    for value in ('c', None, 2, [], {}, np.ones(2), math.nan):
        for choices in (('a', 'b'), {'a': 1, 'b': 2}):
            with pytest.raises(ValueError, match=said) as e:
                one_of('mode', value, choices)
            assert str(e.value).endswith(repr(value))

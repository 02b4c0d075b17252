import numpy as np
import pytest

from mmpose_ext.checks.coco.columns import (
    column,
    joined_numbers,
    numbers,
    rows,
    whole,
)
from mmpose_ext.checks.coco.problems import MISSING

NAN = float('nan')


def test_column():
    assert column([dict(a=1), dict(a=None)], 'a') == [1, None]
    assert column([dict(a=1), dict(b=2)], 'a') == [1, MISSING]
    assert column([], 'a') == []


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        ([], []),
        ([1, 2.5, -3], [1, 2.5, -3]),
        ([1, True, False], [1, NAN, NAN]),
        ([1, '2', None, MISSING, [3], {}], [1, *[NAN] * 5]),
        ([1, 10**400, -(10**400)], [1, NAN, NAN]),
        ([NAN, float('inf')], [NAN, np.inf]),
    ],
)
def test_numbers(values, expected):
    np.testing.assert_array_equal(numbers(values), expected)
    split = [values[:2], [], values[2:]]
    np.testing.assert_array_equal(joined_numbers(split), expected)
    assert numbers(values).dtype == float


def test_rows():
    values = [[1, 2], [3, None], [4], 'ab', None, [5, 6.5]]
    expected = [[1, 2], [3, NAN], *[[NAN] * 2] * 3, [5, 6.5]]
    np.testing.assert_array_equal(rows(values, 2), expected)
    assert rows([], 4).shape == (0, 4)


@pytest.mark.parametrize(
    ('values', 'expected', 'good'),
    [
        ([], [], []),
        ([3, 0, -1], [3, 0, -1], [1, 1, 1]),
        ([3, 4.0, 4.5, 1e30], [3, 4, 0, 0], [1, 1, 0, 0]),
        ([True, '1', None, NAN, [1]], [0] * 5, [0] * 5),
        ([2**53, -(2**53)], [2**53, -(2**53)], [1, 1]),
        ([2**53 + 1, 2**63 - 1, -(2**63)], [0] * 3, [0] * 3),
        ([2.0**54, 7], [0, 7], [0, 1]),
        ([2**63, 10**400, 7], [0, 0, 7], [0, 0, 1]),
        ([float('inf')], [0], [0]),
    ],
)
def test_whole(values, expected, good):
    found, fine = whole(values)
    assert found.tolist() == expected and found.dtype == np.int64
    assert fine.tolist() == [bool(g) for g in good]

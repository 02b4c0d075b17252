"""What all metrics have in common."""

import math

import numpy as np
import pytest
from mmpose.registry import METRICS

from mmpose_ext import evaluation

NUMBERS = (None, 'text', True, math.nan, math.inf, -1, [], {}, np.ones(2))
FLAGS = (None, 'False', 2, math.nan, [], {})
WRONG = {
    'LIPPCKh': dict(
        thr=(*NUMBERS, 0, 10**400),
        submission_file=('', 5, True, math.nan, ['a.csv'], {}),
        overwrite=FLAGS,
    ),
    'ExpansionUpperBound': dict(
        ksizes=(None, 'text', '', True, math.nan, 11.0, 0, -1, [], {}, [3, 0],
                [None], np.ones((2, 2))),
        sigmas=('text', 5, True, math.nan, [], {}, [0.1, 0], [math.nan],
                [None], ['0.1'], np.ones((2, 2))),
        scale_by_sigma=FLAGS,
        match=(None, 'text', True, 1, math.nan, [], {}),
    ),
}  # fmt: skip
CASES = [
    (name, argument, value)
    for name, arguments in WRONG.items()
    for argument, values in arguments.items()
    for value in values
]


@pytest.mark.parametrize(('name', 'argument', 'value'), CASES)
def test_nonsense_is_refused_by_name(name, argument, value):
    with pytest.raises(ValueError, match=rf'^{argument}\b.* got '):
        getattr(evaluation, name)(**{argument: value})


@pytest.mark.parametrize('name', WRONG)
def test_names_are_registered(name):
    assert METRICS.get(name) is getattr(evaluation, name)


def test_numbers_of_numpy_are_numbers():
    metric = evaluation.ExpansionUpperBound(
        ksizes=np.int64(5), sigmas=np.array([0.1, 0.2], np.float32)
    )
    assert metric.ksizes == (5,)
    assert evaluation.ExpansionUpperBound(ksizes=np.array([3])).ksizes == (3,)
    assert evaluation.LIPPCKh(thr=np.float32(0.5)).thr == 0.5

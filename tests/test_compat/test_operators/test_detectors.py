"""MMDet's detectors over what stands in for mmcv's operators."""

import pytest
from operators_of_mmcv import (
    assert_as_mmcvs,
    cases,
    compiled,
    needs_compiled,
)
from references.make_operators import over
from small_detectors import DETECTORS, train
from torch.testing import assert_close

from mmpose_ext.compat import operators


@pytest.mark.parametrize('name', cases('detector'))
def test_detections_are_those_over_compiled_operators(name):
    # Where weights are random, each of many deformable convolutions enlarges
    # the roundings of those before.
    assert_as_mmcvs(name, atol=0.01 if 'dc' in name else 1e-4)


@needs_compiled
@pytest.mark.parametrize('name', [x for x in DETECTORS if 'dc' not in x])
def test_losses_and_gradients_are_those_over_compiled_operators(name):
    results = []
    for extension in (operators, compiled):
        with over(extension):
            results.append(train(name))
    for ours, theirs in zip(*results):
        assert_close(ours, theirs, rtol=1e-4, atol=1e-4)

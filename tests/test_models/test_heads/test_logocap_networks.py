import pytest
import torch
from logocap_reference import make_head, refine
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from mmpose_ext.models.heads.logocap_networks import (
    make_branch,
    make_refinement,
)
from mmpose_ext.models.layers.window_convolution import convolve_windows


@pytest.mark.parametrize('outputs', [None, 3])
def test_branch(outputs):
    torch.manual_seed(0)
    branch = make_branch(5, 4, dict(type='BN', eps=1e-3), outputs).double()
    x = torch.randn(2, 5, 3, 4, dtype=torch.double)
    state = branch.state_dict()
    expected = F.conv2d(x, state['0.weight'])
    norm = state['1.weight'], state['1.bias']
    expected = F.batch_norm(expected, None, None, *norm, True, eps=1e-3).relu()
    if outputs:
        expected = F.conv2d(expected, state['3.weight'], state['3.bias'])
    assert_close(branch(x), expected)
    assert expected.shape == (2, outputs or 4, 3, 4)


@pytest.mark.parametrize('training', [True, False])
def test_refinement(training):
    refinement = make_head().refinement.train(training)
    codes = torch.randn(4, 6, 5, 5, dtype=torch.double)
    expected = refine(refinement.state_dict(), codes, training)
    assert_close(refinement(codes), expected)


def test_costs_of_a_centre():
    """Multiply-adds of the W32 head's refinement, and of its convolution."""
    with torch.device('meta'), FlopCounterMode(display=False) as network:
        refinement = make_refinement(
            17, 64, (512, 256, 128), 20, dict(type='BN')
        )
        maps = refinement.eval()(torch.zeros(1, 17 * 64, 11, 11))
    assert maps.shape == (1, 17, 11, 11)
    assert round(network.get_total_flops() / 2e9, 3) == 0.785
    with FlopCounterMode(display=False) as convolution:
        convolve_windows(torch.zeros(1, 17, 97, 97), torch.zeros(maps.shape))
    assert round(convolution.get_total_flops() / 2e9, 3) == 0.019


def test_wrong_channels():
    for channels, message in (
        ((4, 5), r'3 numbers, got \(4, 5\)'),
        ((4, 0, 5), r'refinement_channels\[1\] .* got 0'),
    ):
        with pytest.raises(ValueError, match=message):
            make_refinement(3, 2, channels, 3, dict(type='BN'))

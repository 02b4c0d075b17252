"""The module alone; the network of such modules has tests too."""

import pytest
import torch
from mmpose.models.backbones.hrnet import HRModule
from mmpose.models.backbones.resnet import BasicBlock

from mmpose_ext.models.layers.psm_hr_module import PSMHRModule


def make_pair(channels, **kwargs):
    """MMPose's module and ours, by their own random weights."""
    number = len(channels)
    return [
        cls(number, BasicBlock, (1,) * number, list(channels), channels,
            **kwargs).eval()
        for cls in (HRModule, PSMHRModule)
    ]  # fmt: skip


@pytest.mark.parametrize('multiscale_output', [True, False])
@pytest.mark.parametrize('channels', [(8,), (8, 16), (8, 16, 32)])
def test_equals_mmposes_with_its_weights(channels, multiscale_output):
    """Of one branch: that branch, and no ReLU behind it."""
    torch.manual_seed(0)
    plain, ours = make_pair(channels, multiscale_output=multiscale_output)
    outputs = len(channels) if multiscale_output else 1
    # The one at the lowest resolution has nothing to upsample.
    assert len(ours.fusions) == min(outputs, len(channels) - 1)
    ours.load_state_dict(plain.state_dict())
    x = [torch.randn(2, c, 16 >> i, 24 >> i) for i, c in enumerate(channels)]
    # Both modules write into the list.
    expected, actual = plain([*x]), ours([*x])
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected):
        torch.testing.assert_close(a, e, rtol=0, atol=1e-5)


def test_refuses_another_upsampling():
    upsample = dict(mode='bilinear', align_corners=False)
    with pytest.raises(ValueError, match=r"'nearest' or left out.*bilinear"):
        PSMHRModule(1, BasicBlock, (1,), [8], (8,), upsample_cfg=upsample)

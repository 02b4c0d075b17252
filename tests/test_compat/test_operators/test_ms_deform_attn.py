import pytest
import torch
from mmcv.ops import multi_scale_deform_attn as module
from torch.testing import assert_close

from mmpose_ext.compat import operators


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_a_device_computes_what_a_cpu_does(monkeypatch, dtype):
    """mmcv calls the operator on a device only; here on a CPU."""
    monkeypatch.setattr(module, 'ext_module', operators)
    torch.manual_seed(0)
    shapes = torch.tensor([[6, 4], [3, 2]])
    value = torch.rand(2, 30, 3, 5, dtype=dtype)
    places = torch.rand(2, 7, 3, 2, 4, 2, dtype=dtype) * 1.4 - 0.2
    weights = torch.rand(2, 7, 3, 2, 4, dtype=dtype)
    results = []
    for on_cpu in (True, False):
        given = [x.clone().requires_grad_() for x in (value, places, weights)]
        if on_cpu:
            function = module.multi_scale_deformable_attn_pytorch
            out = function(given[0], shapes, *given[1:])
        else:
            function = module.MultiScaleDeformableAttnFunction.apply
            starts = torch.tensor([0, 24])
            out = function(given[0], shapes, starts, *given[1:], 64)
        out.backward(torch.linspace(-1, 1, 210, dtype=dtype).view_as(out))
        results.append([out.detach(), *(x.grad for x in given)])
    assert results[0][0].shape == (2, 7, 15)
    for ours, theirs in zip(*results):
        assert_close(ours, theirs)

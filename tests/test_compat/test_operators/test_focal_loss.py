import importlib
import math

import pytest
import torch
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss
from torch.testing import assert_close

from mmpose_ext.compat import operators

mmcv_module = importlib.import_module('mmcv.ops.focal_loss')
# The last is the background.
TARGET = torch.tensor([0, 1, 2, 3, 1])


@pytest.fixture(autouse=True)
def over_ours(monkeypatch):
    """mmcv has this operator for GPUs only."""
    monkeypatch.setattr(mmcv_module, 'ext_module', operators)


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    return (3 * logits).requires_grad_()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('gamma, alpha', [(2.0, 0.25), (0.0, 0.5), (1.5, 0.9)])
@pytest.mark.parametrize('reduction', ['sum', 'none'])
def test_losses_and_gradients_are_mmdets(
    logits, dtype, gamma, alpha, reduction
):
    results = []
    direction = torch.linspace(0.5, 1, 15, dtype=dtype).view(5, 3)
    one_hot = torch.eye(4, dtype=dtype)[TARGET][:, :3]
    for function, *args in (
        (mmcv_module.sigmoid_focal_loss, TARGET, gamma, alpha, None),
        (py_sigmoid_focal_loss, one_hot, None, gamma, alpha),
    ):
        given = logits.detach().to(dtype).requires_grad_()
        loss = function(given, *args, reduction)
        loss.backward(direction if loss.dim() else None)
        results.append((loss.detach(), given.grad))
    for ours, mmdets in zip(*results):
        assert_close(ours, mmdets, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('weight', [None, torch.tensor([1.0, 2, 3]).double()])
def test_derivatives(logits, weight):
    target = TARGET.clamp(max=2)
    assert torch.autograd.gradcheck(
        lambda logits: mmcv_module.sigmoid_focal_loss(
            logits, target, 2.0, 0.25, weight, 'sum'
        ),
        logits,
    )


def test_weights_are_those_of_the_samples_classes(logits):
    target = TARGET.clamp(max=2)
    weight = torch.tensor([1.0, 2, 3]).double()
    args = target, 2.0, 0.25
    losses = mmcv_module.sigmoid_focal_loss(logits, *args, None, 'none')
    weighted = mmcv_module.sigmoid_focal_loss(logits, *args, weight, 'none')
    assert_close(weighted, losses * weight[target][:, None])


def test_the_loss_of_a_sure_error_ends_as_that_of_mmcv():
    """At the logarithm of the smallest number of single precision."""
    logits = torch.tensor([[200.0, -200]])
    loss = mmcv_module.sigmoid_focal_loss(
        logits, torch.tensor([1]), 2.0, 0.25, None, 'none'
    )
    smallest = math.log(torch.finfo(torch.float32).tiny)
    assert_close(loss, -smallest * torch.tensor([[0.75, 0.25]]))


def test_half_precision_is_computed_in_single(logits):
    half = logits.detach().half()
    args = TARGET, 2.0, 0.25, None, 'none'
    loss = mmcv_module.sigmoid_focal_loss(half, *args)
    single = mmcv_module.sigmoid_focal_loss(half.float(), *args)
    assert torch.equal(loss, single.half())


def test_no_samples():
    logits = torch.zeros(0, 3, requires_grad=True)
    loss = mmcv_module.sigmoid_focal_loss(
        logits, TARGET[:0], 2.0, 0.25, None, 'sum'
    )
    loss.backward()
    assert loss == 0
    assert logits.grad.shape == (0, 3)

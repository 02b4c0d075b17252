import importlib

import pytest
import torch
from operators_of_mmcv import (
    assert_as_mmcvs,
    cases,
    compiled,
    needs_compiled,
)

from mmpose_ext.compat import operators
from mmpose_ext.compat.operators import roi_align
from mmpose_ext.compat.torchvision_ops import has_torchvision_op

mmcv_module = importlib.import_module('mmcv.ops.roi_align')
needs_torchvision = pytest.mark.skipif(
    not has_torchvision_op('roi_align', torch.device('cpu')),
    reason='needs a torchvision whose compiled part loads',
)


def pool(extension, maps, regions, bins, *args):
    """What one call over an extension writes."""
    output = maps.new_zeros(len(regions), maps.shape[1], *bins)
    argmax = [torch.zeros_like(output) for _ in range(2)]
    extension.roi_align_forward(maps, regions, output, *argmax, *bins, *args)
    return output, *argmax


@pytest.mark.parametrize('name', cases('roi_align'))
@pytest.mark.parametrize('chunk', [roi_align._CHUNK, 1])
def test_results_and_gradients_are_mmcvs(name, chunk, monkeypatch):
    monkeypatch.setattr(roi_align, '_CHUNK', chunk)
    assert_as_mmcvs(name)


@needs_torchvision
def test_results_over_torchvision_are_mmcvs(monkeypatch):
    monkeypatch.setattr(roi_align, '_prefers_torchvision', lambda _: True)
    for name in cases('roi_align'):
        assert_as_mmcvs(name)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_derivatives(mode, aligned, monkeypatch):
    monkeypatch.setattr(mmcv_module, 'ext_module', operators)
    torch.manual_seed(0)
    maps = torch.randn(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    regions = torch.tensor([[0, 1, 2, 17, 9.0], [1, -9, 3, 40, 30]]).double()
    assert torch.autograd.gradcheck(
        lambda maps: mmcv_module.roi_align(
            maps, regions, (2, 3), 0.25, 0, mode, aligned
        ),
        maps,
    )


@needs_compiled
@pytest.mark.parametrize('mode', [0, 1])
def test_half_precision_is_as_exact_as_mmcvs(mode):
    torch.manual_seed(0)
    maps = torch.randn(2, 8, 20, 30)
    regions = torch.tensor([[0, 2, 3, 70, 41.0], [1, 9, 3, 40, 30]])
    settings = (4, 4), 0.25, 0, mode, True
    exact = pool(operators, maps, regions, *settings)[0]
    ours, mmcvs = (
        pool(extension, maps.half(), regions.half(), *settings)[0]
        for extension in (operators, compiled)
    )
    assert ours.dtype == torch.float16
    errors = [(x - exact).abs().mean() for x in (ours, mmcvs)]
    assert errors[0] < 1.5 * errors[1] + 1e-6


def test_a_gradient_of_any_layout():
    regions = torch.tensor([[0, 2, 3, 70, 41.0], [1, 9, 3, 40, 30]])
    gradient = torch.randn(2, 8, 4, 4)
    settings = 4, 4, 0.25, 0, 1, True
    none = torch.zeros(0)
    results = []
    for given in (
        gradient,
        gradient.to(memory_format=torch.channels_last),
        gradient[..., :1].expand(-1, -1, -1, 4),
        gradient[..., :1].repeat(1, 1, 1, 4),
    ):
        results.append(torch.zeros(2, 8, 20, 30))
        operators.roi_align_backward(
            given, regions, none, none, results[-1], *settings
        )
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[2], results[3])


@pytest.mark.parametrize('mode, empty', [(0, -10000), (1, 0)])
def test_a_region_that_is_no_region_pools_nothing(mode, empty):
    regions = torch.tensor([[0, 5, 5, 1, 1], [0, torch.nan, 1, 5, 5]])
    output, *argmax = pool(
        operators, torch.ones(1, 2, 4, 4), regions, (2, 2), 1.0, 0, mode, True
    )
    assert torch.equal(output, torch.full_like(output, empty))
    assert mode or all((positions == -1).all() for positions in argmax)


def test_the_last_row_reaches_one_cell_beyond():
    # Samples at 4, which is the size, and a quarter of a cell beyond.
    maps = torch.ones(1, 1, 4, 4)
    regions = torch.tensor([[0, 0, 3.5, 1, 4.5], [0, 0, 3.75, 1, 4.75]])
    output, *_ = pool(operators, maps, regions, (1, 1), 1.0, 1, 1, False)
    assert output.flatten().tolist() == [1, 0]


def test_the_scale_is_in_single_precision():
    # The sample is at 2, which is the size, but for that.
    maps = torch.ones(1, 1, 2, 4, dtype=torch.float64)
    regions = torch.tensor([[0, 0, 4.5, 1, 7.5]], dtype=torch.float64)
    output, *_ = pool(operators, maps, regions, (1, 1), 1 / 3, 1, 1, False)
    assert output.item() == 0


def test_where_pytorch_is_told_to_be_deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        for name in ('avg, float32', 'max, float32'):
            assert_as_mmcvs(
                f'roi_align of some, {name}, aligned True, 0 samples'
            )
    finally:
        torch.use_deterministic_algorithms(False)

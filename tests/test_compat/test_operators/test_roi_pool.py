import importlib
import itertools
import math

import pytest
import torch

from mmpose_ext.compat import operators
from mmpose_ext.compat.operators import roi_pool

mmcv_module = importlib.import_module('mmcv.ops.roi_pool')
REGIONS = torch.tensor(
    [
        [0, 1, 2, 30, 20],
        [1, -30, -3, 50, 17],  # beyond three sides
        [0, 100, 100, 120, 130],  # beyond the map
        [1, 5, 5, 4, 9],  # of no width, the last cell included
        [1, 9, 9, 5, 20],
        [0, 5, 5, 5, 5],
    ]
).double()


@pytest.fixture(autouse=True)
def over_ours(monkeypatch):
    """mmcv has this operator for GPUs only."""
    monkeypatch.setattr(mmcv_module, 'ext_module', operators)


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, 7, 9, dtype=torch.float64, generator=generator)
    return maps.requires_grad_()


def pool_each(maps, regions, bins, scale):
    """One bin after the other."""
    output = maps.new_zeros(len(regions), maps.shape[1], *bins)
    for i, (index, x1, y1, x2, y2) in enumerate(regions.tolist()):
        starts = y1 * scale, x1 * scale
        extents = (y2 + 1 - y1) * scale, (x2 + 1 - x1) * scale
        if min(extents) <= 0:
            continue
        for bin in itertools.product(*map(range, bins)):
            sides = [
                slice(
                    max(math.floor(start + j * extent / n), 0),
                    max(math.ceil(start + (j + 1) * extent / n), 0),
                )
                for start, extent, n, j in zip(starts, extents, bins, bin)
            ]
            cells = maps[int(index), :, sides[0], sides[1]]
            if cells.numel():
                output[(i, slice(None), *bin)] = cells.amax((1, 2))
    return output


@pytest.mark.parametrize('bins', [(1, 1), (2, 3), (7, 7)])
@pytest.mark.parametrize('chunk', [roi_pool._CHUNK, 1])
def test_the_largest_of_each_bin(maps, bins, chunk, monkeypatch):
    monkeypatch.setattr(roi_pool, '_CHUNK', chunk)
    output = mmcv_module.roi_pool(maps, REGIONS, bins, 0.25)
    assert torch.equal(output, pool_each(maps, REGIONS, bins, 0.25))
    assert torch.autograd.gradcheck(
        lambda maps: mmcv_module.roi_pool(maps, REGIONS, bins, 0.25), maps
    )


def test_no_regions(maps):
    output = mmcv_module.roi_pool(maps, REGIONS[:0], 2, 0.25)
    assert output.shape == (0, 3, 2, 2)
    output.sum().backward()
    assert not maps.grad.any()


def test_the_first_of_equal_cells_has_the_gradient():
    maps = torch.ones(1, 1, 4, 4, requires_grad=True)
    regions = torch.tensor([[0, 1, 1, 3, 3.0]])
    mmcv_module.roi_pool(maps, regions, 1, 1.0).backward()
    expected = torch.zeros(4, 4)
    expected[1, 1] = 1
    assert torch.equal(maps.grad[0, 0], expected)

import pytest
import torch
from logocap_reference import sample
from torch.nn import functional as F
from torch.testing import assert_close

from mmpose_ext.models.layers.keypoint_sampling import (
    axis_matrix,
    border_weights,
    sample_codes,
    sample_windows,
)


@pytest.mark.parametrize(
    'x, value',
    [
        (-7.3, 2),
        (-0.5, 2),
        (0, 2),
        (0.25, 2.75),
        (1.5, 6.5),
        (2, 8),
        (2.5, 9),
        (3, 0),
        (3.25, 2.5),
        (3.75, 7.5),
        (4, 10),
        (90.5, 10),
    ],
)
def test_border_rule(x, value):
    plane = torch.tensor([2.0, 5, 8, 10])
    x0, x1, w0, w1 = border_weights(torch.tensor(x), 4)
    assert w0 * plane[int(x0)] + w1 * plane[int(x1)] == value


def make_poses(n, k, width, height, margin=30):
    size = torch.tensor([width, height]) + 2 * margin
    return torch.rand(n, k, 2, dtype=torch.double) * size - margin


@pytest.mark.parametrize('height, width', [(7, 9), (2, 3), (1, 1), (24, 5)])
@pytest.mark.parametrize('radius', [0, 3, 10])
def test_windows_equal_samples_of_the_whole_map(height, width, radius):
    torch.manual_seed(0)
    maps = torch.randn(2, 3, height, width, dtype=torch.double)
    poses = make_poses(6, 3, 4 * width, 4 * height)
    # On the last pixel, where the rule is odd, and just before and after.
    poses[0, :, 0] = 4 * width - torch.tensor([1, 0.5, 0])
    poses[1, :, 1] = 4 * height - torch.tensor([1, 1.25, -0.25])
    image = torch.tensor([0, 1, 1, 0, 1, 0])
    steps = torch.arange(-radius, radius + 1)
    windows = sample_windows(
        maps, image, poses[..., :1] + steps, poses[..., 1:] + steps, 4
    )
    large = F.interpolate(maps, scale_factor=4, mode='bilinear')
    expected = torch.empty_like(windows)
    for i, pose in enumerate(poses.tolist()):
        for k, (x, y) in enumerate(pose):
            for r, dy in enumerate(steps.tolist()):
                for c, dx in enumerate(steps.tolist()):
                    plane = large[image[i], k]
                    expected[i, k, r, c] = sample(plane, x + dx, y + dy)
    assert_close(windows, expected)


@pytest.mark.parametrize('height, width', [(7, 9), (2, 3), (20, 24)])
def test_codes_equal_samples_of_the_map(height, width):
    torch.manual_seed(0)
    embedding = torch.randn(2, 4, height, width, dtype=torch.double)
    # More than are sampled at once.
    poses = make_poses(9, 3, width, height, margin=8)
    poses[0, :, 0] = width - torch.tensor([1, 0.5, 0])
    image = torch.tensor([0, 1, 1, 0, 1, 1, 0, 0, 1])
    spacing = torch.tensor([0.25, 1.07, 0.6], dtype=torch.double)
    steps = spacing[:, None] * torch.arange(-2, 3)
    x, y = poses[..., :1] + steps, poses[..., 1:] + steps
    codes = sample_codes(embedding, image, x, y, span=4 * 1.07)
    assert codes.shape == (9, 12, 5, 5)
    for i in (0, 1, 7, 8):
        for k in range(3):
            for e in range(4):
                for r in range(5):
                    for c in range(5):
                        value = sample(
                            embedding[image[i], e],
                            x[i, k, c].item(),
                            y[i, k, r].item(),
                        )
                        assert codes[i, 4 * k + e, r, c].item() == (
                            pytest.approx(value, abs=1e-12)
                        )


def test_windows_are_weighted_along_both_axes():
    maps = torch.full((1, 1, 8, 8), 2.0)
    x = torch.tensor([[[10.0, 11, 12]]])
    weights = torch.tensor([0.5, 1, 0.25])
    image = torch.tensor([0])
    windows = sample_windows(maps, image, x, x, 4, weights)
    expected = [[0.5, 1, 0.25], [1, 2, 0.5], [0.25, 0.5, 0.125]]
    assert_close(windows[0, 0], torch.tensor(expected))


def test_far_outside_is_the_edge():
    maps = torch.arange(12.0).view(1, 1, 3, 4)
    for place, value in ((-1e9, 0), (1e9, 11)):
        at = torch.full((1, 1, 1), place)
        image = torch.zeros(1, dtype=torch.long)
        assert sample_windows(maps, image, at, at, 4) == value


def test_matrices_are_as_narrow_as_the_span_allows():
    x = torch.rand(50, 1) * 500 + torch.arange(97)
    matrix, cells = axis_matrix(x, 128, span=96, ratio=4)
    assert matrix.shape == (50, 97, 27)
    # Every row is whole: no cell that it needs is missing.
    inside = x < 511
    assert_close(matrix.sum(-1)[inside], torch.ones(int(inside.sum())))
    assert cells.min() >= 0 and cells.max() <= 127


def test_matrices_of_grids_with_wide_steps():
    """With a cell more than 2 + 4.28 may need, and no more than there are."""
    x = torch.tensor([[3.7, 5.84, 7.98], [0.2, 2.34, 4.48]])
    matrix, cells = axis_matrix(x, 64, span=4.28)
    assert matrix.shape == (2, 3, 8) and cells.shape == (2, 8)
    assert cells[:, 0].tolist() == [3, 0]
    assert_close((matrix * cells[:, None]).sum(-1), x)
    matrix, cells = axis_matrix(x, 5, span=4.28)
    assert matrix.shape == (2, 3, 5)
    assert cells.tolist() == [[0, 1, 2, 3, 4]] * 2


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_is_widened(dtype):
    torch.manual_seed(0)
    maps = torch.randn(1, 2, 40, 40).to(dtype)
    image = torch.tensor([0])
    x = torch.tensor([[[32.3, 33.2], [20.1, 21.1]]])
    args = (sample_windows, (x, x, 4)), (sample_codes, (x, x, 1.0))
    for function, rest in args:
        expected = function(maps.float(), image, *rest)
        assert expected.dtype == torch.float32
        with torch.autocast('cpu', torch.bfloat16):
            for given in (maps, maps.float()):
                actual = function(given, image, *rest)
                assert_close(actual, expected, rtol=0, atol=0)
        assert_close(function(maps, image, *rest), expected, rtol=0, atol=0)


def test_gradients():
    torch.manual_seed(0)
    maps = torch.randn(2, 2, 4, 5, dtype=torch.double, requires_grad=True)
    poses = make_poses(3, 2, 20, 16, margin=4)
    image = torch.tensor([0, 0, 1])
    steps = torch.arange(-2, 3)

    def windows(maps):
        x, y = poses[..., :1] + steps, poses[..., 1:] + steps
        return sample_windows(maps, image, x, y, 4)

    def codes(maps):
        x, y = poses[..., :1] / 4 + steps, poses[..., 1:] / 4 + steps
        return sample_codes(maps, image, x, y, span=4)

    assert torch.autograd.gradcheck(windows, (maps,))
    assert torch.autograd.gradcheck(codes, (maps,))

import pytest
import torch
from torch.nn import functional as F

from mmpose_ext.models.necks import GPRNeck


def make_maps(*shapes):
    torch.manual_seed(0)
    return [torch.randn(2, *shape) for shape in shapes]


def norm(x, bn):
    """Batch normalization in eval mode, written out."""
    shape = (1, -1, 1, 1)
    x = (x - bn.running_mean.view(shape)) / torch.sqrt(
        bn.running_var.view(shape) + bn.eps
    )
    return x * bn.weight.view(shape) + bn.bias.view(shape)


@pytest.mark.parametrize('h, w', [(8, 6), (7, 5), (8, 5), (7, 6)])
def test_follows_equations_4_to_6(h, w):
    """Two maps, computed once more with torch's functions alone."""
    neck = GPRNeck([4, 8]).eval()
    for module in neck.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    high, low = make_maps((4, h, w), (8, 4, 3))
    step = neck.steps[0]

    d = F.conv_transpose2d(low, step.deconv.conv.weight, stride=2, padding=1)
    d = F.relu(norm(d, step.deconv.bn))[..., :h, :w]
    u = F.interpolate(low, (h, w), mode='bilinear')
    u = F.conv2d(u, step.interpolated.conv.weight)
    u = norm(u, step.interpolated.bn)
    x = torch.cat([d + u, high], 1)
    x = F.conv2d(x, step.reduce.conv.weight, padding=1)
    x = F.relu(norm(x, step.reduce.bn))
    x = F.conv2d(x, neck.out.conv.weight, padding=1)
    expected = F.relu(norm(x, neck.out.bn))

    (actual,) = neck([high, low])
    torch.testing.assert_close(actual, expected)


def test_what_odd_sizes_cut_off_by_hand():
    """A deconvolution that puts cell i at 2 i: the last row and column go."""
    step = GPRNeck([1, 1]).steps[0].eval()
    with torch.no_grad():
        for conv in (step.deconv, step.interpolated, step.reduce):
            conv.conv.weight.zero_()
            conv.bn.eps = 0
        # Output 2 i + k - 1 takes cell i times the kernel's k.
        step.deconv.conv.weight[..., 1, 1] = 1
        step.reduce.conv.weight[0, 0, 1, 1] = 1
    low = torch.tensor([[1.0, 2], [3, 4]]).view(1, 1, 2, 2)
    expected = torch.tensor([[1.0, 0, 2], [0, 0, 0], [3, 0, 4]])
    actual = step(low, torch.zeros(1, 1, 3, 3))
    torch.testing.assert_close(actual, expected.view(1, 1, 3, 3))


@pytest.mark.parametrize('h', [8, 9, 15])
def test_odd_sizes_and_gradients(h):
    sizes = [h]
    for _ in range(3):
        sizes.append((sizes[-1] + 1) // 2)
    channels = [4, 6, 5, 12]
    maps = make_maps(*((c, s, s + 4) for c, s in zip(channels, sizes)))
    maps = [F.interpolate(x, (s, s)) for x, s in zip(maps, sizes)]
    neck = GPRNeck(channels)
    (x,) = neck(maps)
    assert x.shape == (2, 4, h, h)
    x.square().mean().backward()
    for name, parameter in neck.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_parameters_follow_from_the_papers_table():
    """28.5 M of HRNet W32 plus this neck gives the paper's 31.4 M."""
    count = sum(p.numel() for p in GPRNeck([32, 64, 128, 256]).parameters())
    steps = [
        16 * c * c + c * c + 9 * (c + c // 2) * c // 2 for c in (256, 128, 64)
    ]
    norms = [2 * (c + c + c // 2) for c in (256, 128, 64)]
    assert count == sum(steps) + sum(norms) + 9 * 32 * 32 + 2 * 32


@pytest.mark.parametrize('in_channels', [[4], 4, [4, 'x'], [], [4, 0]])
def test_refuses_wrong_in_channels(in_channels):
    with pytest.raises(ValueError, match=r'^in_channels.* got '):
        GPRNeck(in_channels)


def test_refuses_maps_of_other_channels_or_sizes():
    neck = GPRNeck([4, 8])
    with pytest.raises(ValueError, match=r'maps of \[4, 8\] channels, got'):
        neck(make_maps((4, 8, 8), (6, 4, 4)))
    with pytest.raises(ValueError, match='half as large'):
        neck(make_maps((4, 8, 8), (8, 8, 8)))

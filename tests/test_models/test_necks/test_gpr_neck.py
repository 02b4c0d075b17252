import pytest
import torch
from torch.nn import functional as F

from mmpose_ext.models.necks import GPRNeck


def make_maps(*shapes):
    torch.manual_seed(0)
    return [torch.randn(2, *shape) for shape in shapes]


@pytest.mark.parametrize('h, w', [(8, 6), (7, 5), (8, 5), (7, 6)])
def test_follows_equations_4_to_6(h, w, plain_conv, randomise, upsample):
    """Two maps, computed once more with torch's functions alone."""
    neck = randomise(GPRNeck([4, 8]))
    state = neck.state_dict()
    high, low = (x.double() for x in make_maps((4, h, w), (8, 4, 3)))

    weight = state['steps.0.deconv.conv.weight']
    d = F.conv_transpose2d(low, weight, stride=2, padding=1)
    # The norm alone, behind a convolution that changes nothing.
    eye = torch.eye(8).double()[..., None, None]
    d = plain_conv(
        d,
        {**state, 'steps.0.deconv.conv.weight': eye},
        'steps.0.deconv',
    )[..., :h, :w]
    u = plain_conv(
        upsample(low, (h, w)), state, 'steps.0.interpolated', relu=False
    )
    x = torch.cat([d + u, high], 1)
    x = plain_conv(x, state, 'steps.0.reduce', padding=1)
    expected = plain_conv(x, state, 'out', padding=1)

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
    channels = [4, 6, 5, 12]
    sizes = [-(-h // 2**k) for k in range(4)]
    maps = make_maps(*((c, s, s) for c, s in zip(channels, sizes)))
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


def test_refuses_other_channels_and_maps():
    with pytest.raises(ValueError, match=r'^in_channels.* got \[4\]'):
        GPRNeck([4])
    neck = GPRNeck([4, 8])
    with pytest.raises(ValueError, match=r'maps of \[4, 8\] channels, got'):
        neck(make_maps((4, 8, 8), (6, 4, 4)))
    with pytest.raises(ValueError, match='half as large'):
        neck(make_maps((4, 8, 8), (8, 8, 8)))

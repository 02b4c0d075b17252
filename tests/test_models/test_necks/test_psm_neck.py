import pytest
import torch

from mmpose_ext.models.backbones import PSMHRNet
from mmpose_ext.models.necks import PSMNeck


def make_maps(channels, h, w):
    """Maps of (h, w) and its halves, rounded up."""
    torch.manual_seed(0)
    return [
        torch.randn(2, c, -(-h // 2**k), -(-w // 2**k))
        for k, c in enumerate(channels)
    ]


def test_merges_from_low_to_high():
    neck = PSMNeck([4, 6, 8], upsample_to_half=True).eval()
    x0, x1, x2 = make_maps([4, 6, 8], 12, 8)
    x = torch.relu(neck.steps[1](x1, [x2]))
    x = torch.relu(neck.steps[0](x0, [x]))
    (actual,) = neck([x0, x1, x2])
    torch.testing.assert_close(actual, torch.relu(neck.up(x)))
    assert actual.shape == (2, 4, 24, 16)


@pytest.mark.parametrize('expansion', ['full', 'literal'])
@pytest.mark.parametrize('upsample_to_half', [False, True])
@pytest.mark.parametrize('h, w', [(16, 8), (15, 9)])
def test_odd_sizes_and_gradients(h, w, upsample_to_half, expansion):
    channels = [4, 6, 10, 12]
    neck = PSMNeck(channels, upsample_to_half, expansion)
    neck.init_weights()
    (x,) = neck(make_maps(channels, h, w))
    factor = 2 if upsample_to_half else 1
    assert x.shape == (2, 4, factor * h, factor * w)
    x.square().mean().backward()
    for name, parameter in neck.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_takes_the_stems_map_for_half_the_size_of_the_input():
    channels = (4, 8, 16, 32)
    stages = {
        f'stage{n}': dict(
            num_modules=1,
            num_branches=n,
            block='BASIC',
            num_blocks=(1,) * n,
            num_channels=channels[:n],
            multiscale_output=True,
        )
        for n in range(1, 5)
    }
    backbone = PSMHRNet(stages, with_stem_map=True)
    neck = PSMNeck([64, *channels])
    for h, w in ((64, 96), (75, 50)):
        (x,) = neck(backbone(torch.randn(2, 3, h, w)))
        assert x.shape == (2, 64, -(-h // 2), -(-w // 2))


def test_starts_by_itself_under_an_init_cfg():
    init_cfg = dict(type='Normal', layer='Conv2d', std=0.001)
    neck = PSMNeck([4, 8], upsample_to_half=True, init_cfg=init_cfg)
    neck.init_weights()
    eye = torch.eye(4)[..., None, None]
    for conv in (neck.steps[0].high, neck.steps[0].ups[0][3], neck.up[3]):
        torch.testing.assert_close(conv.weight, eye)
    assert neck.up[0].weight.abs().max() < 0.01


def test_refuses_other_arguments_and_maps():
    for args, message in (
        (([4],), r'^in_channels.* got \[4\]'),
        (([4, 8], False, 'double'), "got 'double'"),
        (([5, 8], False, 'literal'), 'multiple of the ratio 2, got 5'),
    ):
        with pytest.raises(ValueError, match=message):
            PSMNeck(*args)
    neck = PSMNeck([4, 8])
    with pytest.raises(ValueError, match=r'maps of \[4, 8\] channels, got'):
        neck(make_maps([4, 6], 8, 8))
    high, low = make_maps([4, 8], 8, 8)
    with pytest.raises(ValueError, match='half as large'):
        neck([high, low.repeat(1, 1, 2, 2)])

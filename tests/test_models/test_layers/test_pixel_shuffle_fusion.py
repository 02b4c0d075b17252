import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmpose_ext.models.layers import PixelShuffleFusion, PixelShuffleUpsample


def randomize(module):
    torch.manual_seed(0)
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.normal_(m.weight)
            if m.bias is not None:
                nn.init.normal_(m.bias)
        elif isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.weight)
            nn.init.normal_(m.bias)
            nn.init.normal_(m.running_mean)
            nn.init.uniform_(m.running_var, 0.5, 2)


def conv(x, weight, bias=0):
    """1x1 convolution of a map (C, H, W), written out."""
    return torch.einsum('oi,ihw->ohw', weight[..., 0, 0], x) + (
        bias[:, None, None] if torch.is_tensor(bias) else bias
    )


def norm(x, bn):
    """Batch normalization in eval mode, written out."""
    scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    return (x - bn.running_mean[:, None, None]) * scale[:, None, None] + (
        bn.bias[:, None, None]
    )


def shuffle(x, r):
    """Cell (y, x) of channel c is channel (c, y % r, x % r) of its block."""
    channels, h, w = x.shape
    out = torch.empty(channels // r**2, h * r, w * r)
    for c in range(out.shape[0]):
        for i in range(h * r):
            for j in range(w * r):
                k = (c * r + i % r) * r + j % r
                out[c, i, j] = x[k, i // r, j // r]
    return out


@pytest.mark.parametrize('expansion', ['full', 'literal'])
@pytest.mark.parametrize('h, w', [(8, 4), (5, 7), (6, 3)])
def test_follows_the_papers_figure(expansion, h, w):
    """Two lower maps, computed once more cell by cell."""
    fusion = PixelShuffleFusion(4, [6, 5], expansion).eval()
    randomize(fusion)
    high = torch.randn(4, h, w)
    lows, expected = [], conv(high, fusion.high.weight, fusion.high.bias)
    for k, (up, channels) in enumerate(zip(fusion.ups, [6, 5]), start=1):
        r = 2**k
        filters = 4 * r * r if expansion == 'full' else 4 * r
        assert up[0].weight.shape == (filters, channels, 1, 1)
        lows.append(torch.randn(channels, -(-h // r), -(-w // r)))
        x = shuffle(norm(conv(lows[-1], up[0].weight), up[1]), r)
        expected += conv(x, up[3].weight, up[3].bias)[:, :h, :w]
    actual = fusion(high[None], [x[None] for x in lows])
    torch.testing.assert_close(actual, expected[None])


def test_adds_other_maps_as_they_are():
    fusion = PixelShuffleFusion(4, [8]).eval()
    high, low = torch.randn(1, 4, 6, 6), torch.randn(1, 8, 3, 3)
    others = torch.randn(2, 1, 4, 6, 6)
    torch.testing.assert_close(
        fusion(high, [low], others), fusion(high, [low]) + others.sum(0)
    )


@pytest.mark.parametrize('ratio', [2, 4])
def test_repeated_filters_are_nearest_upsampling(ratio):
    up = PixelShuffleUpsample(6, 4, ratio)
    plain = nn.Sequential(nn.Conv2d(6, 4, 1, bias=False), nn.BatchNorm2d(4))
    randomize(plain)
    with torch.no_grad():
        for ours, theirs in zip(up.parameters(), plain.parameters()):
            ours.copy_(theirs.repeat_interleave(ratio**2, 0))
    x = torch.randn(3, 6, 5, 4)
    torch.testing.assert_close(
        up(x), F.interpolate(plain(x), scale_factor=ratio, mode='nearest')
    )


def test_starts_as_the_identity_whatever_a_parent_does():
    fusion = PixelShuffleFusion(4, [8])
    for _ in range(2):
        for m in (fusion.high, fusion.ups[0][3]):
            eye = torch.eye(4)[..., None, None]
            torch.testing.assert_close(m.weight, eye)
            assert not m.bias.any()
        for m in fusion.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.normal_(m.weight, std=0.001)
        fusion.init_weights()


def test_literal_starts_with_the_variance_kept():
    torch.manual_seed(0)
    up = PixelShuffleUpsample(512, 256, 2, 'literal')
    for m in up.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.normal_(m.weight, std=0.001)
    up.init_weights()
    x = up(torch.randn(2, 512, 9, 9)).detach()
    assert x.var() == pytest.approx(1, rel=0.1)


def test_gradient():
    torch.manual_seed(0)
    fusion = PixelShuffleFusion(2, [3, 2], 'full').double().eval()
    randomize(fusion)
    maps = [
        torch.randn(1, c, s, s, dtype=torch.double, requires_grad=True)
        for c, s in ((2, 5), (3, 3), (2, 2))
    ]
    assert torch.autograd.gradcheck(lambda x, *y: fusion(x, y), maps)


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="'full', 'literal', got 'double'"):
        PixelShuffleFusion(4, [8], 'double')
    with pytest.raises(ValueError, match=r'high_channels must .* got 0$'):
        PixelShuffleFusion(0, [8])
    with pytest.raises(ValueError, match=r'low_channels\[1\] must .* got 0$'):
        PixelShuffleFusion(4, [8, 0])
    for args, message in (
        ((0, 4, 2), r'low_channels must .* got 0$'),
        ((4, 2.5, 2), r'high_channels must .* got 2\.5$'),
        ((4, 4, 0), r'ratio must .* got 0$'),
    ):
        with pytest.raises(ValueError, match=message):
            PixelShuffleUpsample(*args)
    with pytest.raises(ValueError, match='multiple of the ratio 4, got 6'):
        PixelShuffleFusion(6, [12, 24], 'literal')

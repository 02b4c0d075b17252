"""RAM's fusion by hand, and by equations 1 to 3 in plain loops."""

import math

import pytest
import torch
from torch.nn import functional as F

from mmpose_ext.models.layers.ram_hr_module import RAMHRModule
from mmpose_ext.models.necks import RAMNeck


def test_fusion_by_hand():
    """One channel, 3 cells above 2, of which upsampling repeats the first."""
    neck = RAMNeck([1, 1], multiscale_output=False).eval()
    conv, norm, _ = neck.fuse_layers[0][1]
    norm.eps = 0
    attention = neck.attention[0]
    with torch.no_grad():
        conv.weight.fill_(1)
        attention.weight.copy_(torch.tensor([[0.0], [math.log(3) / 7]]))
        attention.omega.copy_(torch.tensor([4.0, 8]))
        attention.beta.copy_(torch.tensor([1.0, 2]))
    high = torch.tensor([1.0, 2, 3]).view(1, 1, 1, 3)
    low = torch.tensor([5.0, 11]).view(1, 1, 1, 2)
    # 5, 5, 11 have a mean of 7, hence scores of 0 and ln 3, a softmax of 1/4
    # and 3/4, and weights of 4 / 4 + 1 = 2 and 8 * 3/4 + 2 = 8.
    expected = torch.tensor([2 + 40.0, 4 + 40, 6 + 88]).view(1, 1, 1, 3)
    torch.testing.assert_close(neck([high, low])[0], expected)


def rescale(module, x, j, i, **upsample):
    """T of equation 3: map j at the resolution of map i."""
    if j == i:
        return x[j]
    path = module.fuse_layers[i][j]
    if j < i:
        return path(x[j])
    return F.interpolate(path[1](path[0](x[j])), x[i].shape[2:], **upsample)


def fuse_in_loops(module, x, **upsample):
    """Equations 1 to 3, sample by sample and scalar by scalar."""
    outputs = []
    for i, attention in enumerate(module.attention):
        maps = [rescale(module, x, j, i, **upsample) for j in range(len(x))]
        output = torch.zeros_like(x[i])
        for n in range(len(output)):
            scores = []
            for h, rescaled in enumerate(maps):
                score = attention.bias[h]
                for c in range(rescaled.shape[1]):
                    cells = rescaled[n, c].flatten()
                    score = score + attention.weight[h, c] * (
                        sum(cells) / len(cells)
                    )
                scores.append(torch.exp(score))
            for h, rescaled in enumerate(maps):
                share = scores[h] / sum(scores)
                weight = attention.omega[h] * share + attention.beta[h]
                output[n] += weight * rescaled[n]
        outputs.append(output.clamp(min=0))
    return outputs


class _Identity(RAMHRModule):
    """Without branches, whose work would only hide the fusion's."""

    def _make_branches(self, num_branches, *args):
        return torch.nn.ModuleList(
            torch.nn.Identity() for _ in range(num_branches)
        )


@pytest.mark.parametrize(
    'sizes', [[(8, 4), (4, 2), (2, 1)], [(9, 7), (5, 4), (3, 2)]]
)
@pytest.mark.parametrize(
    'upsample',
    [
        dict(mode='nearest', align_corners=None),
        dict(mode='bilinear', align_corners=False),
        dict(mode='bilinear', align_corners=True),
    ],
    ids=str,
)
def test_fusion_follows_equations_1_to_3(sizes, upsample, randomise):
    channels = [3, 4, 5]
    module = _Identity(
        3,
        None,
        channels,
        list(channels),
        channels,
        multiscale_output=True,
        upsample_cfg=upsample,
    )
    randomise(module)
    x = [torch.randn(2, c, *size).double() for c, size in zip(channels, sizes)]
    with torch.no_grad():
        expected = fuse_in_loops(module, x, **upsample)
        actual = module(x)
    assert len(actual) == 3
    for a, e in zip(actual, expected):
        assert e.max() > 0.1
        torch.testing.assert_close(a, e)


def test_one_branch_has_nothing_to_weigh():
    module = _Identity(1, None, [3], [3], [3])
    x = torch.randn(2, 3, 4, 5)
    (actual,) = module([x])
    assert torch.equal(actual, x)
    assert not hasattr(module, 'attention')

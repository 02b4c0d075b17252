import pytest
import torch
from mmpose.registry import MODELS
from torch.nn import functional as F

from mmpose_ext.analysis import count_complexity
from mmpose_ext.analysis.networks import Call
from mmpose_ext.models.layers import (
    ASPPContext,
    PyramidPoolingContext,
    UShapedContext,
)

MODULES = ('UShapedContext', 'ASPPContext', 'PyramidPoolingContext')
SIZES = [(1, 1), (1, 6), (7, 5), (16, 12), (33, 2)]


def upsample(x, size):
    return F.interpolate(x, size, mode='bilinear', align_corners=False)


def test_bilinear_upsampling_by_hand():
    """Cells are areas: the outer edges of both maps coincide."""
    x = torch.tensor([0.0, 4.0]).view(1, 1, 1, 2)
    expected = torch.tensor([0.0, 1, 3, 4]).view(1, 1, 1, 4)
    torch.testing.assert_close(upsample(x, (1, 4)), expected)


@pytest.mark.parametrize('size', SIZES)
def test_u_shaped_by_torchs_functions_alone(size, plain_conv, randomise):
    module = randomise(UShapedContext(4))
    state = module.state_dict()

    def two(x, name, stride=1):
        x = plain_conv(x, state, f'{name}.0', stride=stride, padding=1)
        return plain_conv(x, state, f'{name}.1', padding=1)

    x = torch.randn(2, 4, *size).double()
    e1 = two(x, 'encoder1', 2)
    e2 = two(e1, 'encoder2', 2)
    d2 = two(torch.cat([e1, upsample(e2, e1.shape[2:])], 1), 'decoder2')
    d1 = two(torch.cat([x, upsample(d2, size)], 1), 'decoder1')

    assert e1.shape == (2, 8, -(-size[0] // 2), -(-size[1] // 2))
    assert d1.shape == x.shape
    torch.testing.assert_close(module(x), d1)


@pytest.mark.parametrize('size', SIZES)
def test_aspp_by_torchs_functions_alone(size, plain_conv, randomise):
    module = randomise(ASPPContext(5, mid_channels=6, neck_channels=3))
    state = module.state_dict()
    x = torch.randn(2, 5, *size).double()

    reduced = plain_conv(x, state, 'reduce')
    outs = []
    for i, rate in enumerate((3, 6, 9, 12)):
        name = f'branches.{i}'
        y = plain_conv(
            reduced, state, f'{name}.0', padding=rate, dilation=rate
        )
        y = plain_conv(y, state, f'{name}.1')
        outs.append(plain_conv(y, state, f'{name}.2', relu=False))
    expected = plain_conv(torch.cat(outs, 1), state, 'fuse', relu=False)

    torch.testing.assert_close(module(x), expected)


def mean_of_windows(x, divisor):
    """Means over windows of the map's size over the divisor, in loops."""
    h, w = (max(1, n // divisor) for n in x.shape[2:])
    rows = [
        torch.stack(
            [
                x[:, :, i : i + h, j : j + w].mean((2, 3))
                for j in range(0, x.shape[3], w)
            ],
            dim=-1,
        )
        for i in range(0, x.shape[2], h)
    ]
    return torch.stack(rows, dim=-2)


@pytest.mark.parametrize('size', SIZES)
def test_pyramid_pooling_by_torchs_functions_alone(
    size, plain_conv, randomise
):
    module = randomise(PyramidPoolingContext(5, mid_channels=3))
    state = module.state_dict()
    x = torch.randn(2, 5, *size).double()

    outs = []
    for i, divisor in enumerate((2, 4, 8, 16)):
        y = mean_of_windows(x, divisor)
        y = plain_conv(y, state, f'pooled.{i}', padding=1)
        outs.append(
            plain_conv(upsample(y, size), state, f'upsampled.{i}', padding=1)
        )
    expected = plain_conv(torch.cat(outs, 1), state, 'fuse')

    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize(
    'name, params, macs, paper_params, paper_gflops',
    [
        ('UShapedContext', 6_440_175, 2.519e9, 6.44e6, 2.53e9),
        ('ASPPContext', 9_529_984, 9.759e9, 9.52e6, 9.75e9),
        ('PyramidPoolingContext', 223_667, 0.071e9, 0.2e6, 0.07e9),
    ],
)
def test_costs_of_the_papers_table_3(
    name, params, macs, paper_params, paper_gflops
):
    module = MODELS.build(dict(type=name, in_channels=145)).eval()
    cost = count_complexity(Call(name, module, (torch.rand(1, 145, 32, 32),)))
    assert cost.params == params
    assert cost.macs == pytest.approx(macs, rel=0.01)
    # The paper's own figures, where it gives more than one digit.
    tolerance = 0.15 if paper_params == 0.2e6 else 0.002
    assert params == pytest.approx(paper_params, rel=tolerance)
    tolerance = 0.03 if paper_params == 0.2e6 else 0.005
    assert cost.macs == pytest.approx(paper_gflops, rel=tolerance)


@pytest.mark.parametrize('name', MODULES)
@pytest.mark.parametrize('size', [(1, 1), (9, 7)])
def test_gradients_reach_every_parameter(name, size, randomise):
    module = randomise(MODELS.build(dict(type=name, in_channels=6)))
    x = torch.randn(4, 6, *size).double().requires_grad_()
    module(x).square().sum().backward()
    assert x.grad.abs().max() > 0
    for key, parameter in module.named_parameters():
        assert parameter.grad.abs().max() > 0, key


def seen(module, size):
    """Cells of a (size, size) map that the centre cell depends on."""
    for parameter in module.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    x = torch.ones(1, 2, size, size, requires_grad=True)
    module.eval()(x)[..., size // 2, size // 2].sum().backward()
    return x.grad.abs().sum((0, 1)) > 0


def test_receptive_fields():
    """One cell of 24x24 sees the whole map, but for ASPP's nine cells."""
    assert seen(PyramidPoolingContext(2), 24).all()
    assert seen(UShapedContext(2), 24).all()

    aspp = ASPPContext(2, mid_channels=2, neck_channels=2)
    rates = [branch[0].conv.dilation[0] for branch in aspp.branches]
    assert rates == [3, 6, 9, 12]
    expected = torch.zeros(25, 25, dtype=torch.bool)
    for rate in (3, 6, 9, 12):
        cells = torch.tensor([12 - rate, 12, 12 + rate])
        expected[cells[:, None], cells] = True
    torch.testing.assert_close(seen(aspp, 25), expected)


def test_other_rates_and_windows():
    aspp = ASPPContext(4, mid_channels=2, neck_channels=2, dilations=(1, 2))
    assert len(aspp.branches) == 2 and aspp.fuse.in_channels == 4
    pyramid = PyramidPoolingContext(4, mid_channels=2, divisors=(1,))
    assert pyramid.fuse.in_channels == 2
    x = torch.rand(2, 4, 5, 3)
    assert aspp(x).shape == pyramid(x).shape == x.shape


def test_another_norm():
    norm = dict(type='GN', num_groups=1)
    for cls in (UShapedContext, PyramidPoolingContext):
        names = {type(m).__name__ for m in cls(4, norm_cfg=norm).modules()}
        assert 'GroupNorm' in names and 'BatchNorm2d' not in names


@pytest.mark.parametrize(
    ('name', 'good', 'bad'),
    [
        ('UShapedContext', (1, 5), (4, 4)),
        ('PyramidPoolingContext', (1, 2), (1, 1)),
    ],
)
def test_batch_norm_cannot_be_trained_on_one_value(name, good, bad):
    module = MODELS.build(dict(type=name, in_channels=2)).train()
    module(torch.rand(1, 2, *good))
    module(torch.rand(2, 2, *bad))
    with pytest.raises(ValueError, match=f'{name}.* {bad[0]}x{bad[1]} cells'):
        module(torch.rand(1, 2, *bad))
    module.eval()(torch.rand(1, 2, *bad))
    for norm in (None, dict(type='GN', num_groups=1)):
        module = MODELS.build(dict(type=name, in_channels=2, norm_cfg=norm))
        module.train()(torch.rand(1, 2, *bad))


@pytest.mark.parametrize(
    ('cls', 'name'),
    [(ASPPContext, 'dilations'), (PyramidPoolingContext, 'divisors')],
)
@pytest.mark.parametrize('values', [(), (2, 0)])
def test_branches_must_be_named(cls, name, values):
    with pytest.raises(ValueError, match=rf'^{name}.* got (\(\)|0)$'):
        cls(4, **{name: values})

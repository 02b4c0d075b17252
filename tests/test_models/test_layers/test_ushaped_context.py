import pytest
import torch

from mmpose_ext.models.layers import UShapedContext


@pytest.mark.parametrize('size', [(1, 1), (1, 6), (7, 5), (16, 12), (33, 2)])
def test_by_torchs_functions_alone(size, plain_conv, randomise, upsample):
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


def test_costs_of_the_papers_table_3(count_costs):
    """6.44 million parameters and 2.53 GFLOPs."""
    params, macs = count_costs(lambda: UShapedContext(145), 1, 145, 32, 32)
    assert params == 6_440_175
    assert macs == pytest.approx(2.519e9, rel=1e-3)


@pytest.mark.parametrize('size', [(1, 1), (9, 7)])
def test_gradients_reach_every_parameter(size, randomise, assert_learns):
    module = randomise(UShapedContext(6))
    assert_learns(module, torch.randn(4, 6, *size).double())


def test_a_cell_of_24x24_sees_the_whole_map(seen_cells):
    assert seen_cells(UShapedContext(2), 24).all()


def test_batch_norm_cannot_be_trained_on_one_value():
    module = UShapedContext(2).train()
    module(torch.rand(1, 2, 1, 5))
    module(torch.rand(2, 2, 4, 4))
    with pytest.raises(ValueError, match=r'UShapedContext .* 4x4 cells'):
        module(torch.rand(1, 2, 4, 4))
    module.eval()(torch.rand(1, 2, 4, 4))
    for norm in (None, dict(type='GN', num_groups=1)):
        module = UShapedContext(2, norm_cfg=norm).train()
        module(torch.rand(1, 2, 4, 4))


def test_refuses_other_maps_and_channels():
    with pytest.raises(ValueError, match=r'\(N, 2, H, W\)'):
        UShapedContext(2)(torch.rand(1, 3, 5, 5))
    with pytest.raises(ValueError, match=r'in_channels .* got 0'):
        UShapedContext(0)

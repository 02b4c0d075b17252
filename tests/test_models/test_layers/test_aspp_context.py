import pytest
import torch

from mmpose_ext.models.layers import ASPPContext


@pytest.mark.parametrize('size', [(1, 1), (1, 6), (7, 5), (16, 12), (33, 2)])
def test_by_torchs_functions_alone(size, plain_conv, randomise):
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


def test_costs_of_the_papers_table_3(count_costs):
    """9.52 million parameters and 9.75 GFLOPs."""
    params, macs = count_costs(lambda: ASPPContext(145), 1, 145, 32, 32)
    assert params == 9_529_984
    assert macs == pytest.approx(9.759e9, rel=1e-3)


@pytest.mark.parametrize('size', [(1, 1), (9, 7)])
def test_gradients_reach_every_parameter(size, randomise, assert_learns):
    module = randomise(ASPPContext(6))
    assert_learns(module, torch.randn(4, 6, *size).double())


def test_a_cell_sees_nine_cells_per_rate(seen_cells):
    module = ASPPContext(2, mid_channels=2, neck_channels=2)
    expected = torch.zeros(25, 25, dtype=torch.bool)
    for rate in (3, 6, 9, 12):
        cells = torch.tensor([12 - rate, 12, 12 + rate])
        expected[cells[:, None], cells] = True
    torch.testing.assert_close(seen_cells(module, 25), expected)


def test_arguments():
    module = ASPPContext(4, mid_channels=2, neck_channels=2, dilations=(1, 2))
    assert len(module.branches) == 2 and module.fuse.in_channels == 4
    assert module(torch.rand(2, 4, 5, 3)).shape == (2, 4, 5, 3)
    with pytest.raises(ValueError, match=r'\(N, 4, H, W\)'):
        module(torch.rand(1, 3, 5, 5))
    for argument, value in (
        *(('dilations', ()), ('dilations', (2, 0)), ('in_channels', 0)),
        *(('mid_channels', 0), ('neck_channels', 0)),
    ):
        with pytest.raises(ValueError, match=rf'^{argument}.* got (\(\)|0)$'):
            ASPPContext(**{'in_channels': 4, argument: value})

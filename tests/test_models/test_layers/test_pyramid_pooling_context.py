import pytest
import torch

from mmpose_ext.models.layers import PyramidPoolingContext


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


@pytest.mark.parametrize('size', [(1, 1), (1, 6), (7, 5), (16, 12), (33, 2)])
def test_by_torchs_functions_alone(size, plain_conv, randomise, upsample):
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


def test_costs_of_the_papers_table_3(count_costs):
    """0.2 million parameters and 0.07 GFLOPs."""
    params, macs = count_costs(
        lambda: PyramidPoolingContext(145), 1, 145, 32, 32
    )
    assert params == 223_667
    assert macs == pytest.approx(0.071e9, rel=0.01)


@pytest.mark.parametrize('size', [(1, 1), (9, 7)])
def test_gradients_reach_every_parameter(size, randomise, assert_learns):
    module = randomise(PyramidPoolingContext(6))
    assert_learns(module, torch.randn(4, 6, *size).double())


def test_a_cell_of_24x24_sees_the_whole_map(seen_cells):
    assert seen_cells(PyramidPoolingContext(2), 24).all()


def test_batch_norm_cannot_be_trained_on_one_value():
    module = PyramidPoolingContext(2).train()
    module(torch.rand(1, 2, 1, 2))
    module(torch.rand(2, 2, 1, 1))
    with pytest.raises(ValueError, match=r'PyramidPooling.* 1x1 cells'):
        module(torch.rand(1, 2, 1, 1))
    module.eval()(torch.rand(1, 2, 1, 1))
    for norm in (None, dict(type='GN', num_groups=1)):
        module = PyramidPoolingContext(2, norm_cfg=norm).train()
        module(torch.rand(1, 2, 1, 1))


def test_arguments():
    module = PyramidPoolingContext(4, mid_channels=2, divisors=(1,))
    assert module.fuse.in_channels == 2
    assert module(torch.rand(2, 4, 5, 3)).shape == (2, 4, 5, 3)
    with pytest.raises(ValueError, match=r'\(N, 4, H, W\)'):
        module(torch.rand(1, 3, 5, 5))
    for argument, value in (
        *(('divisors', ()), ('divisors', (2, 0))),
        *(('in_channels', 0), ('mid_channels', 0)),
    ):
        with pytest.raises(ValueError, match=rf'^{argument}.* got (\(\)|0)$'):
            PyramidPoolingContext(**{'in_channels': 4, argument: value})
